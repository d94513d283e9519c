/*
 * Dropped tokens: nothing is lost for the next operation, other tokens go on, borrowed memory is
 * free at once, no token or memory is leaked. And the tokens of queues that are closed under them.
 */
#include "net/peer.h"

#define DROP(qt)                                 \
    do {                                         \
        CHECK_ERR(dmtr_drop(qt), 0);             \
        CHECK_ERR(dmtr_poll(NULL, qt), ENOENT);  \
        CHECK_ERR(dmtr_drop(qt), ENOENT);        \
    } while (0)

static void send_numbered(int fd, uint32_t seed)
{
    plain_send_message(fd, 50 + seed, seed);
}

static void expect_numbered(dmtr_qtoken_t qt, uint32_t seed)
{
    unsigned char want[200];
    fill(want, sizeof want, seed, 0);
    q_wait_is(qt, want, 50 + seed);
}

static void finish(int qd, int fd)
{
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0);
}

static void test_pending_pop(void)
{
    int fd, qd = q_pair(&fd);
    dmtr_qtoken_t a = q_start_pop(qd), b = q_start_pop(qd), c = q_start_pop(qd);
    DROP(a);
    DROP(c);
    send_numbered(fd, 1);
    expect_numbered(b, 1);
    send_numbered(fd, 2);
    expect_numbered(q_start_pop(qd), 2);
    a = q_start_pop(qd);
    DROP(a);
    send_numbered(fd, 3);
    q_progress(5); /* nobody asks for it yet */
    expect_numbered(q_start_pop(qd), 3);
    finish(qd, fd);
}

/* A pop with half a message in hand. */
static void test_pop_in_the_middle(void)
{
    char frame[80], first[50];
    int fd, qd = q_pair(&fd);
    dmtr_qtoken_t a = q_start_pop(qd);
    size_t n = frame_build(frame, 1, SEGS(50), 4);
    plain_send(fd, frame, 30);
    q_progress(5);
    DROP(a);
    plain_send(fd, frame + 30, n - 30);
    fill(first, sizeof first, 4, 0);
    q_pop_is(qd, first, sizeof first);
    finish(qd, fd);
}

static void test_completed_pop(void)
{
    int fd, qd = q_pair(&fd);
    dmtr_qtoken_t a, b, c;
    dmtr_qresult_t qr;
    /* not reported: the message goes to the next pop, and several in their order */
    a = q_start_pop(qd);
    b = q_start_pop(qd);
    c = q_start_pop(qd);
    for (uint32_t i = 1; i <= 3; i++)
        send_numbered(fd, i);
    q_progress(5);
    DROP(a);
    DROP(b);
    DROP(c);
    send_numbered(fd, 4);
    for (uint32_t i = 1; i <= 4; i++)
        expect_numbered(q_start_pop(qd), i);
    /* dropped the other way round */
    a = q_start_pop(qd);
    b = q_start_pop(qd);
    send_numbered(fd, 5);
    send_numbered(fd, 6);
    q_progress(5);
    DROP(b);
    DROP(a);
    expect_numbered(q_start_pop(qd), 5);
    expect_numbered(q_start_pop(qd), 6);
    /* a pop that is pending meanwhile gets it */
    a = q_start_pop(qd);
    b = q_start_pop(qd);
    send_numbered(fd, 7);
    q_progress(5);
    DROP(a);
    expect_numbered(b, 7);
    /* reported by a poll: it is the program's */
    a = q_start_pop(qd);
    send_numbered(fd, 8);
    q_progress(5);
    CHECK_ERR(dmtr_poll(&qr, a), 0);
    CHECK_EQ(qr.qr_value.sga.sga_segs[0].sgaseg_len, 58);
    DROP(a);
    check_fill(qr.qr_value.sga.sga_segs[0].sgaseg_buf, 58, 8, 0);
    free(qr.qr_value.sga.sga_buf);
    send_numbered(fd, 9);
    expect_numbered(q_start_pop(qd), 9);
    finish(qd, fd);
}

/*
 * Bytes of a stream, handed back by a drop, stay in order and within the limit of the pop that gets
 * them.
 */
