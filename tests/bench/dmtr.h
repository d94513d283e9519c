/* Helpers of the benchmark programs that use libdmtr. */
#ifndef BENCH_DMTR_H
#define BENCH_DMTR_H

#include "bench.h"

#include <dmtr/libos.h>
#include <dmtr/sga.h>
#include <dmtr/wait.h>

static inline void ok(int error, const char *what)
{
    if (error != 0) {
        errno = error;
        die(what);
    }
}

static inline struct sockaddr_in address(const char *ip, int port)
{
    struct sockaddr_in addr = loopback(port);
    if (inet_pton(AF_INET, ip, &addr.sin_addr) != 1)
        die(ip);
    return addr;
}

static inline dmtr_qtoken_t push(int qd, void *data, size_t size)
{
    dmtr_sgarray_t sga;
    dmtr_qtoken_t token;
    memset(&sga, 0, sizeof(sga));
    sga.sga_numsegs = 1;
    sga.sga_segs[0].sgaseg_buf = data;
    sga.sga_segs[0].sgaseg_len = (uint32_t)size;
    ok(dmtr_push(&token, qd, &sga), "dmtr_push");
    return token;
}

/* Waits for the next message; returns 0 if the connection has ended. */
static inline int pop(int qd, dmtr_sgarray_t *sga)
{
    dmtr_qtoken_t token;
    dmtr_qresult_t result;
    ok(dmtr_pop(&token, qd), "dmtr_pop");
    if (dmtr_wait(&result, token) != 0)
        return 0;
    *sga = result.qr_value.sga;
    return sga->sga_numsegs > 0;
}

static inline size_t length(const dmtr_sgarray_t *sga)
{
    size_t n = 0;
    uint32_t i;
    for (i = 0; i < sga->sga_numsegs; i++)
        n += sga->sga_segs[i].sgaseg_len;
    return n;
}

static inline int connected(const struct sockaddr_in *addr)
{
    int qd;
    ok(dmtr_socket(&qd, AF_INET, SOCK_STREAM, 0), "dmtr_socket");
    ok(dmtr_connect(qd, (const struct sockaddr *)addr, sizeof(*addr)), "dmtr_connect");
    return qd;
}

#endif
