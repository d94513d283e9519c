/*
 * Datagrams: senders' addresses and replies, connected and bound queues, sizes up to the largest,
 * and a peer that is not there.
 */
#include "net/peer.h"

enum { LARGEST = 65507, HEAD = 16 };

static unsigned char data[LARGEST + 1];

static dmtr_sgarray_t datagram(size_t len, const struct sockaddr_in *to)
{
    dmtr_sgarray_t sga = test_sga(data, (uint32_t)len);
    sga.sga_addr = *to;
    return sga;
}

static int push_to(int qd, size_t len, const struct sockaddr_in *to)
{
    dmtr_sgarray_t sga = datagram(len, to);
    dmtr_qtoken_t qt = 0;
    CHECK_ERR(dmtr_push(&qt, qd, &sga), 0);
    return dmtr_wait(NULL, qt);
}

static void pop_from(int qd, dmtr_qresult_t *qr, const struct sockaddr_in *from)
{
    CHECK_ERR(dmtr_wait(qr, q_start_pop(qd)), 0);
    CHECK_EQ(qr->qr_value.sga.sga_addr.sin_family, AF_INET);
    CHECK_EQ(qr->qr_value.sga.sga_addr.sin_port, from->sin_port);
    CHECK_EQ(qr->qr_value.sga.sga_addr.sin_addr.s_addr, from->sin_addr.s_addr);
}

static void send_to(int fd, size_t len, const struct sockaddr_in *to)
{
    CHECK_EQ(sendto(fd, data, len, 0, (const struct sockaddr *)to, sizeof *to), len);
}

/* Each popped array can be pushed back as it is: the reply goes to its sender, in its framing. */
static void test_reply(void)
{
    struct sockaddr_in addr, peers[2];
    char got[100];
    int qd = q_udp(&addr), fds[2] = {plain_udp(&peers[0]), plain_udp(&peers[1])};
    for (int i = 0; i < 20; i++) {
        dmtr_qresult_t qr;
        dmtr_qtoken_t qt = 0;
        struct sockaddr_in from;
        socklen_t size = sizeof from;
        char frame[64];
        size_t n = 10;
        memcpy(frame, data + 1, n); /* bare bytes and messages in turn */
        if (i % 4 >= 2)
            n = frame_build(frame, 2, SEGS(3, 4), (uint32_t)i);
        CHECK_EQ(sendto(fds[i % 2], frame, n, 0, ADDR(&addr), sizeof addr), n);
        pop_from(qd, &qr, &peers[i % 2]);
        CHECK_EQ(qr.qr_value.sga.sga_numsegs, i % 4 >= 2 ? 2 : 1);
        CHECK_ERR(dmtr_push(&qt, qd, &qr.qr_value.sga), 0);
        CHECK_ERR(dmtr_wait(NULL, qt), 0);
        free(qr.qr_value.sga.sga_buf);
        CHECK_EQ(recvfrom(fds[i % 2], got, sizeof got, 0, ADDR(&from), &size), n);
        CHECK(memcmp(got, frame, n) == 0);
        CHECK_EQ(from.sin_port, addr.sin_port);
    }
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fds[0]) == 0 && close(fds[1]) == 0);
}

/*
 * Before anything was received, a push is a message; an unbound queue gets a port by its first
 * push.
 */
static void test_first_push(void)
{
    struct sockaddr_in mine, from;
    socklen_t size = sizeof from;
    char got[100], want[100];
    int qd = 0, fd = plain_udp(&mine);
    CHECK_ERR(dmtr_socket(&qd, AF_INET, SOCK_DGRAM, 0), 0);
    memcpy(want, data, 20);
    CHECK_ERR(push_to(qd, 20, &mine), 0);
    CHECK_EQ(recvfrom(fd, got, sizeof got, 0, ADDR(&from), &size), HEAD + 20);
    CHECK_EQ(get32(got), DMTR_HEADER_MAGIC);
    CHECK_EQ(get32(got + 4), 24);
    CHECK_EQ(get32(got + 8), 1);
    CHECK_EQ(get32(got + 12), 20);
    CHECK(memcmp(got + HEAD, data, 20) == 0);
    CHECK_EQ(sendto(fd, got, HEAD + 20, 0, ADDR(&from), sizeof from), HEAD + 20);
    q_pop_is(qd, data, 20);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0);
}

