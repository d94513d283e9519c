/*
 * The masks of threads. Those of the library have everything blocked, so that the program's signals
 * go to the program's threads; those of the program keep their masks, whichever calls they make.
 */
#include "embed/dl.h"
#include "signal/signals.h"

#include <sys/signalfd.h>
#include <ucontext.h>

enum { THREADS = 3, CHILDREN = 20 };

static struct mishap mishap;
static volatile int stop, rounds;

/* What a mask says of these means nothing: they cannot be blocked, or are the C library's own. */
static int no_matter(int sig)
{
    return sig == SIGKILL || sig == SIGSTOP || (sig > SIGSYS && sig < SIGRTMIN);
}

static sigset_t full(void)
{
    sigset_t set;
    sigfillset(&set);
    return set;
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

static void set_mask(sigset_t set)
{
    CHECK_EQ(pthread_sigmask(SIG_SETMASK, &set, NULL), 0);
}

static void mask_is(const sigset_t *want, const char *when)
{
    sigset_t set;
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &set), 0);
    for (int sig = 1; sig <= 64; sig++)
        if (!no_matter(sig) && sigismember(&set, sig) != sigismember(want, sig)) {
            fprintf(stderr, "%s signal %d is %sblocked\n", when, sig, sigismember(&set, sig) ? "" : "not ");
            exit(1);
        }
}

/* ---- the library's threads ---- */

/* What the thread blocks; the kernel shows zeros for one that is ending, which counts as everything. */
static uint64_t blocked_in(const char *tid)
{
    char path[300], line[256];
    uint64_t mask = UINT64_MAX;
    int ends = 0;
    snprintf(path, sizeof path, "/proc/self/task/%s/status", tid);
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return mask;
    while (fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "SigBlk:", 7) == 0)
            mask = strtoull(line + 7, NULL, 16);
        else if (strncmp(line, "State:", 6) == 0)
            ends = strpbrk(line + 6, "ZX") != NULL;
    fclose(f);
    return ends ? UINT64_MAX : mask;
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
        if (mask == 0)
            mask = blocked_in(e->d_name); /* it may have been ending since its state was read */
        for (int sig = 1; sig <= 64; sig++)
            if (!no_matter(sig) && !(mask >> (sig - 1) & 1)) {
                fprintf(stderr, "thread %s of the library has signal %d not blocked\n", e->d_name, sig);
                exit(1);
            }
        n++;
    }
    closedir(d);
    return n;
}

/* The library is loaded and started by the only thread, with this mask. */
static void start_with(sigset_t mask)
{
    set_mask(mask);
    dl_load(RTLD_NOW);
    mask_is(&mask, "after loading");
    check_library_threads();
    CHECK_ERR(dmtr_init(0, NULL), 0);
    mask_is(&mask, "after dmtr_init()");
    check_library_threads();
}

/* The library is used by one thread alone, so all others are its own. */
static void test_library_threads(sigset_t mask)
{
    start_with(mask);
    for (int i = 0; i < 30; i++) {
        dl_echo(20);
        CHECK(check_library_threads() > 0);
        usleep(1000);
    }
    mask_is(&mask, "after echoes");
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

/* A thread that has made its first call: during that Go has some signals unblocked, see docs/embedding.md. */
static pthread_t start_traffic(void)
{
    pthread_t t;
    start_thread(&t, traffic, NULL);
    while (rounds == 0)
        usleep(1000);
    return t;
}

/* SIGCONT and those that stop a process undo each other, so not all signals can be pending at once. */
static int sent_with_stops(int sig, int stops)
{
    int is_stop = sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU;
    return !no_matter(sig) && (stops ? sig != SIGCONT : !is_stop);
}

/* Sends signals to the process, all of whose own threads block them; none must be taken. */
static void test_pending(int stops)
{
    pthread_t t;
    sigset_t pending;
    start_with(full());
    t = start_traffic();
    for (int sig = 1; sig <= 64; sig++)
        if (sent_with_stops(sig, stops))
            CHECK(kill(getpid(), sig) == 0);
    for (int seen = rounds; rounds < seen + 20;)
        dl_echo(20);
    CHECK(sigpending(&pending) == 0);
    for (int sig = 1; sig <= 64; sig++)
        if (sent_with_stops(sig, stops) && !sigismember(&pending, sig)) {
            fprintf(stderr, "signal %d has been taken\n", sig);
            exit(1);
        }
    stop = 1;
    join_thread(t);
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
    start_with(SOME(SIGCHLD, SIGUSR2, SIGPROF));
    set_mask(full());
    for (int i = 0; i < THREADS; i++) {
        start_thread(&t, first_call, NULL);
        join_thread(t);
    }
    check_masks_kept();
}

/* ---- what a handler finds: the mask of the thread at the moment it was hit ---- */

static timer_t timer;
static volatile int hits, inside;

static void on_signal(int sig, siginfo_t *info, void *context)
{
    ucontext_t *u = (ucontext_t *)context;
    int flag;
    (void)sig;
    (void)info;
    for (int s = 1; s <= 64; s++)
        if (!no_matter(s))
            NOTE(&mishap, sigismember(&u->uc_sigmask, s) ? s : 0, s == SIGWINCH || s == SIGCHLD ? s : 0);
    hits++;
    inside += dmtr_is_qd_valid(&flag, 1) == EBUSY;
    timer_soon(timer, 300);
}

static void test_mask_in_calls(void)
{
    struct sigaction sa;
    start_with(SOME(SIGWINCH, SIGCHLD));
    memset(&sa, 0, sizeof sa);
    sa.sa_sigaction = on_signal;
    sa.sa_flags = SA_SIGINFO | SA_RESTART;
    CHECK(sigaction(SIGUSR2, &sa, NULL) == 0);
    timer = thread_timer(SIGUSR2);
    timer_soon(timer, 300);
    while (hits < 3000 || inside == 0)
        dl_echo(20);
    CHECK(timer_delete(timer) == 0);
    check_no_mishap(&mishap, __FILE__);
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
    start_with(chld);
    t = start_traffic();
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

static void run_case(const char *name)
{
    if (strcmp(name, "free threads") == 0)
        test_library_threads(SOME(0));
    else if (strcmp(name, "blocked threads") == 0)
        test_library_threads(full());
    else if (strcmp(name, "pending") == 0)
        test_pending(0);
    else if (strcmp(name, "pending stops") == 0)
        test_pending(1);
    else if (strcmp(name, "own") == 0)
        test_own_masks();
    else if (strcmp(name, "in calls") == 0)
        test_mask_in_calls();
    else
        test_sigchld();
}

int main(int argc, char **argv)
{
    static const char *const cases[] = {"free threads", "blocked threads", "pending", "pending stops", "own", "in calls", "child"};
    if (argc > 1) {
        run_case(argv[1]);
        return 0;
    }
    test_watchdog();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        run_again(cases[i], NULL, NULL);
    run_again("in calls", "DMTR_WAIT", "spin");
    return 0;
}
