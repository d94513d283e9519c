/*
 * Connections that are too many to be looked at outright: their pops and pushes, in all states in which a
 * pop can be when it is started, dropped, or the connection ends. In each wait mode.
 */
#include "net/peer.h"

#include <dmtr/ext.h>

enum { CONNS = 12, SOME = 100 };

static int fds[CONNS], qds[CONNS];
static dmtr_qtoken_t qts[CONNS];

static dmtr_qtoken_t pop2(int qd, size_t count)
{
    dmtr_qtoken_t qt;
    CHECK_ERR(dmtr_pop2(&qt, qd, count), 0);
    return qt;
}

static void take(int i, uint32_t len, uint32_t k)
{
    dmtr_qresult_t qr;
    int at = -1;
    CHECK_ERR(dmtr_wait_any(&qr, &at, qts, CONNS), 0);
    CHECK_EQ(at, i);
    CHECK_EQ(qr.qr_value.sga.sga_segs[0].sgaseg_len, len);
    check_fill(qr.qr_value.sga.sga_segs[0].sgaseg_buf, len, k, 0);
    free(qr.qr_value.sga.sga_buf);
}

/* Requests and answers on all, in turn, so that none is alone. */
static void traffic(int rounds)
{
    unsigned char answer[SOME];
    for (int k = 0; k < rounds; k++)
        for (int i = 0; i < CONNS; i++) {
            uint32_t len = 1 + (uint32_t)(k * 31 + i) % SOME;
            plain_send_message(fds[i], len, (uint32_t)k);
            take(i, len, (uint32_t)k);
            fill(answer, len, (uint32_t)k, 0);
            q_push(qds[i], answer, len);
            plain_expect_message(fds[i], len, (uint32_t)k);
            qts[i] = q_start_pop(qds[i]);
        }
}

/* A dropped pop leaves the message to the next one; several pops of one queue are served in turn. */
static void test_drop(void)
{
    for (int i = 0; i < CONNS; i++) {
        CHECK_ERR(dmtr_drop(qts[i]), 0);
        plain_send_message(fds[i], 8, 1);
        plain_send_message(fds[i], 9, 2);
        q_progress(1);
        dmtr_qtoken_t first = q_start_pop(qds[i]), second = q_start_pop(qds[i]), third = q_start_pop(qds[i]);
        unsigned char want[9];
        fill(want, 9, 2, 0);
        q_wait_is(second, want, 9);
        CHECK_ERR(dmtr_drop(first), 0); /* completed and unseen: the third gets it */
        fill(want, 8, 1, 0);
        q_wait_is(third, want, 8);
        qts[i] = q_start_pop(qds[i]);
    }
}

static void test_ends(void)
{
    CHECK(close(fds[0]) == 0);
    q_wait_fails(qts[0], DMTR_OPC_POP, ECONNABORTED);
    CHECK_EQ(q_pop_error(qds[0]), ECONNABORTED);
    plain_reset(fds[1]);
    q_wait_fails(qts[1], DMTR_OPC_POP, ECONNRESET);
    CHECK_ERR(dmtr_close(qds[2]), 0);
    q_wait_fails(qts[2], DMTR_OPC_POP, ECANCELED);
    for (int i = 0; i < CONNS; i++) {
        if (i > 2) {
            CHECK_ERR(dmtr_drop(qts[i]), 0);
            qts[i] = pop2(qds[i], 10);
            CHECK_ERR(dmtr_drop(qts[i]), 0);
        }
        if (i != 2)
            CHECK_ERR(dmtr_close(qds[i]), 0);
        if (i > 1)
            CHECK(close(fds[i]) == 0);
    }
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        run_in_wait_modes("modes");
        return 0;
    }
    (void)argv;
    test_init();
    for (int i = 0; i < CONNS; i++) {
        qds[i] = q_pair(&fds[i]);
        qts[i] = q_start_pop(qds[i]);
    }
    traffic(30);
    test_drop();
    traffic(3);
    test_ends();
    return 0;
}
