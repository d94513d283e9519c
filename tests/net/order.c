/*
 * What several peers send one after the other, while the program does something else, is reported in that
 * order, whichever of their connections had traffic lately. In each wait mode.
 */
#include "net/peer.h"

enum { CONNS = 4, AWAY_US = 50 };

static int fds[CONNS];
static dmtr_qtoken_t qts[CONNS];

/* Takes the next message, which has to be number k of connection i, and starts the next pop. */
static void expect(int i, uint32_t k)
{
    dmtr_qresult_t qr;
    int at = -1;
    CHECK_ERR(dmtr_wait_any(&qr, &at, qts, CONNS), 0);
    CHECK_EQ(at, i);
    check_fill(qr.qr_value.sga.sga_segs[0].sgaseg_buf, 8, k, 0);
    free(qr.qr_value.sga.sga_buf);
    qts[at] = q_start_pop(qr.qr_qd);
}

static void shuffle(int order[CONNS], unsigned *seed)
{
    for (int i = 0; i < CONNS; i++) {
        int k = rand_r(seed) % (i + 1);
        order[i] = order[k];
        order[k] = i;
    }
}

static int tcp_pair(int *fd) { return q_pair(fd); }

static int udp_pair(int *fd)
{
    struct sockaddr_in own, peer;
    int qd = q_udp(&own);
    *fd = plain_udp(&peer);
    CHECK(connect(*fd, ADDR(&own), sizeof own) == 0);
    return qd;
}

static void test_order(int (*pair)(int *fd), int rounds)
{
    unsigned seed = 1;
    int qds[CONNS];
    for (int i = 0; i < CONNS; i++) {
        qds[i] = pair(&fds[i]);
        qts[i] = q_start_pop(qds[i]);
    }
    for (int round = 0; round < rounds; round++) {
        int order[CONNS], lively = rand_r(&seed) % (2 * CONNS);
        for (uint32_t k = 0; lively < CONNS && k < 6; k++) { /* one has all the traffic for a while */
            plain_send_message(fds[lively], 8, k);
            expect(lively, k);
        }
        shuffle(order, &seed);
        for (uint32_t k = 0; k < CONNS; k++)
            plain_send_message(fds[order[k]], 8, k);
        usleep(AWAY_US);
        for (uint32_t k = 0; k < CONNS; k++)
            expect(order[k], k);
    }
    for (int i = 0; i < CONNS; i++) {
        CHECK_ERR(dmtr_close(qds[i]), 0);
        CHECK_ERR(dmtr_drop(qts[i]), 0);
        CHECK(close(fds[i]) == 0);
    }
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        run_again("spin", "DMTR_WAIT", "spin");
        run_again("adaptive", "DMTR_WAIT", "adaptive");
        run_again("block", "DMTR_WAIT", "block");
        return 0;
    }
    fprintf(stderr, "wait mode %s\n", argv[1]);
    test_init();
    int rounds = (int)test_scaled(500);
    test_order(udp_pair, rounds);
    if (!test_own_stack()) /* to which the kernel holds small segments back while the device still has one (autocorking) */
        test_order(tcp_pair, rounds);
    return 0;
}
