/*
 * What the tests of fork share: ways to fork, children that are checked, connections that carry data
 * all the while, and descriptors left over.
 */
#ifndef DMTR_TESTS_FORK_FORK_H
#define DMTR_TESTS_FORK_FORK_H

#include "api/timed.h"

#include <sys/syscall.h>

/* ---- ways to fork ---- */

static inline pid_t fork_plain(void)
{
    return fork();
}

/* As fork, but no handler of pthread_atfork() runs: safe in signal handlers. */
static inline pid_t fork_bare(void)
{
    return _Fork();
}

/* System calls, of which the C library does not learn. */
static inline pid_t fork_syscall(void)
{
    return (pid_t)syscall(SYS_fork);
}

static inline pid_t fork_clone(void)
{
    return (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
}

struct way_to_fork {
    const char *name;
    pid_t (*fork)(void);
};

static const struct way_to_fork ways_to_fork[] = {
    {"fork", fork_plain}, {"_Fork", fork_bare}, {"SYS_fork", fork_syscall}, {"SYS_clone", fork_clone}};

enum { WAYS_TO_FORK = sizeof ways_to_fork / sizeof ways_to_fork[0] };

/* ---- children ---- */

/*
 * What a child does first: it ends by itself if it hangs, and alone, where the watchdog of the test
 * would end the group.
 */
static inline void child_alarm(unsigned seconds)
{
    signal(SIGALRM, SIG_DFL);
    alarm(seconds);
}

/* Checks that a child ends with status 0. */
static inline void child_passes(pid_t pid, const char *what)
{
    int status = -1;
    pid_t got;
    CHECK(pid > 0);
    do
        got = waitpid(pid, &status, 0);
    while (got < 0 && errno == EINTR);
    CHECK_EQ(got, pid);
    if (status == 0)
        return;
    fprintf(stderr, "%s: the child ended with wait status 0x%x%s\n", what, (unsigned)status,
            WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? ": it hung" : "");
    exit(1);
}

/* Checks that no child is left. */
static inline void no_children(void)
{
    CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
}

/* ---- daemons ---- */

/*
 * Becomes a daemon: fork, setsid, fork. Returns in the daemon only, with a pipe to the test, which passes if the
 * daemon writes "done\n" last.
 */
static inline int daemonize(const char *what)
{
    int fds[2];
    char text[400];
    size_t n = 0;
    ssize_t k;
    pid_t pid;
    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK(setsid() > 0);
        pid = fork();
        CHECK(pid >= 0);
        if (pid != 0)
            _exit(0);
        CHECK(close(fds[0]) == 0);
        return fds[1];
    }
    CHECK(close(fds[1]) == 0);
    child_passes(pid, "first child");
    while ((k = read(fds[0], text + n, sizeof text - 1 - n)) > 0) /* until the daemon has ended */
        n += (size_t)k;
    text[n] = 0;
    fprintf(stderr, "%s: %s", what, text);
    exit(strstr(text, "done\n") != NULL ? 0 : 1);
}

/* ---- traffic ---- */

/* An echo over a connection with both ends in this process, a few messages under way all the time. */
struct traffic {
    int client, server;
    uint64_t echoes, limit; /* limit 0: until stop is set */
    int stop;
    pthread_t thread;
};

enum { WINDOW = 16, ECHO_BYTES = 64 };

static inline void traffic_fill(unsigned char *data, uint64_t number)
{
    fill(data, ECHO_BYTES, (uint32_t)number, 0);
    memcpy(data, &number, sizeof number);
}

/* Pops a message, which must be that number, and pushes it on to `to`, or nowhere (-1). */
static inline void traffic_step(int from, int to, uint64_t number)
{
    unsigned char want[ECHO_BYTES];
    dmtr_qresult_t qr;
    dmtr_qtoken_t qt = 0;
    traffic_fill(want, number);
    CHECK_ERR(dmtr_wait(&qr, q_start_pop(from)), 0);
    CHECK_EQ(qr.qr_value.sga.sga_numsegs, 1);
    CHECK_EQ(qr.qr_value.sga.sga_segs[0].sgaseg_len, ECHO_BYTES);
    CHECK(memcmp(qr.qr_value.sga.sga_segs[0].sgaseg_buf, want, ECHO_BYTES) == 0);
    if (to >= 0) {
        CHECK_ERR(dmtr_push(&qt, to, &qr.qr_value.sga), 0);
        CHECK_ERR(dmtr_wait(NULL, qt), 0);
    }
    free(qr.qr_value.sga.sga_buf);
}

/* Echoes so many messages at once, and checks their bytes and order. */
static inline void traffic_burst(struct traffic *t, unsigned n)
{
    unsigned char data[ECHO_BYTES];
    for (unsigned i = 0; i < n; i++) {
        traffic_fill(data, t->echoes + i);
        q_push(t->client, data, sizeof data);
    }
    for (unsigned i = 0; i < n; i++)
        traffic_step(t->server, t->server, t->echoes + i);
    for (unsigned i = 0; i < n; i++)
        traffic_step(t->client, -1, t->echoes + i);
    __atomic_store_n(&t->echoes, t->echoes + n, __ATOMIC_RELEASE);
}

static inline void *traffic_run(void *arg)
{
    struct traffic *t = (struct traffic *)arg;
    while (!__atomic_load_n(&t->stop, __ATOMIC_RELAXED) && (t->limit == 0 || t->echoes < t->limit))
        traffic_burst(t, WINDOW);
    return NULL;
}

static inline void traffic_open(struct traffic *t)
{
    memset(t, 0, sizeof *t);
    test_tcp_pair(&t->client, &t->server);
}

static inline void traffic_start(struct traffic *t)
{
    traffic_open(t);
    start_thread(&t->thread, traffic_run, t);
}

static inline void traffic_close(struct traffic *t)
{
    CHECK_ERR(dmtr_close(t->client), 0);
    CHECK_ERR(dmtr_close(t->server), 0);
}

/* Ends the thread; something must have been echoed. */
static inline void traffic_end(struct traffic *t)
{
    __atomic_store_n(&t->stop, 1, __ATOMIC_RELAXED);
    join_thread(t->thread);
    CHECK(t->echoes > 0);
    traffic_close(t);
}

#endif
