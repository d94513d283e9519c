/*
 * What the tests of queues share: plain sockets as peers, message framing by hand, short forms of
 * the queue calls, and running a test program again with another environment. Plain sockets are
 * blocking ones; the watchdog of test.h ends a test that hangs on one.
 */
#ifndef DMTR_TESTS_NET_PEER_H
#define DMTR_TESTS_NET_PEER_H

#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define ADDR(a) ((struct sockaddr *)(a))
#define SEGS(...) (const uint32_t[]){__VA_ARGS__}

/* ---- bytes ---- */

static inline void put32(void *at, uint32_t v)
{
    v = htonl(v);
    memcpy(at, &v, sizeof v);
}

static inline uint32_t get32(const void *at)
{
    uint32_t v;
    memcpy(&v, at, sizeof v);
    return ntohl(v);
}

/*
 * The byte at place i of pattern number seed: it does not repeat at powers of two, so misplaced
 * blocks show.
 */
static inline unsigned char pattern(uint32_t seed, size_t i)
{
    return (unsigned char)((i * 131u) ^ (i >> 8) ^ (i >> 16) ^ (seed * 29u));
}

static inline void fill(void *buf, size_t n, uint32_t seed, size_t from)
{
    for (size_t i = 0; i < n; i++)
        ((unsigned char *)buf)[i] = pattern(seed, from + i);
}

static inline void check_fill(const void *buf, size_t n, uint32_t seed, size_t from)
{
    for (size_t i = 0; i < n; i++)
        if (((const unsigned char *)buf)[i] != pattern(seed, from + i)) {
            fprintf(stderr, "byte %zu of pattern %u is wrong\n", from + i, (unsigned)seed);
            exit(1);
        }
}

static inline void *xmalloc(size_t n)
{
    void *p = malloc(n > 0 ? n : 1);
    CHECK(p != NULL);
    return p;
}

/* ---- plain sockets ---- */

static inline int plain_listen(struct sockaddr_in *addr, int backlog)
{
    socklen_t size = sizeof *addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    *addr = test_plain(0);
    CHECK(bind(fd, ADDR(addr), sizeof *addr) == 0);
    CHECK(listen(fd, backlog) == 0);
    CHECK(getsockname(fd, ADDR(addr), &size) == 0);
    return fd;
}

/* A connected socket; rcvbuf, unless 0, keeps its receive buffer small. */
static inline int plain_connect(const struct sockaddr_in *addr, int rcvbuf)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    (void)test_plain(0); /* if there are plain peers */
    CHECK(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
    if (rcvbuf > 0)
        CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof rcvbuf) == 0);
    CHECK(connect(fd, (const struct sockaddr *)addr, sizeof *addr) == 0);
    return fd;
}

static inline int plain_udp(struct sockaddr_in *addr)
{
    socklen_t size = sizeof *addr;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    *addr = test_plain(0);
    CHECK(bind(fd, ADDR(addr), sizeof *addr) == 0);
    CHECK(getsockname(fd, ADDR(addr), &size) == 0);
    return fd;
}

static inline void plain_send(int fd, const void *buf, size_t n)
{
    while (n > 0) {
        ssize_t k = send(fd, buf, n, MSG_NOSIGNAL);
        CHECK(k > 0);
        buf = (const char *)buf + k;
        n -= (size_t)k;
    }
}

/* Receives n bytes, or fewer if the stream ends before. */
static inline size_t plain_recv(int fd, void *buf, size_t n)
{
    size_t got = 0;
    while (got < n) {
        ssize_t k = recv(fd, (char *)buf + got, n - got, 0);
        CHECK(k >= 0);
        if (k == 0)
            break;
        got += (size_t)k;
    }
    return got;
}

static inline void plain_expect(int fd, const void *want, size_t n)
{
    void *buf = xmalloc(n);
    CHECK_EQ(plain_recv(fd, buf, n), n);
    CHECK(memcmp(buf, want, n) == 0);
    free(buf);
}

/* Closes with a reset instead of a FIN. */
static inline void plain_reset(int fd)
{
    struct linger now = {1, 0};
    CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0);
    CHECK(close(fd) == 0);
}

/* ---- message framing by hand ---- */

/* Writes the header of a message and the length of its first segment: 16 bytes. */
static inline void frame_head(void *out, uint32_t bytes, uint32_t nsegs, uint32_t len)
{
    put32(out, DMTR_HEADER_MAGIC);
    put32((char *)out + 4, bytes);
    put32((char *)out + 8, nsegs);
    put32((char *)out + 12, len);
}

/*
 * Builds the frame of a message whose segments have the given lengths, filled as one run of the
 * pattern. Returns its size.
 */
static inline size_t frame_build(void *out, uint32_t nsegs, const uint32_t *lens, uint32_t seed)
{
    char *p = (char *)out + 12;
    size_t from = 0;
    for (uint32_t i = 0; i < nsegs; i++) {
        put32(p, lens[i]);
        fill(p + 4, lens[i], seed, from);
        from += lens[i];
        p += 4 + lens[i];
    }
    put32(out, DMTR_HEADER_MAGIC);
    put32((char *)out + 4, (uint32_t)(p - (char *)out - 12));
    put32((char *)out + 8, nsegs);
    return (size_t)(p - (char *)out);
}