/* A connected queue sends to its peer whatever sga_addr holds, and hears nobody else. */
static void test_connected(void)
{
    struct sockaddr_in peer, other, mine, wrong = test_plain(9);
    socklen_t size = sizeof mine;
    char got[100];
    int qd = 0, fd = plain_udp(&peer), other_fd = plain_udp(&other);
    CHECK_ERR(dmtr_socket(&qd, AF_INET, SOCK_DGRAM, 0), 0);
    CHECK_ERR(dmtr_connect(qd, ADDR(&peer), sizeof peer), 0);
    CHECK_ERR(dmtr_getsockname(qd, ADDR(&mine), &size), 0);
    CHECK_ERR(push_to(qd, 5, &wrong), 0);
    CHECK_EQ(recv(fd, got, sizeof got, 0), HEAD + 5);
    memset(&wrong, 0xee, sizeof wrong);
    CHECK_ERR(push_to(qd, 6, &wrong), 0);
    CHECK_EQ(recv(fd, got, sizeof got, 0), HEAD + 6);
    send_to(other_fd, 7, &mine);
    send_to(fd, 8, &mine);
    q_pop_is(qd, data, 8);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0 && close(other_fd) == 0);
}

/* Sizes as bare datagrams to and from a plain socket, and as messages between two queues. */
static void test_sizes(void)
{
    static const size_t sizes[] = {
        1, 2, 3, 4, 5, 11, 12, 13, 16, 17, 1472, 1473, 8192, 16384, 16385, 60000,
        LARGEST - HEAD, LARGEST - HEAD + 1, LARGEST};
    static unsigned char got[LARGEST + 1];
    struct sockaddr_in a_addr, b_addr, mine;
    int a = q_udp(&a_addr), b = q_udp(&b_addr), bare = 0, fd = plain_udp(&mine);
    struct sockaddr_in bare_addr;
    bare = q_udp(&bare_addr);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        dmtr_qresult_t qr;
        size_t n = sizes[i];
        if (n > 1472 && test_on("dpdk"))
            break; /* the kernel puts fragments together before they reach DPDK's driver, for which they are too long then */
        send_to(fd, n, &bare_addr);
        pop_from(bare, &qr, &mine);
        CHECK_EQ(qr.qr_value.sga.sga_segs[0].sgaseg_len, n);
        CHECK(memcmp(qr.qr_value.sga.sga_segs[0].sgaseg_buf, data, n) == 0);
        free(qr.qr_value.sga.sga_buf);
        CHECK_ERR(push_to(bare, n, &mine), 0);
        CHECK_EQ(recv(fd, got, sizeof got, 0), n);
        CHECK(memcmp(got, data, n) == 0);
        if (n + HEAD > LARGEST) {
            CHECK_ERR(push_to(a, n, &b_addr), EMSGSIZE);
            n = 77;
        }
        CHECK_ERR(push_to(a, n, &b_addr), 0);
        pop_from(b, &qr, &a_addr);
        CHECK_EQ(qr.qr_value.sga.sga_segs[0].sgaseg_len, n);
        CHECK(memcmp(qr.qr_value.sga.sga_segs[0].sgaseg_buf, data, n) == 0);
        free(qr.qr_value.sga.sga_buf);
    }
    CHECK_ERR(push_to(bare, LARGEST + 1, &mine), EMSGSIZE);
    CHECK_ERR(push_to(bare, 3, &mine), 0);
    CHECK_EQ(recv(fd, got, sizeof got, 0), 3);
    CHECK_ERR(dmtr_close(a), 0);
    CHECK_ERR(dmtr_close(b), 0);
    CHECK_ERR(dmtr_close(bare), 0);
    CHECK(close(fd) == 0);
}

