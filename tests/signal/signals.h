/*
 * What the tests of signals share: timers that interrupt one thread at random moments, handlers with
 * large frames, and notes that handlers take for the main program.
 */
#ifndef DMTR_TESTS_SIGNAL_SIGNALS_H
#define DMTR_TESTS_SIGNAL_SIGNALS_H

#include "net/peer.h"

#include <dmtr/ext.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/* ---- random numbers, also for handlers: a race between two of one thread does no harm ---- */

static __thread uint64_t random_state;

static inline uint32_t any(uint32_t n)
{
    if (random_state == 0)
        random_state = (uint64_t)getpid() << 20 ^ (uint64_t)syscall(SYS_gettid);
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % n;
}

static inline uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ---- timers ---- */

/* Makes a timer that signals the calling thread. */
static inline timer_t thread_timer(int sig)
{
    struct sigevent ev;
    timer_t timer;
    memset(&ev, 0, sizeof ev);
    ev.sigev_notify = SIGEV_THREAD_ID;
    ev.sigev_signo = sig;
    ev.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
    CHECK(timer_create(CLOCK_MONOTONIC, &ev, &timer) == 0);
    return timer;
}

/* Sets a timer off once, after 1 to most_us µs; 0 stops it. For handlers, too. */
static inline void timer_soon(timer_t timer, uint32_t most_us)
{
    struct itimerspec when = {{0, 0}, {0, 0}};
    if (most_us > 0) {
        uint32_t us = 1 + any(most_us);
        when.it_value.tv_sec = us / 1000000;
        when.it_value.tv_nsec = (long)(us % 1000000) * 1000;
    }
    timer_settime(timer, 0, &when, NULL);
}

static inline void handle(int sig, void (*handler)(int), int flags)
{
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = handler;
    sa.sa_flags = flags;
    CHECK(sigaction(sig, &sa, NULL) == 0);
}

/* ---- frames ---- */

/* Fills a frame, which stays in use; frame_ok() says whether it is still as it was. */
static inline void frame_fill(unsigned char *frame, size_t size, int v)
{
    memset(frame, v, size);
    __asm__ volatile("" : : "r"(frame) : "memory");
}

static inline int frame_ok(const unsigned char *frame, size_t size, int v)
{
    __asm__ volatile("" : : "r"(frame) : "memory");
    return frame[0] == (unsigned char)v && memcmp(frame, frame + 1, size - 1) == 0;
}

/* ---- what a handler finds wrong ---- */

struct mishap {
    int line; /* 0: none yet */
    long got, want;
};

/* For handlers: notes the first mishap. */
static inline void note(struct mishap *m, int line, long got, long want)
{
    int none = 0;
    if (got == want || !__atomic_compare_exchange_n(&m->line, &none, -1, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        return;
    m->got = got;
    m->want = want;
    __atomic_store_n(&m->line, line, __ATOMIC_RELEASE);
}

#define NOTE(m, got, want) note((m), __LINE__, (long)(got), (long)(want))

static inline void check_no_mishap(const struct mishap *m, const char *file)
{
    int line = __atomic_load_n(&m->line, __ATOMIC_ACQUIRE);
    if (line == 0)
        return;
    fprintf(stderr, "%s:%d: a signal handler found %ld, expected %ld\n", file, line, m->got, m->want);
    exit(1);
}

/* ---- processes ---- */

/* fork(); the child does not outlive its parent. */
static inline pid_t fork_child(void)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return pid;
}

/* Awaits a child for so many milliseconds; returns its wait status, or -1 if it has to be killed. */
static inline int status_within(pid_t pid, int ms)
{
    uint64_t end = now_us() + (uint64_t)ms * 1000;
    int status = -1;
    for (;;) {
        pid_t got = waitpid(pid, &status, WNOHANG);
        CHECK(got == 0 || got == pid);
        if (got == pid)
            return status;
        if (now_us() > end)
            break;
        usleep(200);
    }
    kill(pid, SIGKILL);
    CHECK(waitpid(pid, &status, 0) == pid);
    return -1;
}

static inline int wait_mode_is(const char *mode)
{
    const char *set = getenv("DMTR_WAIT");
    return set != NULL && strcmp(set, mode) == 0;
}

#endif
