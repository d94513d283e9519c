/*
 * dmtr_wait_any_timeout: errors and fields, in each wait mode and for short and long arrays; never
 * early, not much too late; the tokens stay.
 */
#include "api/timed.h"

#include <limits.h>

enum { MANY = 20000, QUEUES = 100 };

static dmtr_qtoken_t qts[MANY];
static int qds[QUEUES];
static dmtr_qresult_t qr;
static int at;

/* Pops without data, on a few queues; the array holds them in turns. */
static void fill_array(int n)
{
    for (int i = 0; i < n; i++)
        qts[i] = q_start_pop(qds[i % QUEUES]);
}

static void drop_array(int n)
{
    for (int i = 0; i < n; i++)
        CHECK_ERR(dmtr_drop(qts[i]), 0);
}

/* A wait that times out: how much later than asked, in ns. */
static uint64_t lateness(int n, uint64_t timeout)
{
    uint64_t from = now_ns(), took;
    memset(&qr, 0xee, sizeof qr);
    at = 12345;
    CHECK_ERR(dmtr_wait_any_timeout(&qr, &at, qts, n, timeout), ETIMEDOUT);
    took = now_ns() - from;
    CHECK(took >= timeout);
    CHECK_EQ(at, -1);
    CHECK_EQ(qr.qr_opcode, DMTR_OPC_INVALID);
    return took - timeout;
}

static void test_times_out(int n)
{
    static const uint64_t timeouts[] = {0, 1, 100000, 5 * MS};
    fill_array(n);
    for (size_t i = 0; i < sizeof timeouts / sizeof timeouts[0]; i++) {
        uint64_t least = UINT64_MAX;
        for (int j = 0; j < 5; j++) {
            uint64_t late = lateness(n, timeouts[i]);
            least = late < least ? late : least;
            CHECK_ERR(dmtr_wait_any_timeout(NULL, NULL, qts, n, timeouts[i]), ETIMEDOUT);
        }
        CHECK(least <= LATE_NS);
    }
    for (int i = 0; i < n; i++)
        CHECK_ERR(dmtr_poll(NULL, qts[i]), EAGAIN);
    drop_array(n);
}

static void check_found(int n, int want, uint64_t timeout)
{
    memset(&qr, 0xee, sizeof qr);
    at = 12345;
    CHECK_ERR(dmtr_wait_any_timeout(&qr, &at, qts, n, timeout), 0);
    CHECK_EQ(at, want);
    CHECK_EQ(qr.qr_opcode, DMTR_OPC_POP);
    CHECK_EQ(qr.qr_qd, (int)QT2QD(qts[want]));
    CHECK_EQ(qr.qr_qt, qts[want]);
    CHECK_ERR(dmtr_poll(NULL, qts[want]), ENOENT); /* reported ones are dropped */
}

/* A result that is there is reported, whatever the timeout. Queues serve their pops in order. */
static void test_ready(int n, uint64_t timeout)
{
    int step = n > 50 ? n / 7 : 1;
    int own = 0;
    CHECK_ERR(dmtr_queue(&own), 0);
    fill_array(n);
    for (int i = 0; i < n; i += step) {
        dmtr_qtoken_t kept = qts[i];
        qts[i] = q_start_pop(own);
        lateness(n, 0);
        q_push(own, "x", 1);
        check_found(n, i, timeout);
        qts[i] = kept;
    }
    drop_array(n);
    CHECK_ERR(dmtr_close(own), 0);
}

/* The same if waits for other tokens have come across it and passed it over. */
static void test_passed_over(int n, uint64_t timeout)
{
    int step = n > 50 ? n / 5 : 1;
    int own = 0, other = 0;
    dmtr_qtoken_t idle;
    CHECK_ERR(dmtr_queue(&own), 0);
    CHECK_ERR(dmtr_queue(&other), 0);
    idle = q_start_pop(other);
    fill_array(n);
    for (int i = 0; i < n; i += step) {
        dmtr_qtoken_t kept = qts[i];
        qts[i] = q_start_pop(own);
        q_push(own, "x", 1);
        at = 0;
        CHECK_ERR(dmtr_wait_any_timeout(&qr, &at, &idle, 1, 0), ETIMEDOUT);
        CHECK_EQ(at, -1);
        CHECK_ERR(dmtr_wait_timeout(&qr, idle, MS), ETIMEDOUT);
        check_found(n, i, timeout);
        qts[i] = kept;
    }
    drop_array(n);
    CHECK_ERR(dmtr_close(own), 0);
    CHECK_ERR(dmtr_close(other), 0);
}

/* Data from the network, after timeouts, in each place of the array. */
static void test_network(int n, uint64_t timeout)
{
    int fd, qd = q_pair(&fd), err, step = n > 50 ? n / 7 : 1;
    fill_array(n);
    for (int i = 0; i < n; i += step) {
        dmtr_qtoken_t kept = qts[i];
        qts[i] = q_start_pop(qd);
        lateness(n, i % 2 ? 0 : MS);
        plain_send(fd, "x", 1);
        for (uint64_t from = now_ns(); (err = dmtr_wait_any_timeout(&qr, &at, qts, n, timeout)) == ETIMEDOUT;)
            CHECK(now_ns() - from < SOON_NS);
        CHECK_ERR(err, 0);
        CHECK_EQ(at, i);
        CHECK_EQ(qr.qr_qt, qts[i]);
        free(qr.qr_value.sga.sga_buf);
        qts[i] = kept;
    }
    drop_array(n);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0);
}