/* Three segments stay three; many datagrams and many pops at once stay in order. */
static void test_segments_and_order(void)
{
    enum { N = 64 };
    struct sockaddr_in a_addr, b_addr;
    int a = q_udp(&a_addr), b = q_udp(&b_addr);
    dmtr_qtoken_t pops[N], pushes[N];
    for (int i = 0; i < N / 2; i++)
        pops[i] = q_start_pop(b);
    for (uint32_t i = 0; i < N; i++) {
        dmtr_sgarray_t sga = datagram(1 + i, &b_addr);
        sga.sga_numsegs = 3;
        sga.sga_segs[1].sgaseg_buf = NULL;
        sga.sga_segs[1].sgaseg_len = 0;
        sga.sga_segs[2].sgaseg_buf = data + 1 + i;
        sga.sga_segs[2].sgaseg_len = 100;
        CHECK_ERR(dmtr_push(&pushes[i], a, &sga), 0);
    }
    for (int i = 0; i < N; i++)
        CHECK_ERR(dmtr_wait(NULL, pushes[i]), 0);
    for (int i = N / 2; i < N; i++)
        pops[i] = q_start_pop(b);
    for (uint32_t i = 0; i < N; i++) {
        dmtr_qresult_t qr;
        const dmtr_sgaseg_t *seg = qr.qr_value.sga.sga_segs;
        CHECK_ERR(dmtr_wait(&qr, pops[i]), 0);
        CHECK_EQ(qr.qr_value.sga.sga_numsegs, 3);
        CHECK_EQ(seg[0].sgaseg_len, 1 + i);
        CHECK_EQ(seg[1].sgaseg_len, 0);
        CHECK_EQ(seg[2].sgaseg_len, 100);
        CHECK(memcmp(seg[0].sgaseg_buf, data, 1 + i) == 0);
        CHECK(memcmp(seg[2].sgaseg_buf, data + 1 + i, 100) == 0);
        free(qr.qr_value.sga.sga_buf);
    }
    CHECK_ERR(dmtr_close(a), 0);
    CHECK_ERR(dmtr_close(b), 0);
}

/* Nobody at the peer's port: the pop says so, and the queue goes on once somebody is. */
static void test_refused(void)
{
    struct sockaddr_in peer, mine;
    socklen_t size = sizeof mine;
    char got[100];
    dmtr_qtoken_t pop;
    int err, qd = 0, fd = plain_udp(&peer);
    CHECK(close(fd) == 0);
    CHECK_ERR(dmtr_socket(&qd, AF_INET, SOCK_DGRAM, 0), 0);
    CHECK_ERR(dmtr_connect(qd, ADDR(&peer), sizeof peer), 0);
    CHECK_ERR(dmtr_getsockname(qd, ADDR(&mine), &size), 0);
    pop = q_start_pop(qd);
    CHECK_ERR(dmtr_poll(NULL, pop), EAGAIN);
    CHECK_ERR(push_to(qd, 5, &peer), 0);
    q_wait_fails(pop, DMTR_OPC_POP, ECONNREFUSED);
    /* its refusal may be told to the next push or the next pop */
    CHECK_ERR(push_to(qd, 5, &peer), 0);
    err = push_to(qd, 5, &peer);
    CHECK(err == 0 || err == ECONNREFUSED);
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && bind(fd, ADDR(&peer), sizeof peer) == 0);
    send_to(fd, 9, &mine);
    do {
        dmtr_qresult_t qr;
        err = dmtr_wait(&qr, q_start_pop(qd));
        CHECK(err == 0 || err == ECONNREFUSED);
        if (err == 0) {
            CHECK_EQ(qr.qr_value.sga.sga_segs[0].sgaseg_len, 9);
            free(qr.qr_value.sga.sga_buf);
        }
    } while (err != 0);
    CHECK_ERR(push_to(qd, 5, &peer), 0);
    CHECK_EQ(recv(fd, got, sizeof got, 0), 5);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0);
}

int main(void)
{
    fill(data, sizeof data, 1, 0);
    test_init();
    test_reply();
    test_first_push();
    test_connected();
    test_sizes();
    test_segments_and_order();
    test_refused();
    return 0;
}
