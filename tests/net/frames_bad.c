/*
 * Broken message framing: each kind gives its errno from the pop, closes that connection for
 * reading and nothing else. A datagram socket loses the bad datagram only.
 */
#include "net/peer.h"

enum ending { STAYS, FIN, RST };

struct bad {
    const char *name;
    uint32_t words[6]; /* network order is made of them: magic, h_bytes, nsegs, lengths ... */
    size_t size;       /* how many bytes of words go out */
    size_t extra;      /* bytes that follow */
    enum ending ending;
    int err;
};

#define MAGIC DMTR_HEADER_MAGIC
#define MAX 0xffffffffu

static const struct bad cases[] = {
    {"bad magic", {0x20101010, 8, 1, 4}, 16, 4, STAYS, EILSEQ},
    {"bad last byte of the magic", {MAGIC + 1, 8, 1, 4}, 16, 4, STAYS, EILSEQ},
    {"bare bytes", {0x50494e47}, 4, 0, STAYS, EILSEQ},
    {"no segments", {MAGIC, 0, 0}, 12, 0, STAYS, EILSEQ},
    {"no segments but bytes", {MAGIC, 4, 0, 0}, 16, 0, STAYS, EILSEQ},
    {"4 segments", {MAGIC, 20, 4, 1}, 16, 16, STAYS, EILSEQ},
    {"9 segments", {MAGIC, 45, 9, 1}, 16, 41, STAYS, EILSEQ},
    {"4 Gi segments", {MAGIC, 100, MAX, 1}, 16, 96, STAYS, EILSEQ},
    {"a claim of 4 GiB", {MAGIC, MAX, 1, MAX - 4}, 16, 0, STAYS, EMSGSIZE},
    {"a claim of 2 GiB", {MAGIC, 0x80000000u, 1, 0x7ffffffc}, 16, 0, STAYS, EMSGSIZE},
    {"a claim of 65 MiB", {MAGIC, 65 << 20, 1, (65 << 20) - 4}, 16, 100, STAYS, EMSGSIZE},
    {"h_bytes too small for the length words", {MAGIC, 8, 3, 0, 0, 0}, 24, 0, STAYS, EILSEQ},
    {"h_bytes 0 with a segment", {MAGIC, 0, 1, 0}, 16, 0, STAYS, EILSEQ},
    {"h_bytes below the lengths", {MAGIC, 8, 1, 100}, 16, 100, STAYS, EILSEQ},
    {"h_bytes above the lengths", {MAGIC, 104, 1, 10}, 16, 100, STAYS, EILSEQ},
    {"a length of 4 GiB", {MAGIC, 100, 1, MAX}, 16, 96, STAYS, EILSEQ},
    {"a length that wraps with its own word", {MAGIC, 3, 1, MAX}, 16, 3, STAYS, EILSEQ},
    {"second length wraps the sum", {MAGIC, 12, 2, 8, MAX - 3}, 20, 8, STAYS, EILSEQ},
    {"first length wraps the sum", {MAGIC, 12, 2, MAX - 3, 8}, 20, 8, STAYS, EILSEQ},
    {"cut off in the magic", {MAGIC}, 3, 0, FIN, ECONNABORTED},
    {"cut off in the header", {MAGIC, 100, 1}, 7, 0, FIN, ECONNABORTED},
    {"cut off in a length", {MAGIC, 100, 1, 96}, 14, 0, FIN, ECONNABORTED},
    {"cut off in the body", {MAGIC, 100, 1, 96}, 16, 50, FIN, ECONNABORTED},
    {"cut off before the second segment", {MAGIC, 12, 2, 4, 4}, 16, 4, FIN, ECONNABORTED},
    {"reset in the header", {MAGIC, 100, 1}, 7, 0, RST, ECONNRESET},
    {"reset in the body", {MAGIC, 100, 1, 96}, 16, 50, RST, ECONNRESET},
    {"closed at once", {0}, 0, 0, FIN, ECONNABORTED},
    {"reset at once", {0}, 0, 0, RST, ECONNRESET},
};
enum { CASES = sizeof cases / sizeof cases[0] };

static size_t build(char *out, const struct bad *c)
{
    for (size_t i = 0; i < c->size; i += 4)
        put32(out + i, c->words[i / 4]);
    memset(out + c->size, 1, c->extra);
    return c->size + c->extra;
}

/* The connection is closed for reading; what can still be sent to the peer arrives. */
static void check_closed_for_reading(int qd, int fd, const struct bad *c)
{
    for (int i = 0; i < 3; i++) {
        int err = q_pop_error(qd);
        CHECK(err == c->err || (c->ending == RST && err == ECONNABORTED));
    }
    if (c->ending == STAYS) {
        char frame[64];
        /* a good message does not heal it */
        plain_send(fd, frame, frame_build(frame, 1, SEGS(5), 3));
        CHECK_ERR(q_pop_error(qd), c->err);
        q_push(qd, "still", 5);
        CHECK_EQ(plain_recv(fd, frame, 21), 21);
        CHECK(memcmp(frame + 16, "still", 5) == 0);
    }
}

static void run_case(const struct bad *c, int listener, const struct sockaddr_in *addr, int early)
{
    char buf[256];
    size_t n = build(buf, c);
    dmtr_qtoken_t qt = 0;
    int fd = plain_connect(addr, 0), qd = q_accept(listener);
    if (early) {
        qt = q_start_pop(qd);
        CHECK_ERR(dmtr_poll(NULL, qt), EAGAIN);
    }
    plain_send(fd, buf, n);
    if (early && n > 0)
        CHECK(dmtr_poll(NULL, qt) != ENOENT);
    if (c->ending == FIN)
        CHECK(shutdown(fd, SHUT_WR) == 0);
    else if (c->ending == RST)
        plain_reset(fd);
    if (!early)
        qt = q_start_pop(qd);
    q_wait_fails(qt, DMTR_OPC_POP, c->err);
    check_closed_for_reading(qd, fd, c);
    CHECK_ERR(dmtr_close(qd), 0);
    if (c->ending != RST)
        CHECK(close(fd) == 0);
}

