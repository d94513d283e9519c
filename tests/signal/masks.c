/*
 * The masks of threads. Those of the library have everything blocked, so that the program's signals
 * go to the program's threads; those of the program keep their masks, whichever calls they make.
 */
#include "embed/dl.h"
#include "signal/signals.h"

#include <dirent.h>
#include <sys/signalfd.h>
#include <ucontext.h>

enum { THREADS = 3, CHILDREN = 20 };

static struct mishap mishap;
static volatile int stop, rounds;

/* Signals that are not sent from outside: faults, those that cannot be blocked, and glibc's own. */
static int special(int sig)
{
    return sig == SIGKILL || sig == SIGSTOP || sig == SIGSEGV || sig == SIGBUS || sig == SIGFPE || sig == SIGILL ||
           sig == SIGTRAP || sig == SIGSYS || sig == 32 || sig == 33;
}

static sigset_t full(void)
{
    sigset_t set;
    sigfillset(&set);
    return set;
}

static void set_mask(sigset_t set) { CHECK_EQ(pthread_sigmask(SIG_SETMASK, &set, NULL), 0); }

static void mask_is(const sigset_t *want, const char *when)
{
    sigset_t set;
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &set), 0);
    for (int sig = 1; sig <= 64; sig++)
        if ((!special(sig) || sig == SIGSEGV) && sigismember(&set, sig) != sigismember(want, sig)) {
            fprintf(stderr, "%s signal %d is %sblocked\n", when, sig, sigismember(&set, sig) ? "" : "not ");
            exit(1);
        }
}

/* ---- the library's threads ---- */

static uint64_t blocked_in(const char *tid)
{
    char path[300], line[256];
    uint64_t mask = 0;
    snprintf(path, sizeof path, "/proc/self/task/%s/status", tid);
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return UINT64_MAX; /* it has ended */
    while (fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "SigBlk:", 7) == 0)
            mask = strtoull(line + 7, NULL, 16);
    fclose(f);
    return mask;
}

/* Checks all threads but the calling one; returns how many there are. */
static int check_library_threads(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/task");
    struct dirent *e;
    CHECK(d != NULL);
    while ((e = readdir(d)) != NULL) {
        if (e->d_name[0] == '.' || atoi(e->d_name) == (int)syscall(SYS_gettid))
            continue;
        uint64_t mask = blocked_in(e->d_name);
        for (int sig = 1; sig <= 64; sig++)
            if (!special(sig) && !(mask >> (sig - 1) & 1)) {
                fprintf(stderr, "thread %s of the library has signal %d not blocked\n", e->d_name, sig);
                exit(1);
            }
        n++;
    }
    closedir(d);
    return n;
}

/* The program's thread has nothing blocked, or all; the library is loaded and used by it alone. */
static void test_library_threads(int block)
{
    sigset_t none;
    sigemptyset(&none);
    set_mask(block ? full() : none);
    dl_load(RTLD_NOW);
    check_library_threads();
    CHECK_ERR(dmtr_init(0, NULL), 0);
    check_library_threads();
    for (int i = 0; i < 30; i++) {
        dl_echo(20);
        CHECK(check_library_threads() > 0);
        usleep(1000);
    }
    if (!block)
        mask_is(&none, "after echoes");
}

/* ---- signals stay pending ---- */

static void *traffic(void *arg)
{
    (void)arg;
    while (!stop) {
        dl_echo(20);
        rounds++;
    }
    return NULL;
}

/* Sends signals to the process, all of whose own threads block them; none must be taken. */
static void test_pending(int stops)
{
    pthread_t t;
    sigset_t pending, all = full();
    set_mask(all);
    dl_load(RTLD_NOW);
    CHECK_ERR(dmtr_init(0, NULL), 0);
    start_thread(&t, traffic, NULL);
    usleep(10000);
    for (int sig = 1; sig <= 64; sig++) {
        int is_stop = sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU;
        if (!special(sig) && (stops ? sig != SIGCONT : !is_stop)) /* these undo each other */
            CHECK(kill(getpid(), sig) == 0);
    }
    for (int seen = rounds; rounds < seen + 20;)
        dl_echo(20);
    CHECK(sigpending(&pending) == 0);
    for (int sig = 1; sig <= 64; sig++) {
        int is_stop = sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU;
        if (special(sig) || (stops ? sig == SIGCONT : is_stop))
            continue;
        if (!sigismember(&pending, sig)) {
            fprintf(stderr, "signal %d has been taken\n", sig);
            _exit(1);
        }
    }
    stop = 1;
    join_thread(t);
    _exit(0); /* exit() changes nothing, but with all that pending, let us not wait for it */
}

