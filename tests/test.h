/*
 * What the C and C++ test programs share. A program is one test: it exits with 0 (passed), 77 (skipped) or anything else (failed). CTest sets
 * DMTR_LIBOS, so that the same program runs once per libOS.
 */
#ifndef DMTR_TESTS_TEST_H
#define DMTR_TESTS_TEST_H

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <dmtr/libos.h>
#include <dmtr/sga.h>
#include <dmtr/wait.h>

#define TEST_SECONDS 60 /* after which a program that hangs is ended */

/* Ends the test unless cond holds. */
#define CHECK(cond)                                                                              \
    do {                                                                                         \
        if (!(cond)) {                                                                           \
            fprintf(stderr, "%s:%d: CHECK(%s) does not hold\n", __FILE__, __LINE__, #cond);      \
            exit(1);                                                                             \
        }                                                                                        \
    } while (0)

/* Ends the test unless the integer got is want. */
#define CHECK_EQ(got, want) test_check_eq((long long)(got), (long long)(want), #got, __FILE__, __LINE__)

/* Ends the test unless call returns the errno value want (0 for success). */
#define CHECK_ERR(call, want) test_check_err((call), (want), #call, __FILE__, __LINE__)

static inline void test_check_eq(long long got, long long want, const char *expr, const char *file, int line)
{
    if (got == want)
        return;
    fprintf(stderr, "%s:%d: %s is %lld, expected %lld\n", file, line, expr, got, want);
    exit(1);
}

static inline const char *test_errno_name(int err)
{
    const char *name = strerrorname_np(err);
    return name != NULL ? name : "?";
}

static inline void test_check_err(int got, int want, const char *expr, const char *file, int line)
{
    if (got == want)
        return;
    fprintf(stderr, "%s:%d: %s returned %d (%s), expected %d (%s)\n", file, line, expr, got, test_errno_name(got), want,
            test_errno_name(want));
    exit(1);
}

/* A number of repetitions, times DMTR_TEST_SCALE if that is set. */
static inline uint32_t test_scaled(uint32_t n)
{
    const char *scale = getenv("DMTR_TEST_SCALE");
    double scaled = scale != NULL ? atof(scale) * n : n;
    return scaled < 1 ? 1 : (uint32_t)scaled;
}

/* After how many seconds the watchdog ends the test: TEST_SECONDS, or DMTR_TEST_SECONDS if that is set. */
static inline unsigned test_seconds(void)
{
    const char *text = getenv("DMTR_TEST_SECONDS");
    int n = text != NULL ? atoi(text) : 0;
    return n > 0 ? (unsigned)n : TEST_SECONDS;
}

/* Ends the program as skipped. */
static inline void skip(const char *reason)
{
    printf("skipped: %s\n", reason);
    exit(77);
}

static inline void test_timed_out(int sig)
{
    static const char text[] = "the test took too long: ended by the watchdog\n";
    (void)sig;
    if (write(2, text, sizeof text - 1) < 0)
        _exit(2);
    kill(0, SIGKILL); /* with its children */
    _exit(1);
}

/* Starts the watchdog, and a process group of the test's own. */
static inline void test_watchdog(void)
{
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = test_timed_out;
    CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
    setpgid(0, 0);
    alarm(test_seconds());
}

/* Starts the watchdog and the library, on the libOS that CTest chose. */
static inline void test_init(void)
{
    test_watchdog();
    CHECK_ERR(dmtr_init(0, NULL), 0);
}

static inline struct sockaddr_in test_address(uint32_t ip, uint16_t port)
{
    struct sockaddr_in addr;
    memset(&addr, 0, sizeof addr);
    addr.sin_family = AF_INET;
    addr.sin_port = htons(port);
    addr.sin_addr.s_addr = htonl(ip);
    return addr;
}

/* The address of a port (host byte order) on loopback. Not every libOS reaches plain sockets by it. */
static inline struct sockaddr_in test_loopback(uint16_t port)
{
    return test_address(INADDR_LOOPBACK, port);
}

static inline int test_on(const char *libos)
{
    const char *name = getenv("DMTR_LIBOS");
    return name != NULL && strcmp(name, libos) == 0;
}

/* Whether the library brings its own TCP/IP stack, and the kernel's is at the other end of a tap. */
static inline int test_own_stack(void)
{
    return test_on("raw") || test_on("dpdk");
}

/* Whether it reaches peers with this library only. */
static inline int test_own_kind(void)
{
    return test_on("rdma");
}

/*
 * The address at which plain sockets reach the library, and the one at which it reaches them, once it has started. On raw and dpdk the
 * library has the second address of a small network and the kernel the first; a queue learns its own by a connect to somewhere.
 */
static inline uint32_t test_own_ip(void)
{
    static uint32_t ip;
    struct sockaddr_in addr = test_address(0xc6336401, 9); /* 198.51.100.1, which is nobody's */
    socklen_t size = sizeof addr;
    int qd = 0;
    if ((!test_own_stack() && !test_own_kind()) || ip != 0)
        return ip != 0 ? ip : INADDR_LOOPBACK;
    if (dmtr_socket(&qd, AF_INET, SOCK_DGRAM, 0) != 0)
        return INADDR_LOOPBACK;
#if DMTR_API == 2019
    CHECK_ERR(dmtr_connect(qd, (struct sockaddr *)&addr, sizeof addr), 0);
#else
    dmtr_qtoken_t qt = 0;
    CHECK_ERR(dmtr_connect(&qt, qd, (struct sockaddr *)&addr, sizeof addr), 0);
    CHECK_ERR(dmtr_wait(NULL, qt), 0);
#endif
    CHECK_ERR(dmtr_getsockname(qd, (struct sockaddr *)&addr, &size), 0);
    CHECK_ERR(dmtr_close(qd), 0);
    ip = ntohl(addr.sin_addr.s_addr);
    return ip;
}

static inline struct sockaddr_in test_own(uint16_t port)
{
    return test_address(test_own_ip(), port);
}

static inline struct sockaddr_in test_plain(uint16_t port)
{
    if (test_own_kind())
        skip("no plain sockets on this libOS");
    uint32_t ip = test_own_ip();
    return test_address(ip == INADDR_LOOPBACK ? ip : ip - 1, port);
}

/* Makes a queue that listens on a free port; *addr becomes its address. */
static inline int test_listen(struct sockaddr_in *addr)
{
    int qd = 0;
    socklen_t size = sizeof *addr;
    *addr = test_own(0);
    CHECK_ERR(dmtr_socket(&qd, AF_INET, SOCK_STREAM, 0), 0);
    CHECK_ERR(dmtr_bind(qd, (struct sockaddr *)addr, sizeof *addr), 0);
    CHECK_ERR(dmtr_listen(qd, 128), 0);
    CHECK_ERR(dmtr_getsockname(qd, (struct sockaddr *)addr, &size), 0);
    CHECK(addr->sin_port != 0);
    return qd;
}

/* Connects a queue and returns how that ended, in both generations of the API. */
static inline int test_connect(int qd, const struct sockaddr_in *addr)
{
#if DMTR_API == 2019
    return dmtr_connect(qd, (const struct sockaddr *)addr, sizeof *addr);
#else
    dmtr_qtoken_t qt = 0;
    int rc = dmtr_connect(&qt, qd, (const struct sockaddr *)addr, sizeof *addr);
    return rc != 0 ? rc : dmtr_wait(NULL, qt);
#endif
}

/* Connects a new queue *client to the listener and accepts the other end as *server. */
static inline void test_tcp_connect(int listener, const struct sockaddr_in *addr, int *client, int *server)
{
    dmtr_qtoken_t qt = 0;
    dmtr_qresult_t qr;
    CHECK_ERR(dmtr_accept(&qt, listener), 0);
    CHECK_ERR(dmtr_socket(client, AF_INET, SOCK_STREAM, 0), 0);
    CHECK_ERR(test_connect(*client, addr), 0);
    CHECK_ERR(dmtr_wait(&qr, qt), 0);
    CHECK_EQ(qr.qr_opcode, DMTR_OPC_ACCEPT);
    *server = qr.qr_value.ares.qd;
}

/* Makes two connected TCP queues; the listener is gone again. */
static inline void test_tcp_pair(int *client, int *server)
{
    struct sockaddr_in addr;
    int listener = test_listen(&addr);
    test_tcp_connect(listener, &addr, client, server);
    CHECK_ERR(dmtr_close(listener), 0);
}

/* An array of one segment. */
static inline dmtr_sgarray_t test_sga(void *buf, uint32_t len)
{
    dmtr_sgarray_t sga;
    memset(&sga, 0, sizeof sga);
    sga.sga_numsegs = 1;
    sga.sga_segs[0].sgaseg_buf = buf;
    sga.sga_segs[0].sgaseg_len = len;
    return sga;
}

#endif
