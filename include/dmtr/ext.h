/*
 * Extensions: calls that neither generation of the API has.
 */
#ifndef DMTR_EXT_H
#define DMTR_EXT_H

#include <dmtr/sys/gcc.h>
#include <dmtr/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A timeout that never passes. */
#define DMTR_FOREVER UINT64_MAX

/*
 * dmtr_wait() that blocks for timeout_ns nanoseconds at most. With 0 it lets pending operations
 * make progress once and does not block.
 *
 *   ETIMEDOUT  the token is still pending; it stays, and can be waited for again
 *   as dmtr_wait()
 * If the operation itself fails with ETIMEDOUT, qr_opcode tells the two apart: it is
 * DMTR_OPC_INVALID for a wait that has timed out.
 */
DMTR_EXPORT int dmtr_wait_timeout(dmtr_qresult_t *qr_out, dmtr_qtoken_t qt, uint64_t timeout_ns)
    DMTR_VERSIONED(dmtr_wait_timeout);

/*
 * dmtr_wait_any() that blocks for timeout_ns nanoseconds at most. With 0 it lets pending operations
 * make progress once and does not block.
 *
 *   ETIMEDOUT  all tokens are still pending, and stay; qr_opcode is DMTR_OPC_INVALID, and
 *              *ready_offset is -1
 *   as dmtr_wait_any()
 */
DMTR_EXPORT int dmtr_wait_any_timeout(dmtr_qresult_t *qr_out, int *ready_offset, dmtr_qtoken_t *qts, int num_qts,
                                      uint64_t timeout_ns) DMTR_VERSIONED(dmtr_wait_any_timeout);

/*
 * From now on no wait blocks, in any thread: one that finds nothing completed, or sleeps already,
 * returns EINTR, and its tokens stay (qr_opcode is DMTR_OPC_INVALID, *ready_offset -1). Completed
 * tokens are still reported, so that a program can close its queues and collect what is left. The
 * blocking dmtr_connect() of 2019 gives up with EINTR likewise, and the socket may be tried again.
 *
 * May be called from a signal handler at any moment. Never blocks.
 *
 *   EPERM  dmtr_init() has not succeeded
 */
DMTR_EXPORT int dmtr_stop(void);

/*
 * Ends what dmtr_stop() has begun: waits block again. May be called from a signal handler at any
 * moment. Never blocks.
 *
 *   EPERM  dmtr_init() has not succeeded
 */
DMTR_EXPORT int dmtr_resume(void);

#ifdef __cplusplus
}
#endif

#endif
