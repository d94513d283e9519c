/*
 * The short way for small arrays on the hot socket; see abi.Port. All are called with the lock held.
 */
#ifndef DMTR_HOT_H
#define DMTR_HOT_H

#include "shared.h"

/*
 * Sends a small array on the hot socket and completes its token. If that cannot be done here it
 * returns 0, and Go goes on: *sent bytes of the array as it is on the wire have gone, or -*sent is
 * the errno that the kernel gave.
 */
int hot_push(dmtr_qtoken_t *qt_out, int qd, const dmtr_sgarray_t *sga, int64_t *sent);

/* Starts a pop of count bytes at most, 0 for the configured limit; 0 if Go must. */
int hot_pop(dmtr_qtoken_t *qt_out, int qd, size_t count);

/* Whether the hot socket has a pop to serve, and no data of others can be older than its own. */
int hot_ready(void);

/* Receives once, when hot_ready(), and tells whether anything came. */
int hot_receive(void);

#endif