static void test_completed_pop_stream(void)
{
    char got[16];
    size_t n = 0;
    int fd, qd = q_pair(&fd);
    dmtr_qtoken_t a = q_start_pop(qd);
    plain_send(fd, "0123456789", 10);
    q_progress(5);
    DROP(a);
    plain_send(fd, "abcdef", 6);
    while (n < sizeof got) {
        dmtr_qresult_t qr;
        uint32_t len;
        CHECK_ERR(dmtr_pop2(&a, qd, 4), 0);
        CHECK_ERR(dmtr_wait(&qr, a), 0);
        len = qr.qr_value.sga.sga_segs[0].sgaseg_len;
        CHECK(len >= 1 && len <= 4 && n + len <= sizeof got);
        memcpy(got + n, qr.qr_value.sga.sga_segs[0].sgaseg_buf, len);
        free(qr.qr_value.sga.sga_buf);
        n += len;
    }
    CHECK(memcmp(got, "0123456789abcdef", sizeof got) == 0);
    finish(qd, fd);
}

static void test_datagram(void)
{
    struct sockaddr_in addr, mine;
    int qd = q_udp(&addr), fd = plain_udp(&mine);
    dmtr_qtoken_t a = q_start_pop(qd), b = q_start_pop(qd);
    DROP(a);
    CHECK_EQ(sendto(fd, "one", 3, 0, ADDR(&addr), sizeof addr), 3);
    q_progress(5);
    DROP(b);
    q_pop_is(qd, "one", 3);
    finish(qd, fd);
}

static void *read_rest(void *arg)
{
    int fd = *(int *)arg;
    plain_expect_message(fd, 8 << 20, 1);
    plain_expect_message(fd, 5000, 3);
    plain_expect_message(fd, 60, 4);
    return NULL;
}

/*
 * One push partly sent, others behind it: those not begun are not sent, the one begun goes out
 * whole though its memory is gone.
 */
static void test_pushes(void)
{
    int fd, qd = q_pair_with(&fd, 8192);
    unsigned char *data[5];
    dmtr_qtoken_t qts[5];
    static const size_t sizes[5] = {0, 8 << 20, 100, 5000, 60};
    pthread_t t;
    for (uint32_t i = 1; i <= 4; i++) {
        data[i] = (unsigned char *)xmalloc(sizes[i]);
        fill(data[i], sizes[i], i, 0);
        qts[i] = q_start_push(qd, data[i], sizes[i]);
    }
    q_progress(5);
    for (int i = 1; i <= 4; i++)
        CHECK_ERR(dmtr_poll(NULL, qts[i]), EAGAIN);
    DROP(qts[2]);
    memset(data[2], 0xee, sizes[2]);
    free(data[2]);
    DROP(qts[1]);
    memset(data[1], 0xee, sizes[1]);
    free(data[1]);
    start_thread(&t, read_rest, &fd);
    CHECK_ERR(dmtr_wait(NULL, qts[4]), 0);
    CHECK_ERR(dmtr_wait(NULL, qts[3]), 0);
    join_thread(t);
    free(data[3]);
    free(data[4]);
    finish(qd, fd);
}

static void expect_peer(dmtr_qtoken_t qt, int fd)
{
    struct sockaddr_in addr;
    socklen_t size = sizeof addr;
    dmtr_qresult_t qr;
    CHECK(getsockname(fd, ADDR(&addr), &size) == 0);
    CHECK_ERR(dmtr_wait(&qr, qt), 0);
    CHECK_EQ(qr.qr_opcode, DMTR_OPC_ACCEPT);
    CHECK_EQ(qr.qr_value.ares.addr.sin_port, addr.sin_port);
    plain_send(fd, "hello", 5);
    q_pop_is(qr.qr_value.ares.qd, "hello", 5);
    finish(qr.qr_value.ares.qd, fd);
}

