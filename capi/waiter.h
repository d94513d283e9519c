/* Threads asleep in a wait. */
#ifndef DMTR_WAITER_H
#define DMTR_WAITER_H

#include <stdint.h>

/* Prepares for sleeping; called by dmtr_init(). Returns an errno value. */
int waiter_start(void);

/*
 * Sleeps until a device has work, another thread wakes the sleepers, dmtr_stop() is called, a signal
 * was handled, or the clock of dmtr_now_ns() says until_ns. Called with the lock held, which it lets
 * go meanwhile. seq is the number of completions that the caller has seen: if there are more, or the
 * engine is given up, it does not sleep. It gives the engine up if the program has closed what it
 * would sleep on.
 */
void waiter_sleep(uint64_t seq, uint64_t until_ns);

/* Whether dmtr_stop() is in force. */
int waiter_stopped(void);

/* How long an adaptive wait should spin before it sleeps, by what the last sleeps were like. */
uint64_t waiter_budget_ns(uint64_t now_ns);

/* Whether adaptive waits spin at all at present. */
int waiter_spins(void);

/* Says that others want the core, too, so that sleeping is better than spinning for a while. */
void waiter_crowded(uint64_t now_ns);

#endif
