/* What the tests of waits with a timeout and of dmtr_stop share. */
#ifndef DMTR_TESTS_API_TIMED_H
#define DMTR_TESTS_API_TIMED_H

#include "net/peer.h"

#include <dmtr/ext.h>
#include <sys/time.h>
#include <time.h>

#define MS UINT64_C(1000000)
#define LONG_NS (20000 * MS) /* a timeout that does not pass in these tests */
#define SOON_NS (5000 * MS)  /* what another thread ends has ended by then, however busy the machine */
#define LATE_NS (50 * MS)    /* a timeout that passes is not noticed later, in one of a few tries */

static inline uint64_t now_ns(void)
{
    struct timespec t;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline uint64_t cpu_ns(void)
{
    struct timespec t;
    CHECK(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Checks that a wait for a token that stays pending uses no processor, unless waits spin. */
static inline void sleeps_quietly(dmtr_qtoken_t qt)
{
    uint64_t least = UINT64_MAX;
    if (strcmp(getenv("DMTR_WAIT"), "spin") == 0)
        return;
    for (int i = 0; i < 3 && least > 40 * MS; i++) {
        uint64_t before = cpu_ns(), used;
        CHECK_ERR(dmtr_wait_timeout(NULL, qt, 150 * MS), ETIMEDOUT);
        used = cpu_ns() - before;
        least = used < least ? used : least;
    }
    CHECK(least <= 40 * MS);
}

/* What another thread does to a queue and its token after a while. */
enum act { ACT_PUSH, ACT_CLOSE, ACT_DROP, ACT_SEND, ACT_STOP };

struct actor {
    enum act act;
    int qd, fd;
    dmtr_qtoken_t qt;
    pthread_t thread;
};

static inline void *act_later(void *arg)
{
    struct actor *a = (struct actor *)arg;
    usleep(20000);
    switch (a->act) {
    case ACT_PUSH: q_push(a->qd, "x", 1); break;
    case ACT_CLOSE: CHECK_ERR(dmtr_close(a->qd), 0); break;
    case ACT_DROP: CHECK_ERR(dmtr_drop(a->qt), 0); break;
    case ACT_SEND: plain_send(a->fd, "x", 1); break;
    case ACT_STOP: CHECK_ERR(dmtr_stop(), 0); break;
    }
    return NULL;
}

/* The errno of a wait for a token that somebody does this to. */
static inline int act_errno(enum act act)
{
    return act == ACT_CLOSE ? ECANCELED : act == ACT_DROP ? ENOENT : act == ACT_STOP ? EINTR : 0;
}

#endif
