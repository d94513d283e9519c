/*
 * fork(). The Go runtime starts when the library is loaded, on threads of its own, and a child process has only the
 * thread that forked. Calls into Go that run to their end on that thread still work; whatever needs another one, such as
 * a collection of garbage, would hang. So would a call into Go if another thread held a lock of the runtime at the
 * moment of the fork.
 */
#include "front.h"

#include "_cgo_export.h"

#include <dmtr/latency.h>
#include <pthread.h>
#include <time.h>

/* The runtime has finished its start, and its threads sleep, this long after the library was loaded. */
#define SETTLED_NS 5000000

static uint64_t loaded_ns;
static int forked;

static void before_fork(void)
{
    uint64_t age = dmtr_now_ns() - loaded_ns;
    if (age < SETTLED_NS) {
        dmtrGoReady();
        struct timespec rest = {0, (long)(SETTLED_NS - age)};
        nanosleep(&rest, NULL);
    }
}

/* A child does not enter Go before it has to: many only call exec. */
static void in_child(void)
{
    forked = 1;
}

__attribute__((constructor)) static void watch_forks(void)
{
    loaded_ns = dmtr_now_ns();
    pthread_atfork(before_fork, NULL, in_child);
}

void dmtr_before_init(void)
{
    if (forked)
        dmtrGoForked();
}