/* ---- the program's threads ---- */

static void each_call_keeps(sigset_t want)
{
    struct sockaddr_in addr;
    socklen_t size = sizeof addr;
    int qd = 0, flag, at;
    dmtr_qtoken_t qt = 0;
    dmtr_sgarray_t sga = test_sga(&flag, 1);
    set_mask(want);
#define KEEPS(call) do { call; mask_is(&want, "after " #call); } while (0)
    KEEPS(dmtr_queue(&qd));
    KEEPS(dmtr_is_qd_valid(&flag, qd));
    KEEPS(dmtr_pop(&qt, qd));
    KEEPS(dmtr_poll(NULL, qt));
    KEEPS(dmtr_wait_timeout(NULL, qt, 0));
    KEEPS(dmtr_wait_timeout(NULL, qt, 2000000));
    KEEPS(dmtr_wait_any_timeout(NULL, &at, &qt, 1, 1000));
    KEEPS(dmtr_drop(qt));
    KEEPS(dmtr_push(&qt, qd, &sga));
    KEEPS(dmtr_wait(NULL, qt));
    KEEPS(dmtr_close(qd));
    KEEPS(dmtr_stop());
    KEEPS(dmtr_resume());
    KEEPS(dmtr_socket(&qd, AF_INET, SOCK_STREAM, 0));
    addr = test_loopback(0);
    KEEPS(dmtr_bind(qd, ADDR(&addr), sizeof addr));
    KEEPS(dmtr_listen(qd, 10));
    KEEPS(dmtr_getsockname(qd, ADDR(&addr), &size));
    KEEPS(dmtr_accept(&qt, qd));
    KEEPS(dmtr_wait_timeout(NULL, qt, 2000000));
    KEEPS(dmtr_close(qd));
    KEEPS(dmtr_wait_all(NULL, &qt, 1));
    KEEPS(dl_echo(100));
    KEEPS(dmtr_init(0, NULL));
}

static sigset_t some(const int *sigs)
{
    sigset_t set;
    sigemptyset(&set);
    for (; *sigs != 0; sigs++)
        sigaddset(&set, *sigs);
    return set;
}

#define SOME(...) some((const int[]){__VA_ARGS__, 0})

static void check_masks_kept(void)
{
    each_call_keeps(full());
    each_call_keeps(SOME(0));
    each_call_keeps(SOME(SIGUSR1));
    each_call_keeps(SOME(SIGCHLD, SIGPROF, SIGURG));
    each_call_keeps(SOME(SIGSEGV, SIGBUS, SIGFPE, SIGRTMIN, SIGRTMAX));
}

static void *first_call(void *arg)
{
    (void)arg;
    sigset_t want = full();
    int qd;
    mask_is(&want, "in a new thread");
    CHECK_ERR(dmtr_queue(&qd), 0);
    mask_is(&want, "after the first call of a thread");
    check_masks_kept();
    return NULL;
}

static void test_own_masks(void)
{
    pthread_t t;
    sigset_t want = SOME(SIGCHLD, SIGUSR2, SIGPROF);
    set_mask(want);
    dl_load(RTLD_NOW);
    mask_is(&want, "after loading");
    CHECK_ERR(dmtr_init(0, NULL), 0);
    mask_is(&want, "after dmtr_init()");
    set_mask(full());
    for (int i = 0; i < 3; i++) {
        start_thread(&t, first_call, NULL);
        join_thread(t);
    }
    /* full() blocks the faults, too: nothing below must fault */
    set_mask(SOME(0));
    sigset_t masks[] = {full(), SOME(0), SOME(SIGUSR1), SOME(SIGCHLD, SIGPROF, SIGURG)};
    for (size_t i = 0; i < sizeof masks / sizeof masks[0]; i++) {
        each_call_keeps(masks[i]);
    }
}

