/*
 * dmtr_wait_any: errors, fields and order (fairness and places: net/fair; many failures:
 * net/reset_1000)
 */
#include "api/kinds.h"

enum { LONG = 100 };

static void open_queues(int *qds, dmtr_qtoken_t *qts, int n)
{
    for (int i = 0; i < n; i++) {
        CHECK_ERR(dmtr_queue(&qds[i]), 0);
        qts[i] = q_start_pop(qds[i]);
    }
}

static void close_queues(const int *qds, int n)
{
    for (int i = 0; i < n; i++)
        CHECK_ERR(dmtr_close(qds[i]), 0);
}

static void check_unknown(dmtr_qtoken_t *qts, int n, int where)
{
    dmtr_qresult_t qr;
    int at = -1;
    memset(&qr, 0xee, sizeof qr);
    CHECK_ERR(dmtr_wait_any(&qr, &at, qts, n), ENOENT);
    CHECK_EQ(at, where);
    CHECK_EQ(qr.qr_qt, qts[where]);
    CHECK_EQ(qr.qr_qd, (int)QT2QD(qts[where]));
    CHECK_EQ(qr.qr_opcode, DMTR_OPC_INVALID);
    CHECK_ERR(dmtr_wait_any(NULL, NULL, qts, n), ENOENT);
}

/* A token that does not exist, at each place of a short array and some of a long one. */
static void test_unknown(int n, int step)
{
    dmtr_qtoken_t qts[LONG], kept, stale;
    int qds[LONG];
    open_queues(qds, qts, n);
    stale = q_start_pop(qds[0]);
    CHECK_ERR(dmtr_drop(stale), 0);
    for (int i = 0; i < n; i += step) {
        kept = qts[i];
        qts[i] = stale;
        check_unknown(qts, n, i);
        qts[i] = 0;
        check_unknown(qts, n, i);
        qts[i] = 0xffffffffffffffffu;
        check_unknown(qts, n, i);
        qts[i] = kept;
    }
    for (int i = 0; i < n; i++) /* the others are as they were */
        CHECK_ERR(dmtr_poll(NULL, qts[i]), EAGAIN);
    close_queues(qds, n);
}

/* One found ready before it is served first. */
static void test_ready_before_unknown(void)
{
    dmtr_qtoken_t qts[3];
    int qds[3], at = -1;
    open_queues(qds, qts, 3);
    CHECK_ERR(dmtr_drop(qts[1]), 0);
    q_push(qds[0], "x", 1);
    CHECK_ERR(dmtr_wait_any(NULL, &at, qts, 3), 0);
    CHECK_EQ(at, 0);
    close_queues(qds, 3);
}

static void test_order(int n)
{
    dmtr_qtoken_t qts[LONG], before[LONG];
    int qds[LONG];
    open_queues(qds, qts, n);
    for (int i = 0; i < n; i++)
        q_push(qds[i * 7 % n], "x", 1);
    for (int i = 0; i < n; i++) {
        dmtr_qresult_t qr;
        int at = i * 31; /* not read */
        memcpy(before, qts, sizeof before);
        memset(&qr, 0xee, sizeof qr);
        CHECK_ERR(dmtr_wait_any(i % 5 == 4 ? NULL : &qr, i % 7 == 6 ? NULL : &at, qts, n), 0);
        CHECK(memcmp(before, qts, sizeof before) == 0);
        if (i % 7 != 6)
            CHECK_EQ(at, i * 7 % n);
        if (i % 5 != 4) {
            CHECK_EQ(qr.qr_opcode, DMTR_OPC_POP);
            CHECK_EQ(qr.qr_qd, qds[i * 7 % n]);
            CHECK_EQ(qr.qr_qt, qts[i * 7 % n]);
            CHECK_EQ(qr.qr_value.sga.sga_numsegs, 1);
        }
        CHECK_ERR(dmtr_poll(NULL, qts[i * 7 % n]), ENOENT); /* reported ones are dropped */
        qts[i * 7 % n] = q_start_pop(qds[i * 7 % n]);
    }
    close_queues(qds, n);
}

/* Failures come with all fields, between successes. */
static void test_failures(const struct kinds *k)
{
    dmtr_qtoken_t qts[3] = {q_start_pop(k->memory), q_start_pop(k->connected),
                            q_start_accept(k->listener)};
    dmtr_qresult_t qr;
    int at = -1;
    CHECK(shutdown(k->peer, SHUT_WR) == 0);
    CHECK_ERR(dmtr_wait_any(&qr, &at, qts, 3), ECONNABORTED);
    CHECK_EQ(at, 1);
    CHECK_EQ(qr.qr_opcode, DMTR_OPC_POP);
    CHECK_EQ(qr.qr_qd, k->connected);
    CHECK_EQ(qr.qr_qt, qts[1]);
    CHECK_ERR(dmtr_poll(NULL, qts[1]), ENOENT);
    qts[1] = q_start_pop(k->memory);
    q_push(k->memory, "x", 1);
    CHECK_ERR(dmtr_wait_any(&qr, &at, qts, 3), 0);
    CHECK_EQ(at, 0);
    CHECK_ERR(dmtr_drop(qts[1]), 0);
    CHECK_ERR(dmtr_drop(qts[2]), 0);
}

int main(void)
{
    struct kinds k;
    dmtr_qresult_t qr;
    dmtr_qtoken_t qt;
    int at = 0;
    test_init();
    kinds_open(&k);
    qt = q_start_pop(k.memory);
    CHECK_ERR(dmtr_wait_any(&qr, &at, NULL, 1), EINVAL);
    CHECK_ERR(dmtr_wait_any(&qr, &at, &qt, 0), EINVAL);
    CHECK_ERR(dmtr_wait_any(&qr, &at, &qt, -1), EINVAL);
    CHECK_ERR(dmtr_wait_any(&qr, &at, &qt, INT_MIN), EINVAL);
    CHECK_ERR(dmtr_drop(qt), 0);
    test_unknown(1, 1);
    test_unknown(5, 1);
    test_unknown(16, 5);
    test_unknown(17, 8);
    test_unknown(LONG, 33);
    test_ready_before_unknown();
    test_order(1);
    test_order(5);
    test_order(16);
    test_order(LONG);
    test_failures(&k);
    kinds_close(&k);
    return 0;
}
