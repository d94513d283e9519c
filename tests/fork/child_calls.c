/*
 * A child of a process that has started the library: every call of libos.h, wait.h and ext.h gives
 * EPERM within 1 ms, however and whenever it was forked: by fork() or past the C library, while other
 * threads are in the library, and in a signal handler that interrupted it. The parent goes on.
 */
#include "fork/fork.h"

enum { FORKS = 200, LIMIT_NS = 1000000, HANG_SECONDS = 5, MAX_CALLS = 32 };

/* ---- all calls ---- */

static int memory_qd, server_qd, listener_qd, file_qd;
static dmtr_qtoken_t pending, done;
static struct sockaddr_in listener_addr;

struct call {
    const char *name;
    int (*make)(void);
};

static dmtr_qresult_t qr;
static dmtr_qtoken_t qt;
static int out, qd_out;
static socklen_t size = sizeof(struct sockaddr_in);
static struct sockaddr_in name;

#define CALL(name, expr)                \
    static int call_##name(void)        \
    {                                   \
        return dmtr_##name expr;        \
    }
static dmtr_sgarray_t *some(void)
{
    static char data[8];
    static dmtr_sgarray_t sga;
    sga = test_sga(data, sizeof data);
    return &sga;
}

CALL(init, (0, NULL))
CALL(queue, (&qd_out))
CALL(socket, (&qd_out, AF_INET, SOCK_STREAM, 0))
CALL(getsockname, (listener_qd, ADDR(&name), &size))
CALL(listen, (server_qd, 1))
CALL(bind, (server_qd, ADDR(&listener_addr), sizeof listener_addr))
CALL(accept, (&qt, listener_qd))
CALL(connect, (server_qd, ADDR(&listener_addr), sizeof listener_addr))
CALL(open, (&qd_out, "/dev/null", O_RDONLY))
CALL(open2, (&qd_out, "/dev/null", O_RDONLY, 0600))
CALL(creat, (&qd_out, "/dev/null", 0600))
CALL(close, (server_qd))
CALL(is_qd_valid, (&out, server_qd))
CALL(push, (&qt, server_qd, some()))
CALL(pop, (&qt, server_qd))
CALL(pop2, (&qt, file_qd, 100))
CALL(lseek, (file_qd, 0, SEEK_SET))
CALL(poll, (&qr, done))
CALL(drop, (pending))
CALL(own, (pending))
CALL(watch, (&qd_out, 0))
CALL(wait, (&qr, pending))
CALL(wait_any, (&qr, &out, &pending, 1))
CALL(wait_all, (&qr, &done, 1))
CALL(wait_timeout, (&qr, done, DMTR_FOREVER))
CALL(wait_any_timeout, (&qr, &out, &pending, 1, DMTR_FOREVER))
CALL(wait_some, (&qr, &out, &out, &out, &pending, 1, DMTR_FOREVER))
CALL(stop, ())
CALL(resume, ())
#define ENTRY(name) {#name, call_##name}
static const struct call calls[] = {
    ENTRY(push),  ENTRY(init),        ENTRY(queue), ENTRY(socket), ENTRY(getsockname),  ENTRY(listen),
    ENTRY(bind),  ENTRY(accept),      ENTRY(connect), ENTRY(open), ENTRY(open2),        ENTRY(creat),
    ENTRY(close), ENTRY(is_qd_valid), ENTRY(pop),   ENTRY(pop2),   ENTRY(lseek),        ENTRY(poll),
    ENTRY(drop),  ENTRY(wait),        ENTRY(wait_any), ENTRY(wait_all), ENTRY(wait_timeout),
    ENTRY(wait_any_timeout), ENTRY(wait_some), ENTRY(stop), ENTRY(resume), ENTRY(own), ENTRY(watch)};

enum { CALLS = sizeof calls / sizeof calls[0] };

/* What the children have measured: shared with them. */
struct measured {
    int children;
    uint64_t ns[FORKS * 2][MAX_CALLS];
};
static struct measured *measured;

static void complain(const char *name, int err)
{
    char text[100];
    int n = snprintf(text, sizeof text, "dmtr_%s gave %d (%s) in a child\n", name, err, test_errno_name(err));
    if (write(2, text, (size_t)n) != n)
        _exit(2);
    _exit(1);
}

