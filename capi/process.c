/*
 * What the Go runtime does to the process it is loaded into.
 *
 * fork(). The Go runtime starts when the library is loaded, on threads of its own, and a child
 * process has only the thread that forked. Calls into Go that run to their end on that thread still
 * work; whatever needs another one, such as a collection of garbage, would hang. So would a call
 * into Go if another thread held a lock of the runtime at the moment of the fork.
 *
 * A child does not enter Go before it has to: many only call exec. If the library has been started,
 * it belongs to the parent, and the child cannot have it: all calls give EPERM.
 */
#include "front.h"
#include "sys.h"

#include "_cgo_export.h"

#include <dmtr/latency.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

/* The threads of the runtime sleep when this time has passed since it started. */
#define SETTLED_NS 5000000

union dmtr_process dmtr_process __attribute__((aligned(4096)));
int dmtr_started;
static struct rlimit files_on_load;

static void before_fork(void)
{
    static uint64_t ready_ns; /* when the runtime had started, at the latest */
    if (dmtr_thread_enter() != 0)
        return;
    if (ready_ns == 0) {
        if (dmtr_ctl == NULL && dmtr_process.loaded_here) { /* a child may come to call; see process.go */
            dmtr_lock();
            dmtrGoManyThreads();
            dmtr_unlock();
        }
        ready_ns = dmtr_now_ns();
    }
    uint64_t age = dmtr_now_ns() - ready_ns;
    if (age < SETTLED_NS) {
        struct timespec rest = {0, (long)(SETTLED_NS - age)};
        sys_call(SYS_nanosleep, (long)&rest, 0, 0, 0, 0, 0);
    }
}

/* The child may hold copies of all descriptors. */
static void after_fork(void)
{
    if (dmtr_ctl != NULL)
        __atomic_store_n(&dmtr_ctl->forked, 1, __ATOMIC_RELAXED);
}

/* For kernels before Linux 4.14, which do not do this by themselves. */
static void wipe(void)
{
    memset(&dmtr_process, 0, sizeof dmtr_process);
}

/* Runs before the Go runtime starts, which an ordinary constructor does not. */
__attribute__((constructor(101))) static void on_load(void)
{
    int wiped = madvise(&dmtr_process, sizeof dmtr_process, MADV_WIPEONFORK) == 0;
    dmtr_process.loaded_here = 1;
    getrlimit(RLIMIT_NOFILE, &files_on_load);
    pthread_atfork(before_fork, after_fork, wiped ? NULL : wipe);
    dmtr_start_maker();
    dmtr_before_go();
}

/* Runs after the constructor of Go, which is linked first. */
__attribute__((constructor)) static void after_load(void)
{
    dmtr_after_go();
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
    if (!dmtr_process.loaded_here)
        dmtrGoForked();
}
