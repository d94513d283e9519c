/*
 * The lock around the engine. Every call into Go is made with it held, and so is everything that
 * changes the lists of tokens. Uncontended it costs two atomic instructions.
 *
 * A thread that waits for the lock is counted in dmtr_ctl->want, which makes the engine return
 * early from a spin.
 */
#ifndef DMTR_LOCK_H
#define DMTR_LOCK_H

#include "shared.h"

#include <dmtr/sys/gcc.h>
#include <stdint.h>

/* 0 free, 1 held, 2 held and perhaps waited for. */
#define dmtr_lock_word (dmtr_process.lock)

/* Where the calling thread is; by this a call knows that it comes from a signal handler. */
enum { THREAD_NEW, THREAD_OUTSIDE, THREAD_INSIDE };
extern __thread uint32_t dmtr_thread DMTR_HIDDEN __attribute__((tls_model("initial-exec")));

void dmtr_lock_slow(void);
void dmtr_unlock_slow(void);

static inline void dmtr_lock(void)
{
    uint32_t expected = 0;
    dmtr_thread = THREAD_INSIDE;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (!__atomic_compare_exchange_n(&dmtr_lock_word, &expected, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        dmtr_lock_slow();
}

static inline void dmtr_unlock(void)
{
    if (__atomic_exchange_n(&dmtr_lock_word, 0, __ATOMIC_RELEASE) == 2)
        dmtr_unlock_slow();
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    dmtr_thread = THREAD_OUTSIDE;
}

/*
 * Around calls of malloc() and free() without the lock: a signal handler that interrupts them must not
 * wait for the lock, whose holder may wait for them.
 */
static inline uint32_t dmtr_thread_hold(void)
{
    uint32_t before = dmtr_thread;
    dmtr_thread = THREAD_INSIDE;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    return before;
}

static inline void dmtr_thread_release(uint32_t before)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    dmtr_thread = before;
}

/* Lets the threads that wait for the lock have it before the caller takes it again. */
void dmtr_lock_yield(void);

#endif