/* Makes all calls, beginning with another one in each child, and ends. Safe in a signal handler. */
static void in_child(void)
{
    int child = __atomic_fetch_add(&measured->children, 1, __ATOMIC_RELAXED);
    child_alarm(HANG_SECONDS);
    for (int i = 0; i < CALLS; i++) {
        int which = (child + i) % CALLS, err;
        uint64_t from = now_ns();
        err = calls[which].make();
        measured->ns[child % (FORKS * 2)][which] = now_ns() - from;
        if (err != EPERM)
            complain(calls[which].name, err);
    }
    if (dmtr_is_qd_valid(&out, server_qd) != EPERM || out != 0)
        complain("is_qd_valid", 0);
    _exit(0);
}

/* As in_child, and a child of the child does the same. */
static void in_generations(void)
{
    pid_t pid = fork();
    int status = -1;
    if (pid != 0 && (waitpid(pid, &status, 0) != pid || status != 0))
        _exit(1);
    in_child();
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void check_times(const char *what)
{
    static uint64_t all[FORKS * 2];
    uint64_t worst_median = 0, worst = 0;
    const char *slowest = "";
    int n = measured->children < FORKS * 2 ? measured->children : FORKS * 2;
    CHECK(n > 0);
    for (int c = 0; c < CALLS; c++) {
        for (int i = 0; i < n; i++)
            all[i] = measured->ns[i][c];
        qsort(all, (size_t)n, sizeof all[0], by_value);
        if (all[n / 2] > worst_median) {
            worst_median = all[n / 2];
            slowest = calls[c].name;
        }
        worst = all[n - 1] > worst ? all[n - 1] : worst;
    }
    fprintf(stderr, "%s: %d children, slowest call dmtr_%s: median %llu ns; longest of all: %llu ns\n", what, n, slowest,
            (unsigned long long)worst_median, (unsigned long long)worst);
    CHECK(worst_median <= LIMIT_NS);
    CHECK(worst <= SOON_NS);
    memset(measured, 0, sizeof *measured);
}

/* ---- ways and moments ---- */

static void fork_in_turns(const char *what, struct traffic *t, int forks)
{
    for (int i = 0; i < forks; i++) {
        pid_t pid = ways_to_fork[i % WAYS_TO_FORK].fork();
        if (pid == 0) {
            if (i % 8 == 0)
                in_generations();
            in_child();
        }
        child_passes(pid, ways_to_fork[i % WAYS_TO_FORK].name);
        traffic_burst(t, WINDOW);
    }
    check_times(what);
}

/* Calls all the time, not only those that wait. */
static int over;

static void *call_always(void *arg)
{
    int qd = 0, valid = 0;
    (void)arg;
    while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
        CHECK_ERR(dmtr_queue(&qd), 0);
        CHECK_ERR(dmtr_is_qd_valid(&valid, qd), 0);
        CHECK_ERR(dmtr_wait_timeout(NULL, q_start_pop(qd), 10000), ETIMEDOUT);
        CHECK_ERR(dmtr_close(qd), 0);
    }
    return NULL;
}

static void *sleep_in_wait(void *arg)
{
    CHECK_ERR(dmtr_wait(NULL, *(dmtr_qtoken_t *)arg), ECANCELED);
    return NULL;
}

static void test_with_threads(struct traffic *t)
{
    struct traffic other;
    pthread_t caller, sleeper;
    int qd = 0;
    dmtr_qtoken_t token;
    CHECK_ERR(dmtr_queue(&qd), 0);
    token = q_start_pop(qd);
    traffic_start(&other);
    start_thread(&caller, call_always, NULL);
    start_thread(&sleeper, sleep_in_wait, &token);
    fork_in_turns("other threads inside", t, FORKS);
    __atomic_store_n(&over, 1, __ATOMIC_RELAXED);
    CHECK_ERR(dmtr_close(qd), 0);
    join_thread(caller);
    join_thread(sleeper);
    traffic_end(&other);
}

/* ---- in a signal handler ---- */

/*
 * glibc's fork() takes the lock of malloc(), which the thread interrupted may hold: there the other
 * ways only.
 */
static volatile sig_atomic_t first_way, handler_way, handled;

static void fork_in_handler(int sig)
{
    int saved = errno, status = -1;
    pid_t pid = ways_to_fork[first_way + handler_way % (WAYS_TO_FORK - first_way)].fork();
    (void)sig;
    if (pid == 0)
        in_child();
    while (waitpid(pid, &status, 0) != pid)
        if (errno != EINTR)
            _exit(3);
    if (status != 0) {
        static const char text[] = "a child forked in a handler failed\n";
        if (write(2, text, sizeof text - 1) < 0)
            _exit(2);
        _exit(1);
    }
    handler_way++;
    handled++;
    errno = saved;
}

