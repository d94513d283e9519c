/* Threads asleep in a wait. */
#ifndef DMTR_WAITER_H
#define DMTR_WAITER_H

#include <stdint.h>

/*
 * Sleeps until a device has work, another thread wakes the sleepers, a signal was handled, or
 * max_ms has passed (0: no limit). Called with the lock held, which it lets go meanwhile. seq is
 * the number of completions that the caller has seen: if there are more, it does not sleep.
 */
void waiter_sleep(uint64_t seq, uint32_t max_ms);

/* How long an adaptive wait should spin before it sleeps, by what the last sleeps were like. */
uint64_t waiter_budget_ns(uint64_t now_ns);

/* Whether adaptive waits spin at all at present. */
int waiter_spins(void);

/* Says that others want the core, too. */
void waiter_crowded(uint64_t now_ns);

#endif
