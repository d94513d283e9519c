/*
 * Operations started by one thread and waited for by another, on connections that carry data all the
 * while, in each wait mode: every message arrives once and in order.
 */
#include "api/timed.h"

enum { PAIRS = 4, WINDOW = 4, MESSAGE = 200 };

/* What one thread passes to the next; a plain pipe, so that no lock of the library is in between. */
struct job {
    dmtr_qtoken_t qt;
    uint32_t number;
    int pair;
};

static uint32_t messages;
static int clients[PAIRS], servers[PAIRS], pops[PAIRS][2], pushes[PAIRS][2];

static void pass(int *fds, struct job job)
{
    CHECK_EQ(write(fds[1], &job, sizeof job), sizeof job);
}

static int receive(int *fds, struct job *job)
{
    ssize_t n = read(fds[0], job, sizeof *job);
    CHECK(n == 0 || n == sizeof *job);
    return n != 0;
}

/* Starts pops of all connections, in turns. */
static void *start_pops(void *arg)
{
    (void)arg;
    for (uint32_t i = 0; i < messages; i++)
        for (int p = 0; p < PAIRS; p++)
            pass(pops[p], (struct job){q_start_pop(servers[p]), i, p});
    for (int p = 0; p < PAIRS; p++)
        close(pops[p][1]);
    return NULL;
}

static void *start_pushes(void *arg)
{
    (void)arg;
    for (uint32_t i = 0; i < messages; i++)
        for (int p = 0; p < PAIRS; p++) {
            unsigned char *data = (unsigned char *)xmalloc(MESSAGE);
            dmtr_sgarray_t sga = test_sga(data, 1 + i % MESSAGE);
            dmtr_qtoken_t qt = 0;
            fill(data, MESSAGE, i * PAIRS + (uint32_t)p, 0);
            CHECK_ERR(dmtr_push(&qt, clients[p], &sga), 0);
            pass(pushes[p], (struct job){qt, i, p});
        }
    for (int p = 0; p < PAIRS; p++)
        close(pushes[p][1]);
    return NULL;
}

/* Waits for the pushes of one connection, several at a time. */
static void *finish_pushes(void *arg)
{
    int *fds = (int *)arg, n = 0, open = 1;
    dmtr_qtoken_t qts[WINDOW];
    while (open || n > 0) {
        dmtr_qresult_t qr;
        struct job job;
        int at = -1;
        while (n < WINDOW && (open = receive(fds, &job)))
            qts[n++] = job.qt;
        if (n == 0)
            break;
        CHECK_ERR(dmtr_wait_any(&qr, &at, qts, n), 0);
        CHECK_EQ(qr.qr_opcode, DMTR_OPC_PUSH);
        free(qr.qr_value.sga.sga_segs[0].sgaseg_buf);
        qts[at] = qts[--n];
    }
    return NULL;
}

/* Waits for the pops of one connection, one by one, in one way or the other. */
static void *finish_pops(void *arg)
{
    struct job job;
    while (receive((int *)arg, &job)) {
        uint32_t seed = job.number * PAIRS + (uint32_t)job.pair, len = 1 + job.number % MESSAGE;
        dmtr_qresult_t qr;
        int err;
        do
            err = job.number % 3 == 0   ? dmtr_wait(&qr, job.qt)
                  : job.number % 3 == 1 ? dmtr_wait_timeout(&qr, job.qt, MS / 5)
                                        : dmtr_wait_any_timeout(&qr, NULL, &job.qt, 1, MS / 5);
        while (err == ETIMEDOUT);
        CHECK_ERR(err, 0);
        CHECK_EQ(qr.qr_value.sga.sga_segs[0].sgaseg_len, len);
        check_fill(qr.qr_value.sga.sga_segs[0].sgaseg_buf, len, seed, 0);
        free(qr.qr_value.sga.sga_buf);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t starters[2], finishers[2 * PAIRS];
    if (argc < 2) {
        run_in_wait_modes(NULL);
        return 0;
    }
    fprintf(stderr, "mode %s\n", argv[1]);
    test_init();
    messages = test_scaled(2000);
    for (int p = 0; p < PAIRS; p++) {
        test_tcp_pair(&clients[p], &servers[p]);
        CHECK(pipe2(pops[p], O_CLOEXEC) == 0 && pipe2(pushes[p], O_CLOEXEC) == 0);
        start_thread(&finishers[2 * p], finish_pops, pops[p]);
        start_thread(&finishers[2 * p + 1], finish_pushes, pushes[p]);
    }
    start_thread(&starters[0], start_pops, NULL);
    start_thread(&starters[1], start_pushes, NULL);
    join_thread(starters[0]);
    join_thread(starters[1]);
    for (int p = 0; p < 2 * PAIRS; p++)
        join_thread(finishers[p]);
    for (int p = 0; p < PAIRS; p++) {
        CHECK_ERR(dmtr_close(clients[p]), 0);
        CHECK_ERR(dmtr_close(servers[p]), 0);
    }
    return 0;
}
