/*
 * The queue API. The same calls drive memory queues, sockets and files, whichever libOS stands
 * behind them.
 *
 * Every call returns 0 or a positive errno value. Out-pointers come first. Errors common to most
 * calls:
 *   EPERM   dmtr_init() has not succeeded yet
 *   EINVAL  a queue descriptor that is zero or negative, or a NULL pointer
 *   ENOENT  a queue descriptor or token that is unknown, closed or dropped
 *   EIO     the library has found an error in itself, and told so on stderr; it is of no use any more
 *   EBUSY   a signal handler calls that has interrupted its thread inside the library; the call
 *           has no effect
 * Calls may be made from several threads, and from signal handlers. A child process may use the
 * library if it was forked before dmtr_init() and calls that itself; one that is forked later gets
 * EPERM from every call.
 *
 * push, pop, accept and (2020) connect start an operation and return a token at once. The operation
 * goes on whenever any thread is in dmtr_wait(), dmtr_wait_any(), dmtr_wait_all() or dmtr_poll(),
 * whatever token that thread asked for. Operations of one direction on one queue complete in the
 * order in which they were started. A token lives until a wait reports it or dmtr_drop() gives it
 * up.
 */
#ifndef DMTR_LIBOS_H
#define DMTR_LIBOS_H

#include <dmtr/sys/gcc.h>
#include <dmtr/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Starts the library. Call it once, before any other call of this header and of wait.h.
 *
 * Looks at the options `--config-path FILE` and `--libos NAME` in argv (also as `--option=value`)
 * and passes over all others, so that a program may hand on its own arguments; argc 0 with argv
 * NULL is allowed. DMTR_CONFIG and DMTR_LIBOS in the environment win over the options, and options
 * over the file; with no file named, ./config.yaml is read if it exists. May block while a device
 * starts. On failure one line on stderr says why, and the call may be tried again.
 *
 *   EPERM   the library is already started
 *   EINVAL  an option without a value, an unknown libOS, a file that is not YAML, or a key or value
 *           in it that is not known
 *   ENOENT  the file named does not exist (other errors of open(2) likewise)
 *   ENODEV  the libOS is not built in, or its device is missing
 *   ENOMEM, EMFILE, ENFILE  the system gave no memory or descriptors
 */
DMTR_EXPORT int dmtr_init(int argc, char *argv[]);

/*
 * Makes a memory queue: each pushed array is popped once, verbatim, in order. Never blocks.
 *
 *   EPERM, EINVAL  see above
 *   EMFILE  the limit on open queues is reached
 */
DMTR_EXPORT int dmtr_queue(int *qd_out);

/*
 * Makes a socket: domain AF_INET, type SOCK_STREAM (TCP) or SOCK_DGRAM (UDP), protocol 0 or the one
 * that fits. SOCK_NONBLOCK and SOCK_CLOEXEC in type are accepted and change nothing. Never blocks.
 *
 *   EPERM, EINVAL     see above
 *   EAFNOSUPPORT      domain is not AF_INET
 *   ESOCKTNOSUPPORT   type is neither stream nor datagram
 *   EPROTONOSUPPORT   protocol does not fit the type
 *   EMFILE, ENFILE, ENOBUFS, ENOMEM  no descriptor or memory is left
 */
DMTR_EXPORT int dmtr_socket(int *qd_out, int domain, int type, int protocol);

/*
 * Reports the local address of a socket. *size holds the room at saddr and becomes the size of the
 * address, which is cut off to fit, as getsockname(2) does. Never blocks.
 *
 *   EPERM, EINVAL, ENOENT  see above
 *   ENOTSUP  not a socket
 */
DMTR_EXPORT int dmtr_getsockname(int qd, struct sockaddr *saddr, socklen_t *size);

/*
 * Makes a bound TCP socket accept connections; backlog as in listen(2). Never blocks.
 *
 *   EPERM, EINVAL, ENOENT  see above; EINVAL also if the socket is not bound, or is connected
 *   ENOTSUP     not a TCP socket
 *   EADDRINUSE  another socket listens on the address
 */
DMTR_EXPORT int dmtr_listen(int qd, int backlog);

