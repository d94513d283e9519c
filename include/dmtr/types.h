/*
 * Types of the queue API. Sizes and offsets are part of the ABI and are asserted by
 * tests/abi/abi_layout.c.
 *
 * The two generations of the API differ here, see sys/api.h: in that of 2020 an array has only one
 * segment, results are smaller for that, and connecting is an operation with a token.
 */
#ifndef DMTR_TYPES_H
#define DMTR_TYPES_H

#include <dmtr/sys/api.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Most segments one scatter-gather array can have. */
#if DMTR_API == 2019
#define DMTR_SGARRAY_MAXSIZE 3
#else
#define DMTR_SGARRAY_MAXSIZE 1
#endif

/* First word of a message-mode header, in network byte order on the wire. */
#define DMTR_HEADER_MAGIC 0x10102010

/* The queue a token belongs to. */
#define QT2QD(qt) ((qt) >> 32)

/*
 * Names one operation under way: queue descriptor in the high 32 bits, the rest is private to the
 * library.
 */
typedef uint64_t dmtr_qtoken_t;

typedef struct dmtr_sgaseg {
    void *sgaseg_buf;
    uint32_t sgaseg_len; /* bytes */
} dmtr_sgaseg_t;

/*
 * A scatter-gather array: what a push sends and a pop returns.
 *
 * In the result of a pop from a network or file queue, sga_buf is one heap block that now belongs
 * to the program (release it with free() or dmtr_sgafree()) and every segment points into it. In a
 * push, sga_buf is ignored by network and file queues and handed through untouched by memory
 * queues.
 *
 * 2020: what a program of 2019 has sent in several segments comes in one, with the bytes of all. An
 * array that another part of the same process, built for 2019, has put together and pushed to a
 * memory queue cannot be given so: the pop fails with EMSGSIZE, and its result has that array's
 * sga_buf and no segments.
 */
typedef struct dmtr_sgarray {
    void *sga_buf;
    uint32_t sga_numsegs;
    dmtr_sgaseg_t sga_segs[DMTR_SGARRAY_MAXSIZE];
    struct sockaddr_in sga_addr; /* peer of a datagram; ignored by pushes on connected sockets */
} dmtr_sgarray_t;

typedef enum dmtr_opcode {
    DMTR_OPC_INVALID = 0,
    DMTR_OPC_PUSH = 1,
    DMTR_OPC_POP = 2,
    DMTR_OPC_ACCEPT = 3,
#if DMTR_API >= 2020
    DMTR_OPC_CONNECT = 4,
#endif
} dmtr_opcode_t;

typedef struct dmtr_accept_result {
    int qd;                  /* queue of the new connection */
    struct sockaddr_in addr; /* its peer */
#if DMTR_API == 2019
    socklen_t len; /* bytes used in addr */
#endif
} dmtr_accept_result_t;

/* What a completed operation reports. */
typedef struct dmtr_qresult {
    dmtr_opcode_t qr_opcode;
    int qr_qd; /* queue the operation was started on; for an accept, the listener */
    dmtr_qtoken_t qr_qt;
    union {
        dmtr_sgarray_t sga;        /* push: the array given; pop: the array received */
        dmtr_accept_result_t ares; /* accept */
    } qr_value;                    /* connect: nothing, all zero */
} dmtr_qresult_t;

/*
 * Message-mode header; on the wire every word is in network byte order. Each segment follows as a
 * 32-bit length and its bytes; h_bytes counts those length words and bytes, but not the header.
 */
typedef struct dmtr_header {
    uint32_t h_magic;
    uint32_t h_bytes;
    uint32_t h_sgasegs;
} dmtr_header_t;

#ifdef __cplusplus
}
#endif

#endif
