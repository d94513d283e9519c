/* dmtr_wait_all */
#include "api/kinds.h"

enum { N = 100 };

static void *push_later(void *arg)
{
    const int *qds = (const int *)arg;
    for (int i = N - 1; i >= 0; i--) {
        if (i % 20 == 0)
            usleep(2000);
        q_push(qds[i], "x", 1);
    }
    return NULL;
}

/* All of them, in their places, whatever the order in which they complete. */
static void test_all(int with_results)
{
    static dmtr_qresult_t qrs[N];
    dmtr_qtoken_t qts[N];
    int qds[N];
    pthread_t t;
    for (int i = 0; i < N; i++) {
        CHECK_ERR(dmtr_queue(&qds[i]), 0);
        qts[i] = q_start_pop(qds[i]);
    }
    start_thread(&t, push_later, qds);
    memset(qrs, 0xee, sizeof qrs);
    CHECK_ERR(dmtr_wait_all(with_results ? qrs : NULL, qts, N), 0);
    join_thread(t);
    for (int i = 0; i < N; i++) {
        if (with_results) {
            CHECK_EQ(qrs[i].qr_opcode, DMTR_OPC_POP);
            CHECK_EQ(qrs[i].qr_qd, qds[i]);
            CHECK_EQ(qrs[i].qr_qt, qts[i]);
        }
        CHECK_ERR(dmtr_poll(NULL, qts[i]), ENOENT);
        CHECK_ERR(dmtr_close(qds[i]), 0);
    }
}

/* The first failure by place is returned, and the rest is waited for all the same. */
static void test_failures(const struct kinds *k)
{
    dmtr_qresult_t qrs[4];
    dmtr_qtoken_t qts[4];
    int closed = 0;
    CHECK_ERR(dmtr_queue(&closed), 0);
    qts[0] = q_start_pop(k->memory);
    qts[1] = q_start_pop(k->connected);
    qts[2] = q_start_pop(closed);
    qts[3] = q_start_pop(k->memory);
    CHECK_ERR(dmtr_close(closed), 0); /* fails earlier, but stands behind */
    CHECK(shutdown(k->peer, SHUT_WR) == 0);
    q_push(k->memory, "a", 1);
    q_push(k->memory, "b", 1);
    CHECK_ERR(dmtr_wait_all(qrs, qts, 4), ECONNABORTED);
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(qrs[i].qr_opcode, DMTR_OPC_POP);
        CHECK_EQ(qrs[i].qr_qd, QT2QD(qts[i]));
        CHECK_EQ(qrs[i].qr_qt, qts[i]);
        CHECK_ERR(dmtr_poll(NULL, qts[i]), ENOENT);
    }
    CHECK_EQ(*(char *)qrs[3].qr_value.sga.sga_segs[0].sgaseg_buf, 'b');
}

static void test_unknown(const struct kinds *k)
{
    dmtr_qresult_t qrs[3];
    dmtr_qtoken_t qts[3] = {q_start_pop(k->memory), 12345, q_start_pop(k->memory)};
    q_push(k->memory, "a", 1);
    q_push(k->memory, "b", 1);
    memset(qrs, 0xee, sizeof qrs);
    CHECK_ERR(dmtr_wait_all(qrs, qts, 3), ENOENT);
    CHECK_EQ(qrs[0].qr_opcode, DMTR_OPC_POP);
    CHECK_EQ(qrs[1].qr_opcode, DMTR_OPC_INVALID);
    CHECK_EQ(qrs[1].qr_qt, 12345);
    CHECK_EQ(qrs[2].qr_opcode, DMTR_OPC_POP);
    CHECK_ERR(dmtr_poll(NULL, qts[2]), ENOENT);
    CHECK_ERR(dmtr_wait_all(NULL, qts, 3), ENOENT);
}

/* Results without takers are released: run with AddressSanitizer. */
static void test_released(void)
{
    int fd, qd = q_pair(&fd);
    dmtr_qtoken_t qts[3];
    for (int i = 0; i < 3; i++) {
        qts[i] = q_start_pop(qd);
        plain_send_message(fd, 1000, 1);
    }
    CHECK_ERR(dmtr_wait_all(NULL, qts, 3), 0);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0);
}

int main(void)
{
    struct kinds k;
    dmtr_qresult_t qr;
    dmtr_qtoken_t qt;
    test_init();
    kinds_open(&k);
    qt = q_start_pop(k.memory);
    CHECK_ERR(dmtr_wait_all(&qr, NULL, 1), EINVAL);
    CHECK_ERR(dmtr_wait_all(&qr, &qt, 0), EINVAL);
    CHECK_ERR(dmtr_wait_all(&qr, &qt, -5), EINVAL);
    CHECK_ERR(dmtr_drop(qt), 0);
    test_all(1);
    test_all(0);
    test_failures(&k);
    test_unknown(&k);
    test_released();
    kinds_close(&k);
    return 0;
}