/* ---- what a handler finds: the mask of the thread at the moment it was hit ---- */

static timer_t timer;
static volatile int hits, inside;

static void on_signal(int sig, siginfo_t *info, void *context)
{
    ucontext_t *u = (ucontext_t *)context;
    int flag;
    (void)info;
    for (int s = 1; s < 65; s++)
        if (s != 32 && s != 33)
            NOTE(&mishap, sigismember(&u->uc_sigmask, s) ? s : 0, s == SIGWINCH || s == SIGCHLD ? s : 0);
    hits++;
    inside += dmtr_is_qd_valid(&flag, 1) == EBUSY;
    timer_soon(timer, 300);
    (void)sig;
}

static void test_mask_in_calls(void)
{
    struct sigaction sa;
    set_mask(SOME(SIGWINCH, SIGCHLD));
    dl_load(RTLD_NOW);
    CHECK_ERR(dmtr_init(0, NULL), 0);
    memset(&sa, 0, sizeof sa);
    sa.sa_sigaction = on_signal;
    sa.sa_flags = SA_SIGINFO | SA_RESTART;
    CHECK(sigaction(SIGUSR2, &sa, NULL) == 0);
    timer = thread_timer(SIGUSR2);
    timer_soon(timer, 300);
    while (hits < 3000)
        dl_echo(20);
    CHECK(timer_delete(timer) == 0);
    check_no_mishap(&mishap, __FILE__);
    CHECK(inside > 0);
}

/* ---- SIGCHLD by sigwait() and signalfd() ---- */

static pid_t short_child(void)
{
    pid_t pid = fork_child();
    if (pid == 0)
        _exit(0);
    return pid;
}

static void test_sigchld(void)
{
    pthread_t t;
    sigset_t chld = SOME(SIGCHLD);
    set_mask(chld);
    dl_load(RTLD_NOW);
    CHECK_ERR(dmtr_init(0, NULL), 0);
    start_thread(&t, traffic, NULL);
    while (rounds == 0) /* during a thread's first call SIGCHLD is not blocked there, see docs/embedding.md */
        usleep(1000);
    int fd = signalfd(-1, &chld, SFD_CLOEXEC);
    CHECK(fd >= 0);
    for (int i = 0; i < CHILDREN; i++) {
        struct timespec most = {5, 0};
        siginfo_t info;
        pid_t pid = short_child();
        dl_echo(5);
        if (i % 2 == 0) {
            CHECK_EQ(sigtimedwait(&chld, &info, &most), SIGCHLD);
            CHECK_EQ(info.si_pid, pid);
        } else {
            struct signalfd_siginfo got;
            CHECK_EQ(read(fd, &got, sizeof got), sizeof got);
            CHECK_EQ(got.ssi_pid, pid);
        }
        CHECK(waitpid(pid, NULL, 0) == pid);
    }
    stop = 1;
    join_thread(t);
    CHECK(close(fd) == 0);
}

int main(int argc, char **argv)
{
    static const char *const cases[] = {"free threads", "blocked threads", "pending", "pending stops", "own", "in calls", "child"};
    if (argc == 1) {
        test_watchdog();
        for (int i = 0; i < 7; i++)
            run_again(cases[i], NULL, NULL);
        run_again("in calls", "DMTR_WAIT", "spin");
        return 0;
    }
    if (strstr(argv[1], "threads") != NULL)
        test_library_threads(argv[1][0] == 'b');
    else if (strncmp(argv[1], "pending", 7) == 0)
        test_pending(argv[1][7] != 0);
    else if (strcmp(argv[1], "own") == 0)
        test_own_masks();
    else if (strcmp(argv[1], "in calls") == 0)
        test_mask_in_calls();
    else
        test_sigchld();
    return 0;
}
