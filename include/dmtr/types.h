/*
 * Types of the queue API. Sizes and offsets are part of the ABI and are asserted by
 * tests/abi/abi_layout.c.
 *
 * Two generations of the API exist. This header describes the one of 2019, which is the default.
 */
#ifndef DMTR_TYPES_H
#define DMTR_TYPES_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#ifndef DMTR_API
#define DMTR_API 2019
#endif
#if DMTR_API != 2019
#error "DMTR_API: this libdmtr has the API generation 2019"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Most segments one scatter-gather array can have. */
#define DMTR_SGARRAY_MAXSIZE 3

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
    DMTR_OPC_ACCEPT = 3
} dmtr_opcode_t;

typedef struct dmtr_accept_result {
    int qd;                  /* queue of the new connection */
    struct sockaddr_in addr; /* its peer */
    socklen_t len;           /* bytes used in addr */
} dmtr_accept_result_t;

/* What a completed operation reports. */
typedef struct dmtr_qresult {
    dmtr_opcode_t qr_opcode;
    int qr_qd; /* queue the operation was started on; for an accept, the listener */
    dmtr_qtoken_t qr_qt;
    union {
        dmtr_sgarray_t sga;        /* push: the array given; pop: the array received */
        dmtr_accept_result_t ares; /* accept */
    } qr_value;
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
