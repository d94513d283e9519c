/*
 * The short way for small arrays on hot sockets; see abi.Port. All are called with the lock held.
 */
#ifndef DMTR_HOT_H
#define DMTR_HOT_H

#include "shared.h"

/*
 * Sends a small array on a hot socket and completes its token. If that cannot be done here it
 * returns 0, and Go goes on: *sent bytes of the array as it is on the wire have gone, or -*sent is
 * the errno that the kernel gave.
 */
int hot_push(dmtr_qtoken_t *qt_out, int qd, const dmtr_sgarray_t *sga, int64_t *sent);

/* Starts a pop on a hot socket; 0 if Go must. */
int hot_pop(dmtr_qtoken_t *qt_out, int qd);

/* Whether there is a hot socket with a pop to serve. */
int hot_ready(void);

/* Receives once on each of them, and tells whether anything came. */
int hot_receive(void);

#endif
