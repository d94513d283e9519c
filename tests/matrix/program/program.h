/*
 * What the programs of the matrix share, in both languages and generations: checks, and calls that are linked or, with USE_DLOPEN,
 * looked up. A program writes CALL(dmtr_x)(...).
 */
#ifndef PROGRAM_H
#define PROGRAM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <dmtr/cast.h>
#include <dmtr/ext.h>
#include <dmtr/latency.h>
#include <dmtr/libos.h>
#include <dmtr/libos/mem.h>
#include <dmtr/sga.h>
#include <dmtr/wait.h>

#define CHECK_EQ(got, want) check_eq((long long)(got), (long long)(want), #got, __FILE__, __LINE__)
#define CHECK(cond) CHECK_EQ(!(cond), 0)

static void check_eq(long long got, long long want, const char *expr, const char *file, int line)
{
    if (got == want)
        return;
    fprintf(stderr, "%s:%d: %s is %lld, expected %lld (generation %d)\n", file, line, expr, got, want, DMTR_API);
    exit(1);
}

#ifndef USE_DLOPEN

#define CALL(name) name
static inline void load(void) {}

#else

#if DMTR_API == 2019
#define GENERATION_CALLS(X) X(dmtr_sztoint)
#else
#define GENERATION_CALLS(X) X(dmtr_sztoi)
#endif
#define CALLS(X)                                                                                                                \
    X(dmtr_init) X(dmtr_queue) X(dmtr_socket) X(dmtr_getsockname) X(dmtr_listen) X(dmtr_bind) X(dmtr_accept) X(dmtr_connect)    \
    X(dmtr_close) X(dmtr_is_qd_valid) X(dmtr_push) X(dmtr_pop) X(dmtr_poll) X(dmtr_drop) X(dmtr_wait) X(dmtr_wait_any)          \
    X(dmtr_wait_all) X(dmtr_wait_timeout) X(dmtr_wait_any_timeout) X(dmtr_wait_some) X(dmtr_stop) X(dmtr_resume) X(dmtr_sgalen) X(dmtr_sgafree)   \
    X(dmtr_malloc) X(dmtr_new_latency) X(dmtr_record_latency) X(dmtr_dump_latency) X(dmtr_delete_latency) X(dmtr_now_ns)        \
    X(dmtr_sztou16) GENERATION_CALLS(X)

#define POINTER(name) __typeof__(&name) to_##name;
static struct {
    CALLS(POINTER)
} calls;
#define CALL(name) (*calls.to_##name)

