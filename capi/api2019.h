/*
 * The generation of 2019, which the library works in, as the wrappers of 2020 see it: under names
 * that do not clash with those of the public headers. The types have the layouts of dmtr/types.h.
 */
#ifndef DMTR_API2019_H
#define DMTR_API2019_H

#include <dmtr/types.h>

enum { MAX_SEGS_2019 = 3 };

struct array2019 {
    void *buf;
    uint32_t numsegs;
    dmtr_sgaseg_t segs[MAX_SEGS_2019];
    struct sockaddr_in addr;
};

struct accept2019 {
    int qd;
    struct sockaddr_in addr;
    socklen_t len;
};

struct result2019 {
    uint32_t opcode;
    int qd;
    dmtr_qtoken_t qt;
    union {
        struct array2019 sga;
        struct accept2019 ares;
    } value;
};

int push2019(dmtr_qtoken_t *qt_out, int qd, const struct array2019 *sga) __asm__("dmtr_push");
int poll2019(struct result2019 *qr_out, dmtr_qtoken_t qt) __asm__("dmtr_poll");
int wait2019(struct result2019 *qr_out, dmtr_qtoken_t qt) __asm__("dmtr_wait");
int wait_timeout2019(struct result2019 *qr_out, dmtr_qtoken_t qt, uint64_t timeout_ns) __asm__("dmtr_wait_timeout");
int wait_any2019(struct result2019 *qr_out, int *ready_offset, dmtr_qtoken_t *qts, int num_qts) __asm__("dmtr_wait_any");
int wait_any_timeout2019(struct result2019 *qr_out, int *ready_offset, dmtr_qtoken_t *qts, int num_qts,
                         uint64_t timeout_ns) __asm__("dmtr_wait_any_timeout");
int wait_some2019(struct result2019 *qrs_out, int *errs_out, int *ready_offsets, int *num_ready, dmtr_qtoken_t *qts, int num_qts,
                  uint64_t timeout_ns) __asm__("dmtr_wait_some");
int wait_all2019(struct result2019 *qr_out, dmtr_qtoken_t *qts, int num_qts) __asm__("dmtr_wait_all");

/* front.c: dmtr_connect() without the wait. */
int dmtr_start_connect(dmtr_qtoken_t *qt_out, int qd, const struct sockaddr *saddr, socklen_t size);

/*
 * join.c: moves the segments of a received array together, into the first. EMSGSIZE if the array is
 * not one that was received; it is left as it was.
 */
int dmtr_join(struct array2019 *sga);

/*
 * Does so in the record of a completed token, so that each poll finds the same, and copies the
 * result to *qr. ENOENT if the token is gone, else as dmtr_join().
 */
int dmtr_join_token(struct result2019 *qr, dmtr_qtoken_t qt);

#endif
