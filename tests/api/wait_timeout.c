/*
 * dmtr_wait_timeout: errors and fields, in each wait mode; never early, not much too late; the
 * token stays.
 */
#include "api/timed.h"

static dmtr_qresult_t qr;

/* A wait that times out: how much later than asked, in ns. */
static uint64_t lateness(dmtr_qtoken_t qt, uint64_t timeout)
{
    uint64_t from = now_ns(), took;
    memset(&qr, 0xee, sizeof qr);
    CHECK_ERR(dmtr_wait_timeout(&qr, qt, timeout), ETIMEDOUT);
    took = now_ns() - from;
    CHECK(took >= timeout);
    CHECK_EQ(qr.qr_opcode, DMTR_OPC_INVALID);
    CHECK_ERR(dmtr_poll(NULL, qt), EAGAIN);
    return took - timeout;
}

static void test_times_out(dmtr_qtoken_t qt)
{
    static const uint64_t timeouts[] = {0, 1, 1000, 100000, 999999, MS, 5 * MS, 33 * MS};
    for (size_t i = 0; i < sizeof timeouts / sizeof timeouts[0]; i++) {
        uint64_t least = UINT64_MAX;
        for (int j = 0; j < 5; j++) {
            uint64_t late = lateness(qt, timeouts[i]);
            least = late < least ? late : least;
            CHECK_ERR(dmtr_wait_timeout(NULL, qt, timeouts[i]), ETIMEDOUT);
        }
        CHECK(least <= LATE_NS);
    }
}

static void check_popped(int qd, dmtr_qtoken_t qt)
{
    CHECK_EQ(qr.qr_opcode, DMTR_OPC_POP);
    CHECK_EQ(qr.qr_qd, qd);
    CHECK_EQ(qr.qr_qt, qt);
    CHECK_EQ(qr.qr_value.sga.sga_numsegs, 1);
    CHECK_EQ(qr.qr_value.sga.sga_segs[0].sgaseg_len, 1);
    CHECK_EQ(*(char *)qr.qr_value.sga.sga_segs[0].sgaseg_buf, 'x');
    CHECK_ERR(dmtr_poll(NULL, qt), ENOENT); /* reported ones are dropped */
}

/* After timeouts, the operations complete and are reported, with whatever timeout. */
static void test_ready(int memory, int connected, int peer, uint64_t timeout)
{
    dmtr_qtoken_t qt = q_start_pop(memory);
    int err;
    lateness(qt, 0);
    lateness(qt, MS);
    q_push(memory, "x", 1);
    memset(&qr, 0xee, sizeof qr);
    CHECK_ERR(dmtr_wait_timeout(&qr, qt, timeout), 0);
    check_popped(memory, qt);

    qt = q_start_pop(connected); /* one that a poll of the network has to complete */
    lateness(qt, 0);
    lateness(qt, MS);
    plain_send(peer, "x", 1);
    for (uint64_t from = now_ns(); (err = dmtr_wait_timeout(&qr, qt, timeout)) == ETIMEDOUT;)
        CHECK(now_ns() - from < SOON_NS);
    CHECK_ERR(err, 0);
    check_popped(connected, qt);
    free(qr.qr_value.sga.sga_buf);

    qt = q_start_push(connected, "y", 1);
    CHECK_ERR(dmtr_wait_timeout(&qr, qt, timeout), 0);
    CHECK_EQ(qr.qr_opcode, DMTR_OPC_PUSH);
    plain_expect(peer, "y", 1);
}

/* Without a result to put it in, what the pop owns is released. */
static void test_null(int connected, int peer)
{
    dmtr_qtoken_t qt = q_start_pop(connected);
    plain_send(peer, "x", 1);
    CHECK_ERR(dmtr_wait_timeout(NULL, qt, LONG_NS), 0);
    CHECK_ERR(dmtr_wait_timeout(NULL, qt, 0), ENOENT);
}

static void test_unknown(uint64_t timeout)
{
    static const dmtr_qtoken_t unknown[] = {0, 1, 0xffffffffffffffffu,
                                            (dmtr_qtoken_t)0x40000000 << 32};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        memset(&qr, 0xee, sizeof qr);
        CHECK_ERR(dmtr_wait_timeout(&qr, unknown[i], timeout), ENOENT);
        CHECK_EQ(qr.qr_opcode, DMTR_OPC_INVALID);
        CHECK_EQ(qr.qr_qt, unknown[i]);
        CHECK_ERR(dmtr_wait_timeout(NULL, unknown[i], timeout), ENOENT);
    }
}

