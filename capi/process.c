/*
 * What the Go runtime does to the process it is loaded into.
 *
 * fork(). The Go runtime starts when the library is loaded, on threads of its own, and a child
 * process has only the thread that forked. Calls into Go that run to their end on that thread still
 * work; whatever needs another one, such as a collection of garbage, would hang. So would a call
 * into Go if another thread held a lock of the runtime at the moment of the fork.
 */
#include "front.h"

#include "_cgo_export.h"

#include <dmtr/latency.h>
#include <pthread.h>
#include <sys/resource.h>
#include <time.h>

/* The threads of the runtime sleep when this time has passed since it started. */
#define SETTLED_NS 5000000

static int forked;
int dmtr_owned_by_parent;
static struct rlimit files_on_load;

static void before_fork(void)
{
    static uint64_t ready_ns; /* when the runtime had started, at the latest */
    if (ready_ns == 0) {
        dmtrGoReady();
        ready_ns = dmtr_now_ns();
    }
    uint64_t age = dmtr_now_ns() - ready_ns;
    if (age < SETTLED_NS) {
        struct timespec rest = {0, (long)(SETTLED_NS - age)};
        nanosleep(&rest, NULL);
    }
}

/*
 * A child does not enter Go before it has to: many only call exec. If the library has been started,
 * it belongs to the parent, and the child cannot have it: all calls give EPERM.
 */
static void in_child(void)
{
    forked = 1;
    dmtr_lock_word = 0;
    if (dmtr_ctl != NULL) {
        dmtr_ctl = NULL;
        dmtr_owned_by_parent = 1;
    }
}

/* Runs before the Go runtime starts, which an ordinary constructor does not. */
__attribute__((constructor(101))) static void on_load(void)
{
    getrlimit(RLIMIT_NOFILE, &files_on_load);
    pthread_atfork(before_fork, NULL, in_child);
}

/*
 * Go's package os raises the limit on open files to the hard limit when it starts. That is the
 * program's affair: it may use select(), or start others. Unless the program has changed the limit
 * meanwhile, it becomes what it was.
 */
int dmtr_restore_file_limit(void)
{
    struct rlimit now;
    if (getrlimit(RLIMIT_NOFILE, &now) != 0 || now.rlim_cur + 1 < now.rlim_max || now.rlim_max != files_on_load.rlim_max)
        return 0;
    return setrlimit(RLIMIT_NOFILE, &files_on_load);
}

void dmtr_before_init(void)
{
    if (forked)
        dmtrGoForked();
}
