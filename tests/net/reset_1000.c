/*
 * 1,000 connections in one wait_any, every other one reset by its peer: each failure is reported
 * once, with its place, queue and errno, and after the last one the wait goes on to the live
 * connections.
 */
#include "net/peer.h"

#include <sys/resource.h>

enum { N = 1000, DEAD = N / 2, LIVE_READY = 10 };

static int qds[N], fds[N];
static dmtr_qtoken_t qts[N];
static int who[N]; /* connection whose token is at this place */
static char seen[N];

static void *reset_later(void *arg)
{
    (void)arg;
    for (int i = 1; i < N; i += 2) {
        if (i % 100 == 1)
            usleep(2000);
        plain_reset(fds[i]);
    }
    return NULL;
}

static void connect_all(void)
{
    struct sockaddr_in addr;
    int listener = test_listen(&addr);
    for (int i = 0; i < N; i++) {
        fds[i] = plain_connect(&addr, 0);
        qds[i] = q_accept(listener);
        qts[i] = q_start_pop(qds[i]);
        who[i] = i;
        seen[i] = 0;
    }
    CHECK_ERR(dmtr_close(listener), 0);
}

/* Takes one report; *n falls with each failure. Returns the connection. */
static int take(int *n, int want_err)
{
    dmtr_qresult_t qr;
    int at = -1, i;
    memset(&qr, 0xee, sizeof qr);
    CHECK_ERR(dmtr_wait_any(&qr, &at, qts, *n), want_err);
    CHECK(at >= 0 && at < *n);
    i = who[at];
    CHECK_EQ(qr.qr_opcode, DMTR_OPC_POP);
    CHECK_EQ(qr.qr_qt, qts[at]);
    CHECK_EQ(qr.qr_qd, qds[i]);
    CHECK_EQ(seen[i], 0);
    CHECK_ERR(dmtr_poll(NULL, qts[at]), ENOENT);
    if (want_err == 0) {
        CHECK_EQ(qr.qr_value.sga.sga_segs[0].sgaseg_len, 1);
        free(qr.qr_value.sga.sga_buf);
        qts[at] = q_start_pop(qds[i]);
        return i;
    }
    seen[i] = 1;
    CHECK_EQ(i % 2, 1);
    (*n)--;
    qts[at] = qts[*n];
    who[at] = who[*n];
    return i;
}

static void check_live(int n)
{
    CHECK_EQ(n, N - DEAD);
    for (int k = 0; k < n; k++)
        CHECK_ERR(dmtr_poll(NULL, qts[k]), EAGAIN);
    for (int i = 0; i < N; i += 222) {
        plain_send(fds[i], "x", 1);
        CHECK_EQ(take(&n, 0), i);
    }
}

/* A dead queue says so again when asked again, and does not disturb a wait for others. */
static void check_dead(int n)
{
    dmtr_qtoken_t again = q_start_pop(qds[1]);
    int err;
    q_progress(5);
    plain_send(fds[N - 2], "y", 1);
    CHECK_EQ(take(&n, 0), N - 2);
    err = dmtr_wait(NULL, again);
    CHECK(err == ECONNRESET || err == ECONNABORTED);
}

static void close_all(int n)
{
    for (int k = 0; k < n; k++)
        CHECK_ERR(dmtr_drop(qts[k]), 0);
    for (int i = 0; i < N; i++) {
        CHECK_ERR(dmtr_close(qds[i]), 0);
        if (i % 2 == 0)
            CHECK(close(fds[i]) == 0);
    }
}

/* All are reset before the wait; ten live connections have data as well. */
static void test_reset_before(void)
{
    int n = N, failures = 0, served = 0;
    connect_all();
    for (int i = 1; i < N; i += 2)
        plain_reset(fds[i]);
    for (int i = 0; i < LIVE_READY; i++)
        plain_send(fds[i * 2], "x", 1);
    while (failures + served < DEAD + LIVE_READY) {
        dmtr_qresult_t qr;
        int at = -1, err = dmtr_wait_any(&qr, &at, qts, n);
        CHECK(at >= 0 && at < n);
        CHECK_EQ(qr.qr_qt, qts[at]);
        CHECK_EQ(qr.qr_qd, qds[who[at]]);
        CHECK_EQ(seen[who[at]], 0);
        seen[who[at]] = 1;
        if (err == 0) {
            CHECK(who[at] % 2 == 0 && who[at] < 2 * LIVE_READY);
            free(qr.qr_value.sga.sga_buf);
            seen[who[at]] = 0;
            qts[at] = q_start_pop(qr.qr_qd);
            served++;
        } else {
            CHECK_EQ(err, ECONNRESET);
            CHECK_EQ(who[at] % 2, 1);
            n--;
            qts[at] = qts[n];
            who[at] = who[n];
            failures++;
        }
    }
    CHECK_EQ(failures, DEAD);
    CHECK_EQ(served, LIVE_READY);
    check_live(n);
    check_dead(n);
    close_all(n);
}

/* The resets come in while the wait goes on. */
static void test_reset_during(void)
{
    pthread_t t;
    int n = N;
    connect_all();
    start_thread(&t, reset_later, NULL);
    for (int k = 0; k < DEAD; k++)
        take(&n, ECONNRESET);
    join_thread(t);
    check_live(n);
    check_dead(n);
    close_all(n);
}

int main(void)
{
    struct rlimit lim;
    CHECK(getrlimit(RLIMIT_NOFILE, &lim) == 0);
    if (lim.rlim_max < 2 * N + 100)
        skip("fewer than 2,100 descriptors allowed");
    lim.rlim_cur = lim.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &lim) == 0);
    test_init();
    test_reset_before();
    test_reset_during();
    return 0;
}
