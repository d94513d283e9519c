#define _GNU_SOURCE 1
#include "lock.h"
#include "sys.h"

#include <linux/futex.h>
#include <sched.h>
#include <stddef.h>

/* Before dmtr_init() has made the shared memory nobody spins, so there is nobody to ask. */
static void want(uint32_t change)
{
    struct dmtr_control *ctl = __atomic_load_n(&dmtr_ctl, __ATOMIC_ACQUIRE);
    if (ctl != NULL)
        __atomic_fetch_add(&ctl->want, change, __ATOMIC_RELAXED);
}

void dmtr_lock_slow(void)
{
    want(1);
    for (int i = 0; i < 100; i++) {
        uint32_t expected = 0;
        if (__atomic_compare_exchange_n(&dmtr_lock_word, &expected, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
            want(-1u);
            return;
        }
        __builtin_ia32_pause();
    }
    while (__atomic_exchange_n(&dmtr_lock_word, 2, __ATOMIC_ACQUIRE) != 0)
        sys_call(SYS_futex, (long)&dmtr_lock_word, FUTEX_WAIT_PRIVATE, 2, 0, 0, 0);
    want(-1u);
}

void dmtr_unlock_slow(void)
{
    sys_call(SYS_futex, (long)&dmtr_lock_word, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
}

void dmtr_lock_yield(void)
{
    struct dmtr_control *ctl = dmtr_ctl;
    for (int i = 0; i < 1000 && __atomic_load_n(&ctl->want, __ATOMIC_RELAXED) != 0; i++)
        sched_yield();
}