static void test_accepts(void)
{
    struct sockaddr_in addr;
    int listener = test_listen(&addr), fds[2];
    dmtr_qtoken_t a = q_start_accept(listener), b = q_start_accept(listener);
    dmtr_qresult_t qr;
    DROP(a); /* pending */
    fds[0] = plain_connect(&addr, 0);
    expect_peer(b, fds[0]);
    a = q_start_accept(listener); /* completed, not reported */
    b = q_start_accept(listener);
    fds[0] = plain_connect(&addr, 0);
    fds[1] = plain_connect(&addr, 0);
    q_progress(5);
    DROP(a);
    DROP(b);
    expect_peer(q_start_accept(listener), fds[0]);
    expect_peer(q_start_accept(listener), fds[1]);
    a = q_start_accept(listener); /* reported by a poll: the queue is the program's */
    fds[0] = plain_connect(&addr, 0);
    q_progress(5);
    CHECK_ERR(dmtr_poll(&qr, a), 0);
    DROP(a);
    CHECK_EQ(q_valid(qr.qr_value.ares.qd), 1);
    plain_send(fds[0], "hello", 5);
    q_pop_is(qr.qr_value.ares.qd, "hello", 5);
    finish(qr.qr_value.ares.qd, fds[0]);
    /* completed, dropped, then the listener is closed: the peer sees the end */
    a = q_start_accept(listener);
    fds[0] = plain_connect(&addr, 0);
    q_progress(5);
    DROP(a);
    CHECK_ERR(dmtr_close(listener), 0);
    {
        char byte;
        CHECK(recv(fds[0], &byte, 1, 0) <= 0);
    }
    CHECK(close(fds[0]) == 0);
}

static void test_memory_queue(void)
{
    int qd = 0;
    dmtr_qtoken_t a, b;
    CHECK_ERR(dmtr_queue(&qd), 0);
    a = q_start_pop(qd);
    b = q_start_pop(qd);
    DROP(a);
    q_push(qd, "x", 1);
    CHECK_ERR(dmtr_wait(NULL, b), 0);
    q_push(qd, "1", 1);
    q_push(qd, "2", 1);
    a = q_start_pop(qd); /* completed at once */
    b = q_start_pop(qd);
    DROP(a);
    DROP(b);
    for (int i = 1; i <= 2; i++) {
        dmtr_qresult_t qr;
        CHECK_ERR(dmtr_wait(&qr, q_start_pop(qd)), 0);
        CHECK_EQ(*(char *)qr.qr_value.sga.sga_segs[0].sgaseg_buf, '0' + i);
    }
    CHECK_ERR(dmtr_close(qd), 0);
}

