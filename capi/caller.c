/*
 * The program's threads. A signal handler of the program may run at any moment, while its thread is
 * in Go, too, and then it finds a stack of ours. So before a thread's first call:
 *
 * - The goroutine that its calls run on gets a large stack. Handlers without SA_ONSTACK run on that.
 * - If the thread has no alternate stack, it gets a large one from us. Handlers with SA_ONSTACK, and
 *   Go's own for faults, run on that; otherwise Go would give it one of 32 KiB.
 * - The signal mask stays as it was. Go would unblock SIGCHLD, SIGPROF and some others.
 */
#define _GNU_SOURCE
#include "front.h"
#include "sys.h"

#include "_cgo_export.h"

#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>

enum { ALT_STACK_BYTES = 512 << 10, PAGE = 4096 };

__thread uint32_t dmtr_thread;

static int entered; /* threads that have made their first call; the lock guards it */

static pthread_key_t stack_key;
static pthread_once_t stack_once = PTHREAD_ONCE_INIT;

/* At the end of the thread. Go may still need the stack in the first round of destructors. */
static void free_stack(void *memory)
{
    static __thread int again;
    if (!again) {
        again = 1;
        pthread_setspecific(stack_key, memory);
        return;
    }
    stack_t now, none = {.ss_flags = SS_DISABLE};
    if (sigaltstack(NULL, &now) == 0 && now.ss_sp == (char *)memory + PAGE && sigaltstack(&none, NULL) != 0)
        return; /* in use: a handler ends the thread */
    munmap(memory, PAGE + ALT_STACK_BYTES);
}

static void make_key(void)
{
    pthread_key_create(&stack_key, free_stack);
}

static void give_stack(void)
{
    stack_t now;
    if (sigaltstack(NULL, &now) != 0 || !(now.ss_flags & SS_DISABLE))
        return;
    /* The lowest page stops what overflows. */
    char *memory = mmap(NULL, PAGE + ALT_STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return;
    stack_t own = {.ss_sp = memory + PAGE, .ss_size = ALT_STACK_BYTES};
    pthread_once(&stack_once, make_key);
    if (mprotect(memory, PAGE, PROT_NONE) != 0 || pthread_setspecific(stack_key, memory) != 0 || sigaltstack(&own, NULL) != 0) {
        pthread_setspecific(stack_key, NULL);
        munmap(memory, PAGE + ALT_STACK_BYTES);
    }
}

static void *grow(void *unused)
{
    dmtrGoGrow();
    return unused;
}

/*
 * Makes the goroutine that the thread is going to get. Go unblocks signals before it lets a thread do
 * anything, so the stack must have grown before: in a thread of our own, which has all of them blocked
 * and at its end gives the goroutine back to the top of Go's list.
 */
static void grow_next_goroutine(void)
{
    pthread_t helper;
    if (pthread_create(&helper, NULL, grow, NULL) == 0)
        pthread_join(helper, NULL);
}

int dmtr_thread_enter(void)
{
    if (dmtr_thread == THREAD_INSIDE)
        return EBUSY;
    if (dmtr_thread == THREAD_OUTSIDE)
        return 0;
    uint64_t all = ~0ULL, mask;
    int cancel;
    /* The thread must not end with the lock held. */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    sys_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&mask, sizeof mask, 0, 0);
    dmtr_lock();
    give_stack();
    grow_next_goroutine();
    dmtrGoGrow();
    if (++entered == 2)
        dmtrGoManyThreads();
    dmtr_unlock();
    sys_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&mask, 0, sizeof mask, 0, 0);
    pthread_setcancelstate(cancel, NULL);
    return 0;
}