/* As programs of either generation should: only those of 2020 must name a version. */
static void *look_up(void *library, const char *name)
{
    void *function = DMTR_API == 2020 ? dlvsym(library, name, "DMTR_2020") : NULL;
    if (function == NULL)
        function = dlsym(library, name);
    if (function == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    return function;
}

static void load(void)
{
    void *library = dlopen(getenv("MATRIX_LIBRARY"), RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
#define LOAD(name) *(void **)&calls.to_##name = look_up(library, #name);
    CALLS(LOAD)
}

#endif

/* A result with bytes around it that show whether the library thinks results to be larger. */
struct guarded {
    dmtr_qresult_t qr;
    unsigned char guard[sizeof(dmtr_qresult_t)];
};

enum { FRESH = 0xa5 };

static inline void refresh(struct guarded *g)
{
    memset((void *)g, FRESH, sizeof *g);
}

static inline int all_fresh(const void *p, size_t n)
{
    const unsigned char *bytes = (const unsigned char *)p;
    for (size_t i = 0; i < n; i++)
        if (bytes[i] != FRESH)
            return 0;
    return 1;
}

/* A result for this operation is there, and nothing beyond it. */
static inline void check_result(const struct guarded *g, dmtr_opcode_t opcode, dmtr_qtoken_t qt)
{
    CHECK_EQ(g->qr.qr_opcode, opcode);
    CHECK_EQ(g->qr.qr_qd, QT2QD(qt));
    CHECK_EQ(g->qr.qr_qt, qt);
    CHECK(all_fresh(g->guard, sizeof g->guard));
}

static inline struct sockaddr_in loopback(uint16_t port)
{
    struct sockaddr_in addr;
    memset(&addr, 0, sizeof addr);
    addr.sin_family = AF_INET;
    addr.sin_port = htons(port);
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return addr;
}

/* A socket bound to a free port of loopback, which *addr becomes. */
static inline int bound_socket(int type, struct sockaddr_in *addr)
{
    int qd = 0;
    socklen_t size = sizeof *addr;
    *addr = loopback(0);
    CHECK_EQ(CALL(dmtr_socket)(&qd, AF_INET, type, 0), 0);
    CHECK_EQ(CALL(dmtr_bind)(qd, (struct sockaddr *)addr, sizeof *addr), 0);
    CHECK_EQ(CALL(dmtr_getsockname)(qd, (struct sockaddr *)addr, &size), 0);
    return qd;
}

/* Connects in the way of the generation, and returns what came of it. */
static inline int connect_to(int qd, const struct sockaddr_in *addr)
{
#if DMTR_API == 2019
    return CALL(dmtr_connect)(qd, (const struct sockaddr *)addr, sizeof *addr);
#else
    static const dmtr_qresult_t none = {DMTR_OPC_INVALID, 0, 0, {{NULL, 0, {{NULL, 0}}, {0, 0, {0}, {0}}}}};
    dmtr_qtoken_t qt = 0;
    struct guarded g;
    int rc = CALL(dmtr_connect)(&qt, qd, (const struct sockaddr *)addr, sizeof *addr);
    if (rc != 0)
        return rc;
    refresh(&g);
    rc = CALL(dmtr_wait)(&g.qr, qt);
    check_result(&g, DMTR_OPC_CONNECT, qt);
    CHECK(memcmp(&g.qr.qr_value, &none.qr_value, sizeof none.qr_value) == 0);
    return rc;
#endif
}

/* Two connected queues; the listener is gone again. */
static inline void tcp_pair(int *client, int *server)
{
    struct sockaddr_in addr, name;
    socklen_t size = sizeof name;
    struct guarded g;
    dmtr_qtoken_t qt = 0;
    int listener = bound_socket(SOCK_STREAM, &addr);
    CHECK_EQ(CALL(dmtr_listen)(listener, 8), 0);
    CHECK_EQ(CALL(dmtr_accept)(&qt, listener), 0);
    CHECK_EQ(CALL(dmtr_socket)(client, AF_INET, SOCK_STREAM, 0), 0);
    CHECK_EQ(connect_to(*client, &addr), 0);
    refresh(&g);
    CHECK_EQ(CALL(dmtr_wait)(&g.qr, qt), 0);
    check_result(&g, DMTR_OPC_ACCEPT, qt);
    *server = g.qr.qr_value.ares.qd;
    CHECK_EQ(CALL(dmtr_getsockname)(*client, (struct sockaddr *)&name, &size), 0);
    CHECK_EQ(g.qr.qr_value.ares.addr.sin_port, name.sin_port);
#if DMTR_API == 2019
    CHECK_EQ(g.qr.qr_value.ares.len, sizeof name);
#endif
    CHECK_EQ(CALL(dmtr_close)(listener), 0);
}

/* An array of len bytes, in as many segments as the generation allows; the last ones may be empty. */
static inline dmtr_sgarray_t array_of(char *bytes, uint32_t len)
{
    dmtr_sgarray_t sga;
    uint32_t part = len / DMTR_SGARRAY_MAXSIZE + (len % DMTR_SGARRAY_MAXSIZE != 0);
    memset(&sga, 0, sizeof sga);
    sga.sga_numsegs = DMTR_SGARRAY_MAXSIZE;
    for (int i = 0; i < DMTR_SGARRAY_MAXSIZE; i++) {
        sga.sga_segs[i].sgaseg_buf = bytes;
        sga.sga_segs[i].sgaseg_len = part < len ? part : len;
        bytes += sga.sga_segs[i].sgaseg_len;
        len -= sga.sga_segs[i].sgaseg_len;
    }
    return sga;
}

/* Whether an array holds just these bytes. */
static inline int array_holds(const dmtr_sgarray_t *sga, const char *bytes, size_t len)
{
    size_t total = 0, at = 0;
    if (CALL(dmtr_sgalen)(&total, sga) != 0 || total != len)
        return 0;
    for (uint32_t i = 0; i < sga->sga_numsegs; i++) {
        if (memcmp(sga->sga_segs[i].sgaseg_buf, bytes + at, sga->sga_segs[i].sgaseg_len) != 0)
            return 0;
        at += sga->sga_segs[i].sgaseg_len;
    }
    return 1;
}

#endif
