/*
 * One echo server, one port: clients that speak message framing and clients that send bare bytes,
 * at the same time. All get their bytes back. The first bytes of a connection decide, however
 * slowly they come in.
 */
#include "net/peer.h"

enum { MESSAGES = 300, LINES = 300, PREFIXES = 9, CLIENTS = 4, CONNECTIONS = 3 + PREFIXES };

static struct sockaddr_in server;
static pthread_barrier_t together;

static void *message_client(void *arg)
{
    static char out[3 * 5000 + 24], in[sizeof out];
    int fd = plain_connect(&server, 0);
    (void)arg;
    pthread_barrier_wait(&together);
    for (uint32_t i = 0; i < MESSAGES; i++) {
        uint32_t nsegs = 1 + i % 3;
        size_t n = frame_build(out, nsegs, SEGS(1 + i * 37 % 5000, i * 101 % 5000, 1 + i % 7), i);
        plain_send(fd, out, n);
        CHECK_EQ(plain_recv(fd, in, n), n);
        CHECK(memcmp(in, out, n) == 0);
    }
    CHECK(close(fd) == 0);
    return NULL;
}

static void *raw_client(void *arg)
{
    int fd = plain_connect(&server, 0);
    (void)arg;
    pthread_barrier_wait(&together);
    for (int i = 0; i < LINES; i++) {
        char line[64];
        int n = snprintf(line, sizeof line, "*1\r\n$4\r\nPING\r\n%d\r\n", i);
        plain_send(fd, line, (size_t)n);
        plain_expect(fd, line, (size_t)n);
    }
    CHECK(close(fd) == 0);
    return NULL;
}

static void send_slowly(int fd, const char *buf, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        plain_send(fd, buf + i, 1);
        usleep(1000);
    }
}

static void *dribbling_client(void *arg)
{
    char frame[64];
    int fd = plain_connect(&server, 0);
    (void)arg;
    pthread_barrier_wait(&together);
    for (uint32_t i = 0; i < 5; i++) {
        size_t n = frame_build(frame, 2, SEGS(3, 5), i);
        send_slowly(fd, frame, n);
        plain_expect(fd, frame, n);
    }
    CHECK(close(fd) == 0);
    return NULL;
}

/*
 * Bytes that begin like the magic 10 10 20 10 and then differ are bare bytes, none of which may be
 * lost.
 */
static void *prefix_client(void *arg)
{
    static const char magic[] = {0x10, 0x10, 0x20};
    (void)arg;
    pthread_barrier_wait(&together);
    for (size_t i = 0; i < PREFIXES; i++) {
        char buf[24];
        size_t same = 1 + i % 3;
        int fd = plain_connect(&server, 0);
        memset(buf, 'x', sizeof buf);
        memcpy(buf, magic, same);
        if (i < 3) {
            plain_send(fd, buf, sizeof buf);
        } else if (i < 6) {
            plain_send(fd, buf, same);
            usleep(5000);
            plain_send(fd, buf + same, sizeof buf - same);
        } else {
            send_slowly(fd, buf, sizeof buf);
        }
        plain_expect(fd, buf, sizeof buf);
        CHECK(close(fd) == 0);
    }
    return NULL;
}

/* The server: a token per connection, which is a pop or the push of what the pop brought. */
static dmtr_qtoken_t qts[1 + CONNECTIONS];
static void *blocks[1 + CONNECTIONS];

static void serve(int listener)
{
    int n = 1, accepted = 0, closed = 0;
    qts[0] = q_start_accept(listener);
    while (closed < CONNECTIONS) {
        dmtr_qresult_t qr;
        int at = -1, err = dmtr_wait_any(&qr, &at, qts, n);
        CHECK(at >= 0 && at < n);
        CHECK_EQ(qr.qr_qt, qts[at]);
        if (err != 0) {
            CHECK_EQ(err, ECONNABORTED);
            CHECK_EQ(qr.qr_opcode, DMTR_OPC_POP);
            CHECK_ERR(dmtr_close(qr.qr_qd), 0);
            closed++;
            n--;
            qts[at] = qts[n];
            blocks[at] = blocks[n];
        } else if (qr.qr_opcode == DMTR_OPC_ACCEPT) {
            CHECK_EQ(at, 0);
            accepted++;
            blocks[n] = NULL;
            qts[n++] = q_start_pop(qr.qr_value.ares.qd);
            CHECK(n <= 1 + CONNECTIONS);
            qts[0] = q_start_accept(listener);
        } else if (qr.qr_opcode == DMTR_OPC_POP) {
            blocks[at] = qr.qr_value.sga.sga_buf;
            CHECK_ERR(dmtr_push(&qts[at], qr.qr_qd, &qr.qr_value.sga), 0);
        } else {
            CHECK_EQ(qr.qr_opcode, DMTR_OPC_PUSH);
            free(blocks[at]);
            qts[at] = q_start_pop(qr.qr_qd);
        }
    }
    CHECK_EQ(accepted, CONNECTIONS);
    CHECK_ERR(dmtr_drop(qts[0]), 0);
    CHECK_ERR(dmtr_close(listener), 0);
}

int main(void)
{
    void *(*const clients[CLIENTS])(void *) = {message_client, raw_client, dribbling_client,
                                               prefix_client};
    pthread_t threads[CLIENTS];
    int listener;
    test_init();
    listener = test_listen(&server);
    CHECK_EQ(pthread_barrier_init(&together, NULL, CLIENTS), 0);
    for (int i = 0; i < CLIENTS; i++)
        start_thread(&threads[i], clients[i], NULL);
    serve(listener);
    for (int i = 0; i < CLIENTS; i++)
        join_thread(threads[i]);
    return 0;
}
