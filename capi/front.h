/* What the files of the front share. */
#ifndef DMTR_FRONT_H
#define DMTR_FRONT_H

#include "lock.h"
#include "shared.h"

#include <dmtr/types.h>
#include <errno.h>

/* Every call of the API but dmtr_init() begins with this. */
#define REQUIRE_INIT()                                                            \
    do {                                                                          \
        if (DMTR_UNLIKELY(__atomic_load_n(&dmtr_ctl, __ATOMIC_ACQUIRE) == NULL)) \
            return EPERM;                                                         \
    } while (0)

/* Enters the engine; returns the count of completions, for leave(). */
uint64_t dmtr_enter(void);

/*
 * Leaves the engine. Threads asleep in a wait are woken if something has completed since, or may
 * now need them.
 */
void dmtr_leave(uint64_t seq);

/* Prepares the Go runtime for the library to start, see process.c. */
void dmtr_before_init(void);

/* Set in a child of a process that had started the library. */
extern int dmtr_owned_by_parent;

/* Wakes all threads asleep in a wait; called with the lock held. */
void dmtr_wake_all(void);

#endif