/* The errno of the operation, which the timeout does not change. */
static void test_failures(uint64_t timeout)
{
    int fd, qd = q_pair(&fd), err;
    dmtr_qtoken_t a = q_start_pop(qd), b = q_start_pop(qd);
    CHECK(shutdown(fd, SHUT_WR) == 0);
    for (uint64_t from = now_ns(); (err = dmtr_wait_timeout(&qr, a, timeout)) == ETIMEDOUT;)
        CHECK(now_ns() - from < SOON_NS);
    CHECK_ERR(err, ECONNABORTED);
    CHECK_EQ(qr.qr_opcode, DMTR_OPC_POP);
    CHECK_EQ(qr.qr_qd, qd);
    CHECK_EQ(qr.qr_qt, a);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK_ERR(dmtr_wait_timeout(NULL, a, timeout), ENOENT);
    err = dmtr_wait_timeout(&qr, b, timeout);
    CHECK(err == ECONNABORTED || err == ECANCELED);
    CHECK_EQ(qr.qr_opcode, DMTR_OPC_POP);
    CHECK(close(fd) == 0);
}

/* Ended by another thread, long before the timeout; the largest ones do not overflow. */
static void test_woken(enum act act, uint64_t timeout)
{
    struct actor a = {act, 0, -1, 0, 0};
    uint64_t from = now_ns();
    if (act == ACT_SEND)
        a.qd = q_pair(&a.fd);
    else
        CHECK_ERR(dmtr_queue(&a.qd), 0);
    a.qt = q_start_pop(a.qd);
    start_thread(&a.thread, act_later, &a);
    memset(&qr, 0xee, sizeof qr);
    CHECK_ERR(dmtr_wait_timeout(&qr, a.qt, timeout), act_errno(act));
    CHECK(now_ns() - from < SOON_NS);
    join_thread(a.thread);
    if (act != ACT_DROP)
        CHECK_EQ(qr.qr_opcode, DMTR_OPC_POP);
    if (act == ACT_SEND) {
        check_popped(a.qd, a.qt);
        free(qr.qr_value.sga.sga_buf);
        CHECK(close(a.fd) == 0);
    }
    if (act != ACT_CLOSE)
        CHECK_ERR(dmtr_close(a.qd), 0);
}

static volatile sig_atomic_t signals;

static void count_signal(int sig)
{
    (void)sig;
    signals++;
}

/* Handlers neither end the wait nor make it longer. */
static void test_signals(dmtr_qtoken_t qt)
{
    struct itimerval each = {{0, 2000}, {0, 2000}}, off;
    struct sigaction sa;
    uint64_t least = UINT64_MAX;
    memset(&off, 0, sizeof off);
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = count_signal;
    sa.sa_flags = SA_ONSTACK;
    CHECK(sigaction(SIGVTALRM, &sa, NULL) == 0 && sigaction(SIGUSR1, &sa, NULL) == 0);
    CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
    CHECK(setitimer(ITIMER_REAL, &each, NULL) == 0); /* instead of the watchdog */
    for (int i = 0; i < 5; i++) {
        uint64_t late = lateness(qt, 30 * MS);
        least = late < least ? late : least;
    }
    CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0);
    test_watchdog();
    CHECK(signals >= 20);
    CHECK(least <= LATE_NS);
}

int main(int argc, char **argv)
{
    int memory = 0, idle = 0, peer, connected;
    dmtr_qtoken_t qt;
    if (argc < 2) {
        CHECK_ERR(dmtr_wait_timeout(&qr, 1, 0), EPERM);
        run_in_wait_modes(NULL);
        return 0;
    }
    fprintf(stderr, "mode %s\n", argv[1]);
    test_init();
    CHECK_ERR(dmtr_queue(&memory), 0);
    CHECK_ERR(dmtr_queue(&idle), 0);
    connected = q_pair(&peer);
    qt = q_start_pop(idle);
    test_times_out(qt);
    test_ready(memory, connected, peer, 0);
    test_ready(memory, connected, peer, 1);
    test_ready(memory, connected, peer, 5 * MS);
    test_ready(memory, connected, peer, DMTR_FOREVER);
    test_null(connected, peer);
    qt = q_start_pop(connected); /* a hot socket */
    test_times_out(qt);
    CHECK_ERR(dmtr_drop(qt), 0);
    qt = q_start_pop(idle);
    test_unknown(0);
    test_unknown(LONG_NS);
    test_unknown(DMTR_FOREVER);
    test_failures(0);
    test_failures(DMTR_FOREVER);
    for (int act = ACT_PUSH; act <= ACT_SEND; act++) {
        test_woken((enum act)act, LONG_NS);
        test_woken((enum act)act, DMTR_FOREVER);
        test_woken((enum act)act, DMTR_FOREVER - 1);
        test_woken((enum act)act, (uint64_t)INT64_MAX + 1);
        test_woken((enum act)act, (uint64_t)INT32_MAX * MS); /* over what poll(2) takes */
    }
    test_signals(qt);
    sleeps_quietly(qt);
    CHECK_ERR(dmtr_close(memory), 0);
    CHECK_ERR(dmtr_close(idle), 0);
    CHECK_ERR(dmtr_close(connected), 0);
    CHECK(close(peer) == 0);
    return 0;
}
