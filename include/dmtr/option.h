/*
 * An extension: options of one socket. The configuration has the defaults of the library's own TCP/IP
 * stack (docs/configuration.md), and the system those of posix.
 */
#ifndef DMTR_OPTION_H
#define DMTR_OPTION_H

#include <dmtr/sys/gcc.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum dmtr_option {
    /* 1: small segments leave at once, the default. 0: they wait while data is unacknowledged (Nagle; RFC 9293, 3.7.4). */
    DMTR_OPT_NODELAY = 1,
    /* Seconds of silence after which the peer is asked for a sign of life, up to 32767; 0: never (RFC 9293, 3.8.4). */
    DMTR_OPT_KEEPALIVE_S,
    /* Seconds between two such questions, 1 to 32767. */
    DMTR_OPT_KEEPALIVE_INTERVAL_S,
    /* How many without an answer end the connection (ETIMEDOUT), 1 to 127. */
    DMTR_OPT_KEEPALIVE_PROBES,
    /*
     * Milliseconds, up to 86400000, until a connection whose data nobody acknowledges ends (ETIMEDOUT): R2 of
     * RFC 9293, 3.8.3. 0: the default, which on posix the system computes, so that 0 is read again.
     */
    DMTR_OPT_USER_TIMEOUT_MS,
    /* Time to live of packets sent, 1 to 255; of UDP sockets, too. */
    DMTR_OPT_TTL,
    /* Their Differentiated Services codepoint (RFC 2474), 0 to 63; of UDP sockets, too. */
    DMTR_OPT_DSCP,
    /*
     * How arrays lie on the byte stream of a TCP socket: enum dmtr_framing. To be set before the socket is connected, or on a
     * listener, whose connections accepted from then on have it. By default what the configuration says for the port.
     */
    DMTR_OPT_FRAMING
};

/* docs/configuration.md, `framing` */
enum dmtr_framing { DMTR_FRAMING_AUTO, DMTR_FRAMING_MESSAGE, DMTR_FRAMING_STREAM };

/*
 * Sets an option (enum dmtr_option) of a socket, at any time. Connections inherit those that their
 * listener has when they are established. Blocks only for as long as another thread is inside the library.
 *
 *   EINVAL       qd <= 0, or the value is out of range
 *   ENOENT       no such queue
 *   ENOPROTOOPT  no such option
 *   ENOTSUP      the queue is no socket, or a UDP socket, which does not have this option
 *   EISCONN      the socket is connected, or about to be, and the option has to be set before
 *   EPERM        dmtr_init() has not succeeded
 *   EBUSY        called from a signal handler that has interrupted the library
 */
DMTR_EXPORT int dmtr_set_option(int qd, int option, uint32_t value);

/*
 * Tells what an option of a socket is. Blocks as dmtr_set_option() does.
 *
 *   EINVAL  qd <= 0, or value_out is NULL
 *   as dmtr_set_option()
 */
DMTR_EXPORT int dmtr_get_option(int qd, int option, uint32_t *value_out);

#ifdef __cplusplus
}
#endif

#endif
