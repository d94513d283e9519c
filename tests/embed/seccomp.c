/*
 * A program that is limited: no new filters may be installed, by seccomp() or prctl(), which the
 * library tries for its own threads; or no thread can be made. All goes on without. The filter is in
 * force before the library is loaded.
 */
#include "embed/dl.h"
#include "embed/cases.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { ECHOES = 200 };

/* Refuses seccomp() and prctl(PR_SET_SECCOMP) with EPERM; of any thread when clone is to fail, clone and clone3 with EAGAIN. */
static void refuse(int clone)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)(clone ? SYS_clone : SYS_seccomp), 5, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)(clone ? SYS_clone3 : SYS_seccomp), 4, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)(clone ? SYS_clone : SYS_prctl), 0, 2),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PR_SET_SECCOMP, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)(clone ? EAGAIN : EPERM)),
    };
    struct sock_fprog program = {sizeof code / sizeof code[0], code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        exit(77);
}

static void *echoes(void *arg)
{
    dl_echo(ECHOES);
    return arg;
}

static void no_filters(void)
{
    pthread_t t[3];
    refuse(0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL) == -1 && errno == EPERM);
    dl_load(RTLD_NOW);
    test_init();
    dl_echo(ECHOES);
    for (int i = 0; i < 3; i++)
        start_thread(&t[i], echoes, NULL);
    for (int i = 0; i < 3; i++)
        join_thread(t[i]);
}

/* No thread can be made when a thread calls for the first time, and afterwards. */
static volatile int go_on;
static void *first_call(void *arg)
{
    pthread_t t;
    while (!go_on)
        usleep(100);
    if (*(int *)arg) {
        refuse(1);
        CHECK_EQ(pthread_create(&t, NULL, echoes, NULL), EAGAIN);
    }
    dl_echo(ECHOES);
    return NULL;
}

static void no_threads(void)
{
    pthread_t t[3];
    int limited[3] = {1, 1, 0};
    dl_load(RTLD_NOW);
    test_init();
    for (int i = 0; i < 3; i++)
        start_thread(&t[i], first_call, &limited[i]);
    go_on = 1;
    for (int i = 0; i < 3; i++)
        join_thread(t[i]);
    dl_echo(ECHOES);
    refuse(1);
    dl_echo(ECHOES);
}

/* Go collects garbage, for which it wants threads, while a thread that can make none is the only one to call. */
static void garbage(void)
{
    dl_load(RTLD_NOW);
    refuse(1);
    test_init();
    for (int i = 0; i < 1000; i++)
        dl_echo(1);
}

/* The same in the only thread, when dmtr_init() is its first call. */
static void no_threads_at_init(void)
{
    dl_load(RTLD_NOW);
    usleep(20000); /* Go starts on a thread of its own */
    refuse(1);
    test_init();
    dl_echo(ECHOES);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        if (strcmp(argv[1], "no_filters") == 0)
            no_filters();
        else if (strcmp(argv[1], "no_threads") == 0)
            no_threads();
        else if (strcmp(argv[1], "garbage") == 0)
            garbage();
        else
            no_threads_at_init();
        _exit(0); /* the sanitizer's search for leaks needs a thread */
    }
    test_watchdog();
    struct outcome o = case_run("no_filters");
    if (WIFEXITED(o.status) && WEXITSTATUS(o.status) == 77)
        skip("no seccomp here");
    if (o.status != 0 || o.err[0] != 0)
        case_fail("no_filters", &o);
    case_passes("no_threads");
    case_passes("no_threads_at_init");
    CHECK(setenv("GOGC", "1", 1) == 0);
    case_passes("garbage");
    return cases_failed != 0;
}
