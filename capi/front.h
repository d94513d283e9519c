/* What the files of the front share. */
#ifndef DMTR_FRONT_H
#define DMTR_FRONT_H

#include "lock.h"
#include "shared.h"

#include <dmtr/types.h>
#include <errno.h>

/* Every call of the API begins with this, but those that work before dmtr_init(). */
#define ENTER_API()                                                               \
    do {                                                                          \
        if (DMTR_UNLIKELY(__atomic_load_n(&dmtr_ctl, __ATOMIC_ACQUIRE) == NULL)) \
            return EPERM;                                                         \
        if (DMTR_UNLIKELY(dmtr_thread != THREAD_OUTSIDE)) {                       \
            int cannot = dmtr_thread_enter();                                     \
            if (cannot != 0)                                                      \
                return cannot;                                                    \
        }                                                                         \
    } while (0)

/*
 * Makes a thread that calls for the first time ready for Go, see caller.c. One that is in the library
 * already, and so calls from a signal handler, gets EBUSY.
 */
int dmtr_thread_enter(void);

/* Enters the engine; returns the count of completions, for leave(). */
uint64_t dmtr_enter(void);

/*
 * Leaves the engine. Threads asleep in a wait are woken if something has completed since, or may
 * now need them.
 */
void dmtr_leave(uint64_t seq);

/* Makes a call into the engine and returns its result. */
#define RETURN_FROM_ENGINE(call)     \
    do {                             \
        uint64_t seq = dmtr_enter(); \
        int result = (call);         \
        dmtr_leave(seq);             \
        return result;               \
    } while (0)

/* Starts the thread that makes threads for those which cannot, see own_threads.c. */
void dmtr_start_maker(void);

/* Around the start of the Go runtime, see faults.c. */
void dmtr_before_go(void);
void dmtr_after_go(void);

/* Prepares the Go runtime for the library to start, see process.c. */
void dmtr_before_init(void);

/* dmtr_init() has succeeded, in this process or a parent of it. */
extern int dmtr_started;

/* The asynchronous dmtr_connect(). */
int dmtr_start_connect(dmtr_qtoken_t *qt_out, int qd, const struct sockaddr *saddr, socklen_t size);

/* Starts the thread that polls while the program does not, see keeper.c. */
void dmtr_keep(void);

/* Wakes all threads asleep in a wait; called with the lock held. */
void dmtr_wake_all(void);

#endif
