/*
 * Loads libdmtr and another Go library, whose path is the first argument, in the order and with the
 * handlers that the second argument says, and uses both at once: see tests/embed/second_go.sh.
 */
#include "embed/dl.h"
#include "embed/cases.h"

#include <setjmp.h>
#include <sys/syscall.h>
#include <time.h>

enum { WORK = 20, ROUNDS = 30, FAULTS = 500, PANICS = 200, TICKS = 1000, TICK_NS = 200000 };

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static int (*other_work)(int), (*other_panics)(void);

static void load_other(const char *path)
{
    void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (lib == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    *(void **)&other_work = dlsym(lib, "other_work");
    *(void **)&other_panics = dlsym(lib, "other_panics");
    CHECK(other_work != NULL && other_panics != NULL);
}

/* ---- the program's faults; it passes on those that are not its own ---- */

static struct sigaction previous;
static __thread sigjmp_buf away;
static __thread volatile int mine, got;

static void on_fault(int sig, siginfo_t *info, void *context)
{
    if (mine) {
        mine = 0;
        got++;
        siglongjmp(away, 1);
    }
    if (previous.sa_flags & SA_SIGINFO)
        previous.sa_sigaction(sig, info, context);
    else
        signal(sig, SIG_DFL);
}

/* With SA_ONSTACK, which Go code of others needs. */
static void install(void)
{
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_sigaction = on_fault;
    sa.sa_flags = SA_SIGINFO | SA_ONSTACK;
    CHECK(sigaction(SIGSEGV, &sa, &previous) == 0);
}

static void fault(void)
{
    int before = got;
    mine = 1;
    if (sigsetjmp(away, 1) == 0)
        *(volatile char *)16 = 1;
    CHECK_EQ(got, before + 1);
}

/* ---- threads that use one library, or both ---- */

static volatile int ticks;

static void on_tick(int sig)
{
    volatile char frame[32768];
    for (size_t i = 0; i < sizeof frame; i++)
        frame[i] = (char)sig;
    ticks += frame[0] == (char)sig;
}

/* Echoes while this thread is interrupted by a handler that needs stack and has no SA_ONSTACK. */
static void *echoes(void *arg)
{
    struct sigevent ev;
    struct itimerspec when = {{0, TICK_NS}, {0, TICK_NS}};
    timer_t timer;
    memset(&ev, 0, sizeof ev);
    ev.sigev_notify = SIGEV_THREAD_ID;
    ev.sigev_signo = SIGUSR1;
    ev.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
    CHECK(timer_create(CLOCK_MONOTONIC, &ev, &timer) == 0);
    CHECK(timer_settime(timer, 0, &when, NULL) == 0);
    while (ticks < TICKS)
        dl_echo(50);
    CHECK(timer_delete(timer) == 0);
    return arg;
}

static void *work(void *arg)
{
    for (int i = 0; i < ROUNDS; i++)
        CHECK_EQ(other_work(WORK), WORK);
    return arg;
}

static void *faults(void *arg)
{
    for (int i = 0; i < FAULTS; i++)
        fault();
    return arg;
}

static void *panics(void *arg)
{
    for (int i = 0; i < PANICS; i++)
        CHECK_EQ(other_panics(), 1);
    return arg;
}

static void *everything(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        fault();
        dl_echo(3);
        fault();
        CHECK_EQ(other_work(WORK), WORK);
        fault();
        CHECK_EQ(other_panics(), 1);
    }
    return arg;
}

/* A bad pointer given to libdmtr: that is broken then, the other goes on. */
static void *break_it(void *arg)
{
    int *bad = (int *)map_page(PROT_NONE), qd;
    CHECK_ERR(dmtr_queue(bad), EIO);
    CHECK_ERR(dmtr_queue(&qd), EIO);
    return arg;
}

int main(int argc, char **argv)
{
    void *(*const all[])(void *) = {echoes, work, faults, panics, everything, everything};
    enum { THREADS = sizeof all / sizeof all[0] };
    pthread_t t[THREADS];
    CHECK_EQ(argc, 3);
    int other_first = strstr(argv[2], "other-first") != NULL, late = strstr(argv[2], "late") != NULL;
    no_core_file();
    signal(SIGUSR1, on_tick);
    if (!late)
        install();
    if (other_first)
        load_other(argv[1]);
    dl_load(RTLD_NOW | RTLD_LOCAL);
    if (!other_first)
        load_other(argv[1]);
    if (late)
        install();
    test_init();
    signal(SIGUSR1, on_tick);
    for (int i = 0; i < THREADS; i++)
        start_thread(&t[i], all[i], NULL);
    for (int i = 0; i < THREADS; i++)
        join_thread(t[i]);
    start_thread(&t[0], break_it, NULL);
    join_thread(t[0]);
    break_it(NULL);
    work(NULL);
    panics(NULL);
    faults(NULL);
    if (strstr(argv[2], "dies") != NULL) {
        signal(SIGSEGV, SIG_DFL);
        *(volatile char *)16 = 1;
    }
    return 0;
}