static void test_file(void)
{
    char dir[256], path[300];
    int qd = 0;
    dmtr_qtoken_t a, b;
    dmtr_qresult_t qr;
    make_folder(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/f", dir);
    write_file(path, "0123456789");
    CHECK_ERR(dmtr_open(&qd, path, O_RDWR), 0);
    a = q_start_pop(qd); /* pending: its bytes come again */
    DROP(a);
    CHECK_ERR(dmtr_pop2(&a, qd, 3), 0);
    CHECK_ERR(dmtr_pop2(&b, qd, 3), 0);
    q_wait_is(b, "345", 3);
    DROP(a); /* completed, though not reported: it has moved the position */
    q_pop_is(qd, "6789", 4);
    for (int i = 0; i < 100; i++) {
        char *text = strdup("abcdef");
        CHECK_ERR(dmtr_lseek(qd, 0, SEEK_SET), 0);
        a = q_start_push(qd, text, 6);
        DROP(a);
        memset(text, 'z', 6);
        free(text);
    }
    CHECK_ERR(dmtr_lseek(qd, 0, SEEK_SET), 0);
    CHECK_ERR(dmtr_wait(&qr, q_start_pop(qd)), 0); /* nothing was read from freed memory */
    CHECK_EQ(qr.qr_value.sga.sga_segs[0].sgaseg_len, 10);
    CHECK(memchr(qr.qr_value.sga.sga_segs[0].sgaseg_buf, 'z', 10) == NULL);
    CHECK(memcmp((char *)qr.qr_value.sga.sga_segs[0].sgaseg_buf + 6, "6789", 4) == 0);
    free(qr.qr_value.sga.sga_buf);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(remove(path) == 0 && remove(dir) == 0);
}

/* Closing a queue ends its tokens with ECANCELED; they stay until waited for or dropped. */
static void test_closed(void)
{
    struct sockaddr_in addr, unused;
    int fd, tcp = q_pair_with(&fd, 8192), udp = q_udp(&unused);
    int listener = test_listen(&addr), memory = 0;
    unsigned char *data = (unsigned char *)xmalloc(8 << 20);
    dmtr_qtoken_t qts[8], done;
    static const dmtr_opcode_t ops[8] = {DMTR_OPC_POP,  DMTR_OPC_POP,    DMTR_OPC_PUSH,
                                         DMTR_OPC_PUSH, DMTR_OPC_ACCEPT, DMTR_OPC_POP,
                                         DMTR_OPC_POP,  DMTR_OPC_POP};
    fill(data, 8 << 20, 1, 0);
    CHECK_ERR(dmtr_queue(&memory), 0);
    q_push(memory, data, 1);
    done = q_start_pop(memory);
    qts[0] = q_start_pop(tcp);
    qts[1] = q_start_pop(tcp);
    qts[2] = q_start_push(tcp, data, 8 << 20);
    qts[3] = q_start_push(tcp, data, 5);
    qts[4] = q_start_accept(listener);
    qts[5] = q_start_pop(udp);
    qts[6] = q_start_pop(memory);
    qts[7] = q_start_pop(memory);
    q_progress(5);
    CHECK_ERR(dmtr_close(tcp), 0);
    CHECK_ERR(dmtr_close(listener), 0);
    CHECK_ERR(dmtr_close(udp), 0);
    CHECK_ERR(dmtr_close(memory), 0);
    memset(data, 0xee, 8 << 20);
    free(data);
    CHECK_ERR(dmtr_poll(NULL, qts[7]), ECANCELED);
    DROP(qts[7]);
    for (int i = 0; i < 7; i++)
        q_wait_fails(qts[i], ops[i], ECANCELED);
    CHECK_ERR(dmtr_wait(NULL, done), 0); /* completed before the close */
    CHECK(close(fd) == 0);
}

/* wait_any reports the tokens of a closed queue one by one. */
static void test_closed_wait_any(void)
{
    enum { N = 40 };
    dmtr_qtoken_t qts[N];
    int qds[2] = {0, 0}, n = N;
    CHECK_ERR(dmtr_queue(&qds[0]), 0);
    CHECK_ERR(dmtr_queue(&qds[1]), 0);
    for (int i = 0; i < N; i++)
        qts[i] = q_start_pop(qds[i % 2]);
    CHECK_ERR(dmtr_close(qds[0]), 0);
    for (int i = 0; i < N / 2; i++) {
        dmtr_qresult_t qr;
        int at = -1;
        CHECK_ERR(dmtr_wait_any(&qr, &at, qts, n), ECANCELED);
        CHECK_EQ(qr.qr_qd, qds[0]);
        CHECK_EQ(qr.qr_qt, qts[at]);
        qts[at] = qts[--n];
    }
    for (int i = 0; i < n; i++) {
        CHECK_EQ(QT2QD(qts[i]), qds[1]);
        CHECK_ERR(dmtr_poll(NULL, qts[i]), EAGAIN);
        DROP(qts[i]);
    }
    CHECK_ERR(dmtr_close(qds[1]), 0);
}

/*
 * Neither tokens nor memory are used up by operations that are dropped, or left behind on closed
 * queues.
 */
static void test_no_leak(void)
{
    struct sockaddr_in addr;
    int fd, qd = q_pair(&fd), listener = test_listen(&addr), memory = 0;
    long before = 0;
    CHECK_ERR(dmtr_queue(&memory), 0);
    for (int i = 0; i < 60000; i++) {
        dmtr_qtoken_t qts[3];
        if (i == 20000)
            before = rss_kib();
        qts[0] = q_start_pop(qd);
        qts[1] = q_start_accept(listener);
        qts[2] = q_start_pop(memory);
        for (int k = 0; k < 3; k++)
            CHECK_ERR(dmtr_drop(qts[k]), 0);
    }
    for (int i = 0; i < 20000; i++) { /* nobody asks for these any more */
        int one = 0;
        CHECK_ERR(dmtr_queue(&one), 0);
        q_start_pop(one);
        CHECK_ERR(dmtr_close(one), 0);
    }
    CHECK(rss_kib() - before < 16 << 10);
    CHECK_ERR(dmtr_close(listener), 0);
    CHECK_ERR(dmtr_close(memory), 0);
    finish(qd, fd);
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc < 2)
        run_with_config("files", "posix: {io_uring: false}\n");
    test_init();
    if (argc > 1) {
        test_file();
        return 0;
    }
    test_pending_pop();
    test_pop_in_the_middle();
    test_completed_pop();
    test_completed_pop_stream();
    test_datagram();
    test_pushes();
    test_accepts();
    test_memory_queue();
    test_file();
    test_closed();
    test_closed_wait_any();
    test_no_leak();
    return 0;
}
