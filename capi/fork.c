/*
 * fork(). The Go runtime starts when the library is loaded, on threads of its own, and a child process has only the
 * thread that forked. Calls into Go that run to their end on that thread still work; whatever needs another one, such as
 * a collection of garbage, would hang.
 */
#include "front.h"

#include "_cgo_export.h"

#include <pthread.h>

/* A child whose parent's runtime had not finished starting would wait for that for ever. */
static void before_fork(void)
{
    dmtrGoReady();
}

static void in_child(void)
{
    dmtrGoForked();
}

__attribute__((constructor)) static void watch_forks(void)
{
    pthread_atfork(before_fork, NULL, in_child);
}
