/*
 * Extensions: calls that neither generation of the API has.
 */
#ifndef DMTR_EXT_H
#define DMTR_EXT_H

#include <dmtr/sys/gcc.h>
#include <dmtr/types.h>

#include <sys/types.h>

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
 * dmtr_wait_any_timeout() that reports several tokens in one call. It blocks until one of num_qts tokens completes, for timeout_ns
 * nanoseconds at most, and then reports those that have completed by then, as many as there is room for, in the order in which
 * they completed. Each is dropped. Some that have completed may be left for the next call, but not because others are always ready.
 *
 * The caller gives room for *num_ready results in qrs_out, errno values of the operations (0: success) in errs_out, and places
 * in qts in ready_offsets. *num_ready is then how many were reported: at least one if the call returns 0, else none. What a result
 * owns is the program's, as after dmtr_wait_any(). The array of tokens is only read and must not change meanwhile. The cost does not
 * grow with the tokens that are not ready.
 *
 *   EPERM      dmtr_init() has not succeeded
 *   EINVAL     a pointer is NULL, or *num_ready or num_qts is not positive; *num_ready stays as it is
 *   ENOENT     a token is unknown or dropped, and none was found ready; ready_offsets[0] is its place. Arrays of more than 16
 *              tokens are checked bit by bit while waiting.
 *   ETIMEDOUT  all tokens are still pending, and stay; ready_offsets[0] is -1
 *   EINTR      the same, after dmtr_stop()
 *   EBUSY      called from a signal handler that has interrupted the library
 */
DMTR_EXPORT int dmtr_wait_some(dmtr_qresult_t *qrs_out, int *errs_out, int *ready_offsets, int *num_ready,
                               dmtr_qtoken_t *qts, int num_qts, uint64_t timeout_ns) DMTR_VERSIONED(dmtr_wait_some);

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

/*
 * Gives the memory of a push back before the push is complete: the library copies the bytes that have not been
 * sent yet, and from then on the program may use or free the segments. The token stays, and completes as it would have;
 * its result is the array as it was pushed, with pointers that are the program's business. Nothing happens if the push
 * has completed, or has been given to this call before. The copy counts as the library's memory and goes with the token;
 * dmtr_drop() and dmtr_close() do what they do for any push.
 * Blocks only for as long as another thread is inside the library.
 *
 *   ENOENT   no such token
 *   EINVAL   the token is not of a push
 *   ENOTSUP  the push is pending, and its queue a file, which the kernel may be writing to
 *   ENOMEM   no memory for the copy; the push goes on, and needs its memory as before
 *   EPERM    dmtr_init() has not succeeded
 *   EBUSY    called from a signal handler that has interrupted the library
 */
DMTR_EXPORT int dmtr_own(dmtr_qtoken_t qt);

/*
 * Gives the space of all that a file queue has before a position back. The position counts as that of dmtr_lseek() with SEEK_SET, and
 * the positions of what is kept stay the same. On storage spdk what lies before it is gone: pops and seeks there give EINVAL, and so
 * they do after a crash. Space comes back in whole extents. On posix the file becomes a hole there, of zeros, and keeps its size.
 * Operations that were started before are done first. Blocks while that takes, and the drive or the file system.
 *
 *   EPERM    dmtr_init() has not succeeded
 *   EINVAL   qd <= 0, or the position is negative, behind the end or, on spdk, before the oldest one kept
 *   ENOENT   qd is no queue
 *   ENOTSUP  the queue is no file, or its file system has no holes
 *   EBADF    the queue is not for writing
 *   ESPIPE   the file is a device without positions
 *   EIO, ENOSPC, ETIMEDOUT, EROFS  as the system, or the drive, says
 *   EBUSY    called from a signal handler that has interrupted the library
 */
DMTR_EXPORT int dmtr_trim(int qd, off_t position);

/*
 * Takes the name of a file, of the storage that dmtr_open() opens from, away. Queues that have it open may go on with it; when the
 * last one is closed, its space comes back. Blocks as long as the drive or the file system does.
 *
 *   EPERM    dmtr_init() has not succeeded
 *   EINVAL   path is NULL
 *   ENOENT   there is no such file
 *   ENAMETOOLONG, EISDIR, EACCES, EROFS, EIO, ENOSPC, ETIMEDOUT  as unlink(2) or the drive says
 *   EBUSY    called from a signal handler that has interrupted the library; or the file is a mount point
 */
DMTR_EXPORT int dmtr_unlink(const char *path);

/*
 * Makes a queue of a descriptor of the program's, so that waits see it beside other queues: a pipe, a unix socket, a
 * socket of the system, an eventfd, a timerfd, an epoll set; anything that epoll(7) can watch. It works on each libOS.
 *
 * A pop completes once the descriptor is readable, as poll(2) has it; an error and a hang-up count as readable. The
 * result has no data: sga_buf is NULL and sga_numsegs 0. The program then reads from the descriptor, as it always does;
 * the library never does. A pop of a descriptor that is readable, or still so, completes as soon as a wait or dmtr_poll()
 * looks. All pops that are pending complete together; one that is dropped leaves nothing behind. There are no pushes
 * (ENOTSUP). While the queue has no pending pop, the library does not look at the descriptor.
 * A wait that sleeps wakes at once; one that spins, and calls that do not wait, look at such descriptors less often than
 * at the network, some calls or microseconds later.
 *
 * The descriptor stays the program's: dmtr_close() does not close it. Close the queue first. If the program closes the
 * descriptor before, pops that are pending stay so until they are dropped or the queue is closed, or fail with EBADF if the
 * library has to watch another descriptor by the same number. Later pops give EBADF.
 *
 * Blocks only for as long as another thread is inside the library.
 *
 *   EINVAL   qd_out is NULL, fd < 0, or fd is one of the library's own
 *   EBADF    fd is not open
 *   ENOTSUP  fd is a file or folder, which is always readable; dmtr_open() reads files
 *   EEXIST   there is a queue for fd
 *   ELOOP    fd is an epoll set that is itself in too many others
 *   EMFILE   too many queues
 *   ENOSPC, ENOMEM  the system allows no more
 *   EPERM    dmtr_init() has not succeeded
 *   EBUSY    called from a signal handler that has interrupted the library
 */
DMTR_EXPORT int dmtr_watch(int *qd_out, int fd);

#ifdef __cplusplus
}
#endif

#endif
