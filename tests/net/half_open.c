/*
 * Peers that close one direction, or vanish: what was sent before still comes, the other direction
 * goes on, pushes to a dead peer fail with an errno and never with a signal.
 */
#include "net/peer.h"

static void finish(int qd, int fd)
{
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0);
}

/*
 * FIN after three messages: three pops succeed, then each says ECONNABORTED; pushes still arrive.
 */
static void test_peer_stops_writing(int pops_first)
{
    unsigned char want[64];
    dmtr_qtoken_t qts[6];
    int fd, qd = q_pair(&fd);
    for (int i = 0; i < 6 && pops_first; i++)
        qts[i] = q_start_pop(qd);
    for (uint32_t i = 0; i < 3; i++)
        plain_send_message(fd, sizeof want, i);
    CHECK(shutdown(fd, SHUT_WR) == 0);
    for (int i = 0; i < 6 && !pops_first; i++)
        qts[i] = q_start_pop(qd);
    for (uint32_t i = 0; i < 3; i++) {
        fill(want, sizeof want, i, 0);
        q_wait_is(qts[i], want, sizeof want);
    }
    for (int i = 3; i < 6; i++)
        q_wait_fails(qts[i], DMTR_OPC_POP, ECONNABORTED);
    for (uint32_t i = 0; i < 3; i++) {
        fill(want, sizeof want, i + 7, 0);
        q_push(qd, want, sizeof want);
        plain_expect_message(fd, sizeof want, i + 7);
        CHECK_ERR(q_pop_error(qd), ECONNABORTED);
    }
    finish(qd, fd);
}

static void test_bare_bytes_then_fin(void)
{
    int fd, qd = q_pair(&fd);
    plain_send(fd, "hello", 5);
    CHECK(shutdown(fd, SHUT_WR) == 0);
    q_pop_is(qd, "hello", 5);
    CHECK_ERR(q_pop_error(qd), ECONNABORTED);
    q_push(qd, "bye", 3);
    plain_expect(fd, "bye", 3);
    finish(qd, fd);
}

static void *read_big(void *arg)
{
    plain_expect_message(*(int *)arg, 8 << 20, 5);
    return NULL;
}

/* A big push under way when the peer's FIN comes goes on to its end. */
static void test_push_across_fin(void)
{
    unsigned char *data = (unsigned char *)xmalloc(8 << 20);
    int fd, qd = q_pair_with(&fd, 8192);
    dmtr_qtoken_t pop, push;
    pthread_t t;
    fill(data, 8 << 20, 5, 0);
    pop = q_start_pop(qd);
    push = q_start_push(qd, data, 8 << 20);
    CHECK(shutdown(fd, SHUT_WR) == 0);
    q_wait_fails(pop, DMTR_OPC_POP, ECONNABORTED);
    CHECK_ERR(dmtr_poll(NULL, push), EAGAIN);
    start_thread(&t, read_big, &fd);
    CHECK_ERR(dmtr_wait(NULL, push), 0);
    join_thread(t);
    free(data);
    finish(qd, fd);
}

static int is_dead(int err)
{
    return err == EPIPE || err == ECONNRESET;
}

/* Pushes to a peer that closed: the first few may still be taken, then each fails. */
static void push_until_dead(int qd)
{
    static char data[4096];
    int err = 0;
    for (int i = 0; i < 100 && err == 0; i++) {
        dmtr_qtoken_t qt = q_start_push(qd, data, sizeof data);
        err = dmtr_wait(NULL, qt);
        usleep(1000);
    }
    CHECK(is_dead(err));
    for (int i = 0; i < 3; i++)
        CHECK(is_dead(dmtr_wait(NULL, q_start_push(qd, data, sizeof data))));
}

static void test_dead_peers(void)
{
    int fd, qd = q_pair(&fd);
    CHECK(close(fd) == 0);
    push_until_dead(qd);
    CHECK_ERR(dmtr_close(qd), 0);

    qd = q_pair(&fd);
    plain_reset(fd);
    push_until_dead(qd);
    CHECK_ERR(dmtr_close(qd), 0);

    qd = q_pair(&fd); /* seen by the pop first */
    plain_reset(fd);
    CHECK_ERR(q_pop_error(qd), ECONNRESET);
    push_until_dead(qd);
    CHECK_ERR(dmtr_close(qd), 0);
}

/* Pushes that wait for room when the reset comes fail, each once, and give the memory back. */
static void test_reset_under_pushes(void)
{
    enum { PUSHES = 3 };
    dmtr_qtoken_t qts[PUSHES], pop;
    char *data[PUSHES];
    int fd, qd = q_pair_with(&fd, 8192);
    for (int i = 0; i < PUSHES; i++) {
        data[i] = (char *)calloc(1, 8 << 20);
        CHECK(data[i] != NULL);
        qts[i] = q_start_push(qd, data[i], 8 << 20);
    }
    pop = q_start_pop(qd);
    plain_reset(fd);
    for (int i = 0; i < PUSHES; i++) {
        dmtr_qresult_t qr;
        int at = -1;
        CHECK(is_dead(dmtr_wait_any(&qr, &at, &qts[i], PUSHES - i)));
        CHECK_EQ(at, 0); /* in order */
        CHECK_EQ(qr.qr_opcode, DMTR_OPC_PUSH);
        CHECK_EQ(qr.qr_qt, qts[i]);
        free(data[i]);
    }
    q_wait_fails(pop, DMTR_OPC_POP, ECONNRESET);
    CHECK_ERR(dmtr_close(qd), 0);
}

/* Closing our end: the peer gets all that was pushed, then the end. */
static void test_we_close(void)
{
    char byte;
    int fd, qd = q_pair(&fd);
    q_push(qd, "last words", 10);
    CHECK_ERR(dmtr_close(qd), 0);
    {
        char frame[26];
        CHECK_EQ(plain_recv(fd, frame, sizeof frame), sizeof frame);
        CHECK(memcmp(frame + 16, "last words", 10) == 0);
    }
    CHECK_EQ(recv(fd, &byte, 1, 0), 0);
    CHECK(close(fd) == 0);
}

int main(void)
{
    struct sigaction sa;
    test_init();
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = SIG_DFL;
    CHECK(sigaction(SIGPIPE, &sa, NULL) == 0);
    test_peer_stops_writing(0);
    test_peer_stops_writing(1);
    test_bare_bytes_then_fin();
    test_push_across_fin();
    test_dead_peers();
    test_reset_under_pushes();
    test_we_close();
    CHECK(sigaction(SIGPIPE, NULL, &sa) == 0);
    CHECK(sa.sa_handler == SIG_DFL); /* the library left it alone */
    return 0;
}
