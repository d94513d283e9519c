/*
 * Waiting for tokens. How a wait passes the time (spinning, blocking, or first one then the other)
 * is configured; see `wait` in docs/configuration.md. Signal handlers run during a wait, and the
 * wait goes on after them; only dmtr_stop(), see ext.h, makes it return EINTR. All give EBUSY as
 * libos.h says.
 */
#ifndef DMTR_WAIT_H
#define DMTR_WAIT_H

#include <dmtr/sys/gcc.h>
#include <dmtr/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Blocks until the token completes, reports its result and drops it. qr_out may be NULL; what the
 * result owns, the block of a pop or the connection of an accept, is then released, unless
 * dmtr_poll() has reported it.
 *
 *   EPERM   dmtr_init() has not succeeded
 *   ENOENT  the token is unknown or dropped
 *   the errno of the operation, with qr_opcode, qr_qd and qr_qt set
 */
DMTR_EXPORT int dmtr_wait(dmtr_qresult_t *qr_out, dmtr_qtoken_t qt) DMTR_VERSIONED(dmtr_wait);

/*
 * Blocks until one of num_qts tokens completes, whether it succeeded or failed; reports and drops
 * that one, and stores its place in qts. Ready tokens are served in the order in which they
 * completed. qr_out and ready_offset may be NULL; *ready_offset is only written. The cost does not
 * grow with the tokens that are not ready. The array is only read and must not change meanwhile.
 *
 *   EPERM   dmtr_init() has not succeeded
 *   EINVAL  qts is NULL or num_qts is not positive
 *   ENOENT  a token is unknown or dropped, and none before it was found ready; *ready_offset is its
 *           place, qr_out has its qd and token and opcode DMTR_OPC_INVALID. Arrays of more than 16
 *           tokens are checked bit by bit while waiting.
 *   the errno of the operation, with qr_opcode, qr_qd, qr_qt and *ready_offset set
 */
DMTR_EXPORT int dmtr_wait_any(dmtr_qresult_t *qr_out, int *ready_offset, dmtr_qtoken_t *qts, int num_qts)
    DMTR_VERSIONED(dmtr_wait_any);

/*
 * Blocks until all tokens have completed and drops them. qr_out is NULL or an array of num_qts
 * results. Returns the errno of the first operation (in the order of qts) that failed, or 0; the
 * opcode of a token that is unknown is DMTR_OPC_INVALID.
 *
 *   EPERM, EINVAL, ENOENT  as dmtr_wait_any()
 */
DMTR_EXPORT int dmtr_wait_all(dmtr_qresult_t *qr_out, dmtr_qtoken_t *qts, int num_qts) DMTR_VERSIONED(dmtr_wait_all);

#ifdef __cplusplus
}
#endif

#endif