/* Failures come with all fields. */
static void test_failures(int n, uint64_t timeout)
{
    int fd, qd = q_pair(&fd), err;
    dmtr_qtoken_t kept;
    fill_array(n);
    kept = qts[n / 2];
    qts[n / 2] = q_start_pop(qd);
    CHECK(shutdown(fd, SHUT_WR) == 0);
    for (uint64_t from = now_ns(); (err = dmtr_wait_any_timeout(&qr, &at, qts, n, timeout)) == ETIMEDOUT;)
        CHECK(now_ns() - from < SOON_NS);
    CHECK_ERR(err, ECONNABORTED);
    CHECK_EQ(at, n / 2);
    CHECK_EQ(qr.qr_opcode, DMTR_OPC_POP);
    CHECK_EQ(qr.qr_qd, qd);
    CHECK_EQ(qr.qr_qt, qts[n / 2]);
    qts[n / 2] = kept;
    drop_array(n);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0);
}

static void test_unknown(int n, uint64_t timeout)
{
    fill_array(n);
    for (int i = 0; i < n; i++) {
        dmtr_qtoken_t kept = qts[i];
        qts[i] = i % 2 ? 0 : 0xffffffffffffffffu;
        memset(&qr, 0xee, sizeof qr);
        CHECK_ERR(dmtr_wait_any_timeout(&qr, &at, qts, n, timeout), ENOENT);
        CHECK_EQ(at, i);
        CHECK_EQ(qr.qr_opcode, DMTR_OPC_INVALID);
        CHECK_EQ(qr.qr_qt, qts[i]);
        qts[i] = kept;
    }
    drop_array(n);
}

/* Ended by another thread. */
static void test_woken(int n, enum act act, uint64_t timeout)
{
    struct actor a = {act, 0, -1, 0, 0};
    uint64_t from = now_ns();
    dmtr_qtoken_t kept;
    if (act == ACT_SEND)
        a.qd = q_pair(&a.fd);
    else
        CHECK_ERR(dmtr_queue(&a.qd), 0);
    fill_array(n);
    kept = qts[n - 1];
    qts[n - 1] = a.qt = q_start_pop(a.qd);
    start_thread(&a.thread, act_later, &a);
    memset(&qr, 0xee, sizeof qr);
    CHECK_ERR(dmtr_wait_any_timeout(&qr, &at, qts, n, timeout), act_errno(act));
    CHECK(now_ns() - from < SOON_NS);
    join_thread(a.thread);
    CHECK_EQ(at, n - 1);
    CHECK_EQ(qr.qr_opcode, act == ACT_DROP ? DMTR_OPC_INVALID : DMTR_OPC_POP);
    CHECK_EQ(qr.qr_qd, a.qd);
    CHECK_EQ(qr.qr_qt, a.qt);
    if (act == ACT_SEND) {
        free(qr.qr_value.sga.sga_buf);
        CHECK(close(a.fd) == 0);
    }
    if (act != ACT_CLOSE)
        CHECK_ERR(dmtr_close(a.qd), 0);
    qts[n - 1] = kept;
    drop_array(n);
}

static void test_arguments(void)
{
    CHECK_ERR(dmtr_wait_any_timeout(&qr, &at, NULL, 1, 0), EINVAL);
    CHECK_ERR(dmtr_wait_any_timeout(&qr, &at, qts, 0, 0), EINVAL);
    CHECK_ERR(dmtr_wait_any_timeout(&qr, &at, qts, -1, DMTR_FOREVER), EINVAL);
    CHECK_ERR(dmtr_wait_any_timeout(&qr, &at, qts, INT_MIN, 0), EINVAL);
}

int main(int argc, char **argv)
{
    static const int sizes[] = {1, 16, 17, 300, MANY};
    if (argc < 2) {
        CHECK_ERR(dmtr_wait_any_timeout(&qr, &at, qts, 1, 0), EPERM);
        run_in_wait_modes(NULL);
        return 0;
    }
    fprintf(stderr, "mode %s\n", argv[1]);
    test_init();
    for (int i = 0; i < QUEUES; i++)
        CHECK_ERR(dmtr_queue(&qds[i]), 0);
    test_arguments();
    test_unknown(1, 0);
    test_unknown(16, 0);
    test_unknown(16, DMTR_FOREVER);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        int n = sizes[i];
        test_times_out(n);
        test_ready(n, 0);
        test_ready(n, LONG_NS);
        test_passed_over(n, 0);
        test_passed_over(n, DMTR_FOREVER);
        test_network(n, 0);
        test_network(n, 5 * MS);
        test_failures(n, 0);
        test_failures(n, DMTR_FOREVER);
        for (int act = ACT_PUSH; act <= ACT_SEND; act++)
            test_woken(n, (enum act)act, act % 2 ? LONG_NS : DMTR_FOREVER);
    }
    for (int i = 0; i < QUEUES; i++)
        CHECK_ERR(dmtr_close(qds[i]), 0);
    return 0;
}