static void *signal_often(void *arg)
{
    for (int i = 0; i < FORKS; i++) {
        int before = handled;
        usleep((useconds_t)(i * 37 % 500));
        CHECK_EQ(pthread_kill(*(pthread_t *)arg, SIGUSR1), 0);
        while (handled == before && !__atomic_load_n(&over, __ATOMIC_RELAXED))
            usleep(50);
    }
    __atomic_store_n(&over, 1, __ATOMIC_RELAXED);
    return NULL;
}

enum kind { ECHOING, CALLING, ASLEEP, ASKING };

static void test_in_handler(const char *what, struct traffic *t, enum kind kind)
{
    pthread_t self = pthread_self(), killer;
    int qd = 0;
    CHECK_ERR(dmtr_queue(&qd), 0);
    __atomic_store_n(&over, 0, __ATOMIC_RELAXED);
    first_way = kind == ASKING ? 0 : 1;
    CHECK(signal(SIGUSR1, fork_in_handler) != SIG_ERR);
    start_thread(&killer, signal_often, &self);
    if (kind == CALLING)
        call_always(NULL);
    while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
        if (kind == ECHOING)
            traffic_burst(t, WINDOW);
        else if (kind == ASLEEP)
            CHECK_ERR(dmtr_wait_timeout(NULL, q_start_pop(qd), 2 * MS), ETIMEDOUT);
        else
            CHECK_EQ(q_valid(qd), 1);
    }
    join_thread(killer);
    CHECK(handled >= FORKS);
    handled = 0;
    traffic_burst(t, WINDOW);
    CHECK_ERR(dmtr_close(qd), 0);
    check_times(what);
}

/* ---- programs ---- */

extern pid_t vfork(void);

static void test_programs(struct traffic *t)
{
    static char *const argv[] = {(char *)"true", NULL};
    struct traffic other;
    traffic_start(&other);
    for (int i = 0; i < 25; i++) {
        char text[20] = "";
        FILE *f;
        pid_t pid = vfork();
        if (pid == 0) {
            execv("/bin/true", argv);
            _exit(1);
        }
        traffic_burst(t, WINDOW);
        child_passes(pid, "vfork");
        CHECK_EQ(posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ), 0);
        traffic_burst(t, WINDOW);
        child_passes(pid, "posix_spawn");
        CHECK_EQ(system("exit 7"), 7 << 8);
        traffic_burst(t, WINDOW);
        f = popen("echo hello", "r");
        CHECK(f != NULL && fgets(text, sizeof text, f) != NULL && strcmp(text, "hello\n") == 0);
        CHECK_EQ(pclose(f), 0);
        traffic_burst(t, WINDOW);
    }
    traffic_end(&other);
}

/* ---- */

static void open_queues(void)
{
    int client = 0;
    dmtr_qtoken_t token;
    CHECK_ERR(dmtr_queue(&memory_qd), 0);
    pending = q_start_pop(memory_qd);
    token = q_start_pop(memory_qd); /* behind the pending one, which is dropped now */
    CHECK_ERR(dmtr_drop(pending), 0);
    q_push(memory_qd, "x", 1);
    done = token;
    pending = q_start_pop(memory_qd);
    listener_qd = test_listen(&listener_addr);
    test_tcp_connect(listener_qd, &listener_addr, &client, &server_qd);
    CHECK_ERR(dmtr_open(&file_qd, "/proc/self/exe", O_RDONLY), 0);
}

int main(int argc, char **argv)
{
    struct traffic t;
    if (argc < 2) {
        run_in_wait_modes(NULL);
        return 0;
    }
    fprintf(stderr, "mode %s\n", argv[1]);
    measured = (struct measured *)shared_memory(sizeof *measured);
    test_init();
    traffic_open(&t);
    open_queues();
    fork_in_turns("alone", &t, FORKS);
    test_with_threads(&t);
    test_in_handler("in a handler, echoing", &t, ECHOING);
    test_in_handler("in a handler, calling", &t, CALLING);
    test_in_handler("in a handler, asleep", &t, ASLEEP);
    test_in_handler("in a handler, asking", &t, ASKING);
    test_programs(&t);
    /* What the children tried has had no effect. */
    CHECK_EQ(q_valid(server_qd), 1);
    CHECK_EQ(q_valid(file_qd), 1);
    CHECK_ERR(dmtr_poll(NULL, pending), EAGAIN);
    CHECK_ERR(dmtr_wait(&qr, done), 0);
    q_push(memory_qd, "x", 1);
    CHECK_ERR(dmtr_wait(&qr, pending), 0);
    traffic_close(&t);
    no_children();
    return 0;
}