/* Sends one message of one segment of the pattern. */
static inline void plain_send_message(int fd, uint32_t len, uint32_t seed)
{
    char *buf = (char *)xmalloc(16 + (size_t)len);
    plain_send(fd, buf, frame_build(buf, 1, &len, seed));
    free(buf);
}

/* Receives one message of one segment and checks it against the pattern. */
static inline void plain_expect_message(int fd, uint32_t len, uint32_t seed)
{
    char *want = (char *)xmalloc(16 + (size_t)len);
    plain_expect(fd, want, frame_build(want, 1, &len, seed));
    free(want);
}

/* ---- queues ---- */

static inline int q_udp(struct sockaddr_in *addr)
{
    int qd = 0;
    socklen_t size = sizeof *addr;
    *addr = test_own(0);
    CHECK_ERR(dmtr_socket(&qd, AF_INET, SOCK_DGRAM, 0), 0);
    CHECK_ERR(dmtr_bind(qd, ADDR(addr), sizeof *addr), 0);
    CHECK_ERR(dmtr_getsockname(qd, ADDR(addr), &size), 0);
    return qd;
}

static inline dmtr_qtoken_t q_start_pop(int qd)
{
    dmtr_qtoken_t qt = 0;
    CHECK_ERR(dmtr_pop(&qt, qd), 0);
    CHECK_EQ(QT2QD(qt), qd);
    return qt;
}

static inline dmtr_qtoken_t q_start_accept(int qd)
{
    dmtr_qtoken_t qt = 0;
    CHECK_ERR(dmtr_accept(&qt, qd), 0);
    CHECK_EQ(QT2QD(qt), qd);
    return qt;
}

/* Pushes one segment; buf must stay until the token is done. */
static inline dmtr_qtoken_t q_start_push(int qd, const void *buf, size_t len)
{
    dmtr_qtoken_t qt = 0;
    dmtr_sgarray_t sga = test_sga((void *)buf, (uint32_t)len);
    CHECK_ERR(dmtr_push(&qt, qd, &sga), 0);
    CHECK_EQ(QT2QD(qt), qd);
    return qt;
}

static inline void q_push(int qd, const void *buf, size_t len)
{
    CHECK_ERR(dmtr_wait(NULL, q_start_push(qd, buf, len)), 0);
}

/* Checks that the token, a pop, completes with these bytes in one segment. */
static inline void q_wait_is(dmtr_qtoken_t qt, const void *want, size_t len)
{
    dmtr_qresult_t qr;
    CHECK_ERR(dmtr_wait(&qr, qt), 0);
    CHECK_EQ(qr.qr_opcode, DMTR_OPC_POP);
    CHECK_EQ(qr.qr_qd, QT2QD(qt));
    CHECK_EQ(qr.qr_value.sga.sga_numsegs, 1);
    CHECK_EQ(qr.qr_value.sga.sga_segs[0].sgaseg_len, len);
    CHECK(memcmp(qr.qr_value.sga.sga_segs[0].sgaseg_buf, want, len) == 0);
    free(qr.qr_value.sga.sga_buf);
}

static inline void q_pop_is(int qd, const void *want, size_t len)
{
    q_wait_is(q_start_pop(qd), want, len);
}

/* Checks that the token fails with err, and what is set then. */
static inline void q_wait_fails(dmtr_qtoken_t qt, dmtr_opcode_t opcode, int err)
{
    dmtr_qresult_t qr;
    memset(&qr, 0xee, sizeof qr);
    CHECK_ERR(dmtr_wait(&qr, qt), err);
    CHECK_EQ(qr.qr_opcode, opcode);
    CHECK_EQ(qr.qr_qd, QT2QD(qt));
    CHECK_EQ(qr.qr_qt, qt);
    CHECK_ERR(dmtr_poll(NULL, qt), ENOENT);
}

/* The errno of a pop, whether the call or the token reports it. */
static inline int q_pop_error(int qd)
{
    dmtr_qtoken_t qt = 0;
    dmtr_qresult_t qr;
    int err = dmtr_pop(&qt, qd);
    if (err != 0)
        return err;
    err = dmtr_wait(&qr, qt);
    if (err == 0)
        free(qr.qr_value.sga.sga_buf);
    return err;
}

/* Accepts the connection that waits in the backlog. */
static inline int q_accept(int listener)
{
    dmtr_qresult_t qr;
    dmtr_qtoken_t qt = q_start_accept(listener);
    CHECK_ERR(dmtr_wait(&qr, qt), 0);
    CHECK_EQ(qr.qr_opcode, DMTR_OPC_ACCEPT);
    CHECK_EQ(qr.qr_qd, listener);
    return qr.qr_value.ares.qd;
}