static void test_streams(void)
{
    struct sockaddr_in addr;
    int listener = test_listen(&addr);
    int good_fd = plain_connect(&addr, 0), good = q_accept(listener);
    dmtr_qtoken_t good_qt = q_start_pop(good);
    for (int i = 0; i < 2 * CASES; i++) {
        char frame[256];
        unsigned char want[100];
        fprintf(stderr, "case: %s, %s\n", cases[i / 2].name, i % 2 ? "pop first" : "bytes first");
        run_case(&cases[i / 2], listener, &addr, i % 2);
        plain_send(good_fd, frame, frame_build(frame, 1, SEGS(100), (uint32_t)i));
        fill(want, sizeof want, (uint32_t)i, 0);
        q_wait_is(good_qt, want, sizeof want);
        good_qt = q_start_pop(good);
    }
    CHECK_ERR(dmtr_drop(good_qt), 0);
    CHECK_ERR(dmtr_close(good), 0);
    CHECK_ERR(dmtr_close(listener), 0);
    CHECK(close(good_fd) == 0);
}

/*
 * The same mistakes by datagram: whatever is not exactly one message gives EILSEQ (or EMSGSIZE for
 * a claim over the limit).
 */
static void test_datagrams(int bare_is_bad)
{
    struct sockaddr_in addr, mine;
    int qd = q_udp(&addr), fd = plain_udp(&mine);
    CHECK(connect(fd, ADDR(&addr), sizeof addr) == 0);
    for (int i = 0; i < CASES; i++) {
        char buf[256];
        size_t n = build(buf, &cases[i]);
        uint32_t first = 0;
        int bare;
        if (n >= 4)
            first = get32(buf);
        bare = n < 4 || first != MAGIC;
        if (bare && !bare_is_bad)
            continue;
        fprintf(stderr, "datagram: %s\n", cases[i].name);
        for (int early = 0; early < 2; early++) {
            char frame[64];
            unsigned char want[9];
            dmtr_qtoken_t qt = 0, next;
            int err;
            if (early)
                qt = q_start_pop(qd);
            CHECK_EQ(send(fd, buf, n, 0), n);
            CHECK_EQ(send(fd, frame, frame_build(frame, 1, SEGS(9), (uint32_t)i), 0), 25);
            if (!early)
                qt = q_start_pop(qd);
            next = q_start_pop(qd);
            err = dmtr_wait(NULL, qt);
            CHECK(err == EILSEQ || (err == EMSGSIZE && cases[i].err == EMSGSIZE));
            fill(want, sizeof want, (uint32_t)i, 0);
            q_wait_is(next, want, sizeof want);
        }
    }
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0);
}

/* A datagram with something behind the message is not one message. */
static void test_datagram_with_tail(void)
{
    struct sockaddr_in addr, mine;
    char frame[64];
    int qd = q_udp(&addr), fd = plain_udp(&mine);
    size_t n = frame_build(frame, 1, SEGS(9), 1);
    CHECK_EQ(sendto(fd, frame, n + 1, 0, ADDR(&addr), sizeof addr), n + 1);
    CHECK_ERR(q_pop_error(qd), EILSEQ);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0);
}

static void test_bare_datagrams(void)
{
    struct sockaddr_in addr, mine;
    dmtr_qresult_t qr;
    int qd = q_udp(&addr), fd = plain_udp(&mine);
    CHECK_EQ(sendto(fd, "", 0, 0, ADDR(&addr), sizeof addr), 0);
    CHECK_EQ(sendto(fd, "\x10\x10\x20", 3, 0, ADDR(&addr), sizeof addr), 3);
    CHECK_EQ(sendto(fd, "hello", 5, 0, ADDR(&addr), sizeof addr), 5);
    CHECK_ERR(dmtr_wait(&qr, q_start_pop(qd)), 0); /* an empty datagram is an empty payload */
    CHECK_EQ(qr.qr_value.sga.sga_numsegs, 1);
    CHECK_EQ(qr.qr_value.sga.sga_segs[0].sgaseg_len, 0);
    CHECK_EQ(qr.qr_value.sga.sga_addr.sin_port, mine.sin_port);
    CHECK_ERR(dmtr_sgafree(&qr.qr_value.sga), 0);
    q_pop_is(qd, "\x10\x10\x20", 3);
    q_pop_is(qd, "hello", 5);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0);
}

/*
 * Auto mode: the first bytes began like the magic, and then the connection ended. They may come as
 * bytes; nothing more does.
 */
static void test_undecided(void)
{
    for (int n = 1; n < 4; n++) {
        int fd, qd = q_pair(&fd), err;
        plain_send(fd, "\x10\x10\x20", (size_t)n);
        CHECK(shutdown(fd, SHUT_WR) == 0);
        err = q_pop_error(qd);
        if (err == 0)
            err = q_pop_error(qd);
        CHECK_EQ(err, ECONNABORTED);
        CHECK_ERR(dmtr_close(qd), 0);
        CHECK(close(fd) == 0);
    }
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        run_again("message", "DMTR_FRAMING", "message");
        run_again("auto", "DMTR_FRAMING", NULL);
        return 0;
    }
    test_init();
    if (strcmp(argv[1], "message") == 0) {
        test_streams();
        test_datagrams(1);
    } else {
        test_datagrams(0);
        test_bare_datagrams();
        test_undecided();
    }
    test_datagram_with_tail();
    return 0;
}
