/*
 * An extension: what the library has counted, and how connections fare. None of these calls belongs into
 * the way of data, and what they tell is of the moment.
 */
#ifndef DMTR_STATS_H
#define DMTR_STATS_H

#include <dmtr/sys/gcc.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DMTR_COUNTER_NAME_SIZE 56

/* One counter, which began at 0 with dmtr_init(). docs/counters.md lists the names. */
typedef struct dmtr_counter {
    char name[DMTR_COUNTER_NAME_SIZE]; /* ends with a NUL */
    uint64_t value;
} dmtr_counter_t;

/*
 * Copies the counters, as many as there is room for, to out, which may be NULL if room is 0, and sets
 * *count_out to the number there are. Other versions of the library, and other libOSes, have others; the
 * order means nothing. Blocks only for as long as another thread is inside the library.
 *
 *   EINVAL  room is negative, out is NULL though room is not 0, or count_out is NULL
 *   EPERM   dmtr_init() has not succeeded
 *   EBUSY   called from a signal handler that has interrupted the library
 */
DMTR_EXPORT int dmtr_counters(dmtr_counter_t *out, int room, int *count_out);

/*
 * Writes a line NAME VALUE for each counter that is not 0 to f, sorted by name. Blocks as stdio does.
 *
 *   EINVAL  f is NULL
 *   ENOMEM  no memory
 *   EIO     f could not be written
 *   as dmtr_counters()
 */
DMTR_EXPORT int dmtr_dump_counters(FILE *f);

/* The states of RFC 9293, numbered as Linux does. */
enum dmtr_tcp_state {
    DMTR_TCP_ESTABLISHED = 1,
    DMTR_TCP_SYN_SENT,
    DMTR_TCP_SYN_RECEIVED,
    DMTR_TCP_FIN_WAIT_1,
    DMTR_TCP_FIN_WAIT_2,
    DMTR_TCP_TIME_WAIT,
    DMTR_TCP_CLOSED,
    DMTR_TCP_CLOSE_WAIT,
    DMTR_TCP_LAST_ACK,
    DMTR_TCP_LISTEN,
    DMTR_TCP_CLOSING
};

/* Bits of dmtr_tcp_info_t.flags. */
enum dmtr_tcp_flags {
    DMTR_TCP_TIMESTAMPS = 1, /* both ends use timestamps, RFC 7323 */
    DMTR_TCP_SACK = 2,       /* and selective acknowledgements, RFC 2018 */
    DMTR_TCP_WINDOW_SCALE = 4,
    DMTR_TCP_RECOVERING = 8 /* lost segments are being sent again */
};

/* What is known of a connection. Sizes are in bytes, times in nanoseconds; 0 is also what is not known. */
typedef struct dmtr_tcp_info {
    uint32_t state; /* enum dmtr_tcp_state */
    uint32_t flags; /* enum dmtr_tcp_flags */
    uint32_t mss;   /* largest segment sent */
    uint32_t path_mtu;
    uint64_t rtt_ns; /* smoothed round-trip time, and its variation: RFC 6298 */
    uint64_t rtt_var_ns;
    uint64_t min_rtt_ns;
    uint64_t rto_ns; /* retransmission timeout */
    uint64_t congestion_window;
    uint64_t slow_start_threshold;
    uint64_t send_window; /* the peer's */
    uint64_t receive_window;
    uint64_t in_flight; /* sent and not acknowledged */
    uint64_t unsent;    /* taken from pushes and not sent yet */
    uint64_t unread;    /* received, and no pop has asked for it */
    uint64_t bytes_sent;
    uint64_t bytes_acked;
    uint64_t bytes_received;
    uint64_t segments_sent;
    uint64_t segments_received;
    uint64_t retransmits; /* segments */
    uint64_t duplicate_acks;
    uint64_t out_of_order; /* segments */
} dmtr_tcp_info_t;

/*
 * Tells how a TCP connection fares. size is sizeof *info_out in the program; it tells the library which
 * version of the structure to fill in.
 *
 *   EINVAL   qd <= 0, info_out is NULL, size is 0, or the socket is not connected
 *   ENOENT   no such queue
 *   ENOTSUP  the queue is no TCP socket
 *   EPERM, EBUSY  as dmtr_counters()
 */
DMTR_EXPORT int dmtr_tcp_info(int qd, dmtr_tcp_info_t *info_out, size_t size);

#ifdef __cplusplus
}
#endif

#endif
