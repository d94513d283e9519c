/*
 * The library leaves the program's signal dispositions as they are, flags and masks included; it may
 * stand in front of SIGSEGV, SIGBUS and SIGFPE. A program that writes to a closed pipe dies by
 * SIGPIPE, or has its handler called, or gets EPIPE, as without the library, which itself never
 * raises it.
 */
#include "embed/dl.h"
#include "signal/signals.h"

struct kernel_sigaction {
    void *handler;
    unsigned long flags;
    void *restorer;
    uint64_t mask;
};

static struct kernel_sigaction before[65], after[65];
static struct sigaction libc_before[65], libc_after[65];

/* Faults, and what the C library keeps to itself and sets up when the first thread is made. */
static int may_differ(int sig) { return sig == SIGSEGV || sig == SIGBUS || sig == SIGFPE || sig == 32 || sig == 33; }

static void take(struct kernel_sigaction *kernel, struct sigaction *libc)
{
    for (int sig = 1; sig <= 64; sig++) {
        CHECK(syscall(SYS_rt_sigaction, sig, NULL, &kernel[sig], 8) == 0);
        memset(&libc[sig], 0, sizeof libc[sig]);
        if (sig != 32 && sig != 33)
            CHECK(sigaction(sig, NULL, &libc[sig]) == 0);
    }
}

static void compare(const char *when)
{
    take(after, libc_after);
    for (int sig = 1; sig <= 64; sig++) {
        const struct kernel_sigaction *b = &before[sig], *a = &after[sig];
        if (!may_differ(sig) && memcmp(b, a, sizeof *a) != 0) {
            fprintf(stderr, "%s signal %d: handler %p, flags %lx, mask %llx; before: %p, %lx, %llx\n", when, sig, a->handler, a->flags,
                    (unsigned long long)a->mask, b->handler, b->flags, (unsigned long long)b->mask);
            exit(1);
        }
        const struct sigaction *lb = &libc_before[sig], *la = &libc_after[sig];
        if (!may_differ(sig) && (lb->sa_handler != la->sa_handler || lb->sa_flags != la->sa_flags)) {
            fprintf(stderr, "%s sigaction() says of signal %d: flags %x; before: %x\n", when, sig, (unsigned)la->sa_flags,
                    (unsigned)lb->sa_flags);
            exit(1);
        }
    }
}

static volatile int pipes_broken;
static void on_signal(int sig) { pipes_broken += sig == SIGPIPE; }

/* Handlers of each kind for as many signals as there are. */
static void install_all(void)
{
    static const int flags[] = {0, SA_RESTART, SA_NODEFER, SA_ONSTACK, SA_RESTART | SA_NOCLDSTOP};
    for (int sig = 1; sig <= 64; sig++) {
        struct sigaction sa;
        if (sig == SIGKILL || sig == SIGSTOP || sig == 32 || sig == 33)
            continue;
        memset(&sa, 0, sizeof sa);
        sa.sa_handler = sig % 7 == 0 ? SIG_IGN : on_signal;
        sa.sa_flags = flags[sig % 5];
        if (sig % 3 == 0)
            sigaddset(&sa.sa_mask, SIGUSR1);
        CHECK(sigaction(sig, &sa, NULL) == 0);
    }
}

static void *echo(void *arg)
{
    dl_echo(200);
    return arg;
}

static void use_library(void)
{
    pthread_t t;
    echo(NULL);
    start_thread(&t, echo, NULL);
    join_thread(t);
}

/* A push to a peer that is gone fails, and raises no SIGPIPE. */
static void push_to_dead_peer(void)
{
    static char big[100000];
    int client, server, err = 0;
    test_tcp_pair(&client, &server);
    CHECK_ERR(dmtr_close(server), 0);
    for (int i = 0; i < 100 && err == 0; i++)
        err = dmtr_wait(NULL, q_start_push(client, big, i % 2 ? sizeof big : 10));
    CHECK(err == EPIPE || err == ECONNRESET);
    CHECK_ERR(dmtr_close(client), 0);
}

static void test_unchanged(int with_handlers)
{
    if (with_handlers)
        install_all();
    take(before, libc_before);
    dl_load(RTLD_NOW);
    compare("after loading,");
    CHECK_ERR(dmtr_init(0, NULL), 0);
    compare("after dmtr_init(),");
    use_library();
    push_to_dead_peer();
    compare("after use,");
    CHECK_EQ(pipes_broken, 0);
    if (!with_handlers) {
        install_all();
        take(before, libc_before);
        use_library();
        compare("after handlers were installed and the library used,");
    }
}

static int write_to_closed_pipe(void)
{
    int fds[2];
    CHECK(pipe(fds) == 0);
    CHECK(close(fds[0]) == 0);
    int err = write(fds[1], "x", 1) == 1 ? 0 : errno;
    CHECK(close(fds[1]) == 0);
    return err;
}

static void *write_in_thread(void *arg)
{
    *(int *)arg = write_to_closed_pipe();
    return NULL;
}

static void test_sigpipe(const char *how)
{
    pthread_t t;
    int err = 0;
    dl_load(RTLD_NOW);
    CHECK_ERR(dmtr_init(0, NULL), 0);
    dl_echo(10);
    push_to_dead_peer();
    if (strcmp(how, "pipe default") == 0) {
        pid_t pid = fork_child();
        if (pid == 0) {
            write_to_closed_pipe();
            _exit(0);
        }
        int status = status_within(pid, 2000);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
        start_thread(&t, write_in_thread, &err); /* ends this process, too, which is what it says */
        join_thread(t);
        CHECK(!"the process has survived SIGPIPE");
    }
    CHECK(signal(SIGPIPE, strcmp(how, "pipe handler") == 0 ? on_signal : SIG_IGN) != SIG_ERR);
    CHECK_ERR(write_to_closed_pipe(), EPIPE);
    push_to_dead_peer();
    start_thread(&t, write_in_thread, &err);
    join_thread(t);
    CHECK_ERR(err, EPIPE);
    CHECK_EQ(pipes_broken, strcmp(how, "pipe handler") == 0 ? 2 : 0);
}

static void dies_by_sigpipe(void)
{
    pid_t pid = fork_child();
    if (pid == 0) {
        test_sigpipe("pipe default");
        _exit(0);
    }
    int status = status_within(pid, 5000);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGPIPE) {
        fprintf(stderr, "wait status 0x%x instead of death by SIGPIPE\n", (unsigned)status);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    if (argc == 1) {
        test_watchdog();
        run_again("unchanged", NULL, NULL);
        run_again("unchanged handlers", NULL, NULL);
        run_again("pipe default", NULL, NULL);
        run_again("pipe ignored", NULL, NULL);
        run_again("pipe handler", NULL, NULL);
        return 0;
    }
    if (strncmp(argv[1], "unchanged", 9) == 0)
        test_unchanged(argv[1][9] != 0);
    else if (strcmp(argv[1], "pipe default") == 0)
        dies_by_sigpipe();
    else
        test_sigpipe(argv[1]);
    return 0;
}