/* An accepted queue and the plain socket at its other end. */
static inline int q_pair_with(int *fd, int rcvbuf)
{
    struct sockaddr_in addr;
    int qd, listener = test_listen(&addr);
    *fd = plain_connect(&addr, rcvbuf);
    qd = q_accept(listener);
    CHECK_ERR(dmtr_close(listener), 0);
    return qd;
}

static inline int q_pair(int *fd)
{
    return q_pair_with(fd, 0);
}

/* Lets operations go on for a while without reporting any: polls a token of its own. */
static inline void q_progress(int ms)
{
    int qd = 0;
    dmtr_qtoken_t qt;
    CHECK_ERR(dmtr_queue(&qd), 0);
    qt = q_start_pop(qd);
    for (int i = 0; i < ms * 10; i++) {
        CHECK_ERR(dmtr_poll(NULL, qt), EAGAIN);
        usleep(100);
    }
    CHECK_ERR(dmtr_drop(qt), 0);
    CHECK_ERR(dmtr_close(qd), 0);
}

static inline int q_valid(int qd)
{
    int flag = -1;
    CHECK_ERR(dmtr_is_qd_valid(&flag, qd), 0);
    return flag;
}

/* ---- programs ---- */

/*
 * Runs this program again with one argument and NAME=value in its environment (value NULL: without
 * NAME), and checks that it passes.
 */
static inline void run_again(const char *arg, const char *name, const char *value)
{
    char *const argv[] = {(char *)"test", (char *)arg, NULL};
    char *old = name != NULL && getenv(name) != NULL ? strdup(getenv(name)) : NULL;
    int status = -1;
    pid_t pid = -1;
    if (value != NULL)
        setenv(name, value, 1);
    else if (name != NULL)
        unsetenv(name);
    CHECK_EQ(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ), 0);
    CHECK(waitpid(pid, &status, 0) == pid);
    if (test_own_kind() && status == 77 << 8)
        skip("one of its cases was"); /* and has said why */
    if (status != 0) {
        fprintf(stderr, "case %s (%s=%s) failed: wait status 0x%x\n", arg, name ? name : "",
                value ? value : "", (unsigned)status);
        exit(1);
    }
    if (old != NULL)
        setenv(name, old, 1);
    else if (name != NULL)
        unsetenv(name);
    free(old);
}

/* Runs this program again in each wait mode; the case is the mode if arg is NULL. */
static inline void run_in_wait_modes(const char *arg)
{
    static const char *const modes[] = {"spin", "adaptive", "block"};
    for (int i = 0; i < 3; i++)
        run_again(arg != NULL ? arg : modes[i], "DMTR_WAIT", modes[i]);
}

/* A new folder for a test's files; leave it empty and call remove() on it. */
static inline void make_folder(char *out, size_t size)
{
    const char *tmp = getenv("TMPDIR");
    CHECK(snprintf(out, size, "%s/dmtr-test-XXXXXX", tmp != NULL ? tmp : "/tmp") < (int)size);
    CHECK(mkdtemp(out) != NULL);
}

static inline void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    CHECK(f != NULL);
    CHECK(fputs(text, f) >= 0);
    CHECK(fclose(f) == 0);
}

/* Runs this program again with the case and a configuration file with the given text. */
static inline void run_with_config(const char *arg, const char *yaml)
{
    const char *base = getenv("DMTR_CONFIG");
    char dir[256], path[300];
    make_folder(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/dmtr.yaml", dir);
    write_file(path, yaml);
    if (base != NULL) { /* with what all need, on dpdk */
        char more[1000];
        FILE *from = fopen(base, "r"), *to = fopen(path, "a");
        size_t n;
        CHECK(from != NULL && to != NULL && (n = fread(more, 1, sizeof more, from)) < sizeof more);
        CHECK(fwrite(more, 1, n, to) == n && fclose(to) == 0 && fclose(from) == 0);
    }
    run_again(arg, "DMTR_CONFIG", path);
    CHECK(remove(path) == 0);
    CHECK(remove(dir) == 0);
}

static inline void start_thread(pthread_t *t, void *(*run)(void *), void *arg)
{
    CHECK_EQ(pthread_create(t, NULL, run, arg), 0);
}

static inline void join_thread(pthread_t t)
{
    CHECK_EQ(pthread_join(t, NULL), 0);
}

static inline void *shared_memory(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    return p;
}

/* How many entries a folder has. */
static inline int count_entries(const char *dir)
{
    int n = 0;
    DIR *d = opendir(dir);
    CHECK(d != NULL);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

static inline int count_fds(void)
{
    return count_entries("/proc/self/fd");
}

/* Memory in use that is no file's: pages of programs and libraries come and go as the kernel likes. */
static inline long rss_kib(void)
{
    long resident = 0, shared = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    CHECK(f != NULL);
    CHECK(fscanf(f, "%*d %ld %ld", &resident, &shared) == 2);
    fclose(f);
    return (resident - shared) * (sysconf(_SC_PAGESIZE) / 1024);
}

#endif