/*
 * Gives a socket its local address; port 0 picks a free one. Never blocks.
 *
 *   EPERM, EINVAL, ENOENT  see above; EINVAL also for a size below that of sockaddr_in, and if
 *            already bound
 *   ENOTSUP        not a socket
 *   EAFNOSUPPORT   the address is not AF_INET
 *   EADDRINUSE, EADDRNOTAVAIL, EACCES  as bind(2)
 */
DMTR_EXPORT int dmtr_bind(int qd, const struct sockaddr *saddr, socklen_t size);

/*
 * Starts to accept one connection. The result has qr_qd = the listener and ares = new queue and
 * peer. Never blocks. No new queue exists before the token has completed.
 *
 *   EPERM, EINVAL, ENOENT  see above; EINVAL also if the socket does not listen
 *   ENOTSUP  not a TCP socket
 *   ENOBUFS  the limit on tokens is reached
 * From the token: EMFILE, ENFILE, ENOMEM (the connection stays in the backlog: accept again),
 * ECANCELED.
 */
DMTR_EXPORT int dmtr_accept(dmtr_qtoken_t *qt_out, int qd);

/*
 * Connects a socket; on a UDP socket it sets the peer. After a failure the socket may be tried
 * again.
 *
 * In the generation of 2019 the call returns when that is done, so it blocks as connect(2) does;
 * other queues make progress meanwhile. In that of 2020 it starts an operation and never blocks;
 * the result has opcode DMTR_OPC_CONNECT and no value.
 *
 *   EPERM, EINVAL, ENOENT  see above; EPERM also if already connected, EINVAL also if the socket
 *            listens or size is too small
 *   ENOTSUP        not a socket
 *   EAFNOSUPPORT   the address is not AF_INET
 *   ENOBUFS        the limit on tokens is reached
 * 2020: from the token.
 *   ECONNREFUSED, ECONNRESET, ETIMEDOUT, ENETUNREACH, EHOSTUNREACH, EADDRNOTAVAIL, EACCES  as
 *            connect(2)
 *   ECANCELED      the socket was closed meanwhile
 */
#if DMTR_API == 2019
DMTR_EXPORT int dmtr_connect(int qd, const struct sockaddr *saddr, socklen_t size);
#else
DMTR_EXPORT int dmtr_connect(dmtr_qtoken_t *qt_out, int qd, const struct sockaddr *saddr, socklen_t size)
    DMTR_VERSIONED(dmtr_connect);
#endif

/*
 * Opens a file as a queue; flags as open(2). The queue has one position, which starts at 0 and
 * which pops, pushes and dmtr_lseek() move; with O_APPEND pushes go to the end. May block as
 * open(2) does. Files that dmtr_open() creates get mode 0666 less the umask. Pipes, sockets and
 * directories cannot be opened.
 *
 *   EPERM, EINVAL  see above
 *   ENOTSUP  the file is a pipe, socket or directory
 *   EMFILE   the limit on open queues or files is reached
 *   any errno of open(2)
 */
DMTR_EXPORT int dmtr_open(int *qd_out, const char *pathname, int flags);

/* dmtr_open() with the mode for a file that is created. */
DMTR_EXPORT int dmtr_open2(int *qd_out, const char *pathname, int flags, mode_t mode);

/* dmtr_open2() with O_CREAT | O_WRONLY | O_TRUNC. */
DMTR_EXPORT int dmtr_creat(int *qd_out, const char *pathname, mode_t mode);

/*
 * Closes a queue. Its pending tokens complete with ECANCELED; completed ones keep their results.
 * Both stay until waited for or dropped, except that the library may forget the oldest once
 * thousands pile up. Never blocks, but for a file operation under way, whose end it awaits; one
 * that cannot be stopped reports its result instead of ECANCELED.
 *
 *   EPERM, EINVAL, ENOENT  see above
 */
DMTR_EXPORT int dmtr_close(int qd);

/*
 * Sets *flag_out to 1 if qd is an open queue, else to 0. Any int may be asked for; a file
 * descriptor of the process is never a queue descriptor. Never blocks.
 *
 *   EPERM   dmtr_init() has not succeeded (*flag_out is set to 0)
 *   EINVAL  flag_out is NULL
 */
DMTR_EXPORT int dmtr_is_qd_valid(int *flag_out, int qd);

/*
 * Starts to send an array: on a TCP socket one message (or its bytes, in stream mode), on a UDP
 * socket one datagram, to sga_addr unless connected; on a file its bytes at the position; on a
 * memory queue the array itself. Never blocks.
 *
 * The segments are borrowed until the token completes or is dropped; the array itself only during
 * the call. The result echoes it.
 *
 *   EPERM, EINVAL, ENOENT  see above; EINVAL also for 0 or more than DMTR_SGARRAY_MAXSIZE segments,
 *            a segment that is NULL and not empty, a socket that is not connected, or (UDP) has no
 *            address to send to
 *   ENOTSUP  the socket listens
 *   EBADF    the file is not open for writing
 *   EMSGSIZE the array is over the limit on messages
 *   ENOBUFS  the limit on tokens or on a memory queue's length is reached
 * From the token: ENOMSG (network, no bytes in it), EPIPE or ECONNRESET (peer gone), ECANCELED,
 * EMSGSIZE (datagram too large for the network), ENOSPC and other errnos of write(2) for files,
 * other errnos of send(2) for sockets.
 */
DMTR_EXPORT int dmtr_push(dmtr_qtoken_t *qt_out, int qd, const dmtr_sgarray_t *sga) DMTR_VERSIONED(dmtr_push);

/*
 * Starts to receive one array. In message mode it is what the peer pushed in one call; in stream
 * mode, and from files, it is the bytes at hand, in one segment, at most 16 KiB (or the limit
 * configured). At the end of a file it is one segment of length 0. Never blocks. The heap block in
 * sga_buf belongs to the program.
 *
 *   EPERM, EINVAL, ENOENT  see above; EINVAL also for a TCP socket that is not connected, a UDP
 *            socket neither bound nor connected
 *   ENOTSUP  the socket listens
 *   EBADF    the file is not open for reading
 *   ENOBUFS  the limit on tokens is reached
 * From the token: ECONNABORTED (peer closed), ECONNRESET (peer reset), EILSEQ (bad magic, or counts
 * and lengths that do not add up) and EMSGSIZE (over the limit), after which a stream cannot be
 * read any more while datagram sockets go on with the next datagram, ECONNREFUSED (UDP), ECANCELED,
 * errnos of read(2) for files.
 */
DMTR_EXPORT int dmtr_pop(dmtr_qtoken_t *qt_out, int qd);

/*
 * dmtr_pop() with a limit of count bytes (instead of the configured one) for stream mode and files.
 * Message mode, datagrams and memory queues pop one whole array whatever count is.
 *
 *   as dmtr_pop(); EINVAL also for count 0; EMSGSIZE if count is over the limit on messages
 */
DMTR_EXPORT int dmtr_pop2(dmtr_qtoken_t *qt_out, int qd, size_t count);

/*
 * Moves the position of a file, as lseek(2), for operations started afterwards. Awaits those
 * started before.
 *
 *   EPERM, EINVAL, ENOENT  see above; EINVAL also for an unknown whence or a position below 0
 *   ENOTSUP  not a file
 *   ESPIPE   the file has no positions
 */
DMTR_EXPORT int dmtr_lseek(int qd, off_t offset, int whence);

/*
 * Asks for the result of a token without waiting for it, and lets pending operations make progress.
 * A completed token stays and can be asked again, until dropped; what the result of a pop owns is
 * to be released once. qr_out may be NULL.
 *
 *   EPERM, ENOENT  see above
 *   EAGAIN  still pending
 *   the errno of the operation, with qr_opcode, qr_qd and qr_qt set
 */
DMTR_EXPORT int dmtr_poll(dmtr_qresult_t *qr_out, dmtr_qtoken_t qt) DMTR_VERSIONED(dmtr_poll);

/*
 * Gives a token up. A pending operation is cancelled: a push not begun is not sent (one partly sent
 * is copied and sent on), a pop leaves its data to the next pop, and borrowed memory is free again
 * on return. A result that no call has reported goes back to its queue likewise, except to a file,
 * whose position stays where the pop has moved it. Never blocks, but for a file operation under
 * way.
 *
 *   EPERM, ENOENT  see above
 */
DMTR_EXPORT int dmtr_drop(dmtr_qtoken_t qt);

#ifdef __cplusplus
}
#endif

#endif
