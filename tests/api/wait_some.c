/*
 * dmtr_wait_some: everything that has completed in one call, in the order of completion, for short and
 * long arrays, in each wait mode; room, errors and fields.
 */
#include "api/timed.h"

enum { MANY = 3000, DONE = 40 };

static dmtr_qtoken_t qts[MANY];
static int qds[MANY], errs[MANY], places[MANY];
static dmtr_qresult_t qrs[MANY];
static char byte;

/* One pending pop on each queue. */
static void fill_array(int n)
{
    for (int i = 0; i < n; i++) {
        CHECK_ERR(dmtr_queue(&qds[i]), 0);
        qts[i] = q_start_pop(qds[i]);
    }
}

static void close_array(int n)
{
    for (int i = 0; i < n; i++) {
        CHECK_ERR(dmtr_drop(qts[i]), 0);
        CHECK_ERR(dmtr_close(qds[i]), 0);
    }
}

/* Completes the pop at a place. */
static void complete(int at)
{
    dmtr_sgarray_t sga = test_sga(&byte, 1);
    dmtr_qtoken_t qt;
    CHECK_ERR(dmtr_push(&qt, qds[at], &sga), 0);
    CHECK_ERR(dmtr_wait(NULL, qt), 0);
}

static int some(int room, int n, uint64_t timeout, int want)
{
    int got = room;
    memset(qrs, 0xee, sizeof qrs);
    CHECK_ERR(dmtr_wait_some(qrs, errs, places, &got, qts, n, timeout), want);
    CHECK(got <= room);
    return got;
}

/* Reported are those at the places order[from..], of which the pops are started anew. */
static void expect(const int *order, int count)
{
    for (int i = 0; i < count; i++) {
        int at = places[i];
        CHECK_EQ(at, order[i]);
        CHECK_EQ(errs[i], 0);
        CHECK_EQ(qrs[i].qr_opcode, DMTR_OPC_POP);
        CHECK_EQ(qrs[i].qr_qd, qds[at]);
        CHECK(qrs[i].qr_qt == qts[at]);
        CHECK(qrs[i].qr_value.sga.sga_segs[0].sgaseg_buf == &byte);
        CHECK_ERR(dmtr_poll(NULL, qts[at]), ENOENT);
        qts[at] = q_start_pop(qds[at]);
    }
}

/* Several rounds, so that the places are known from before, and others than before. */
static void test_order(int n)
{
    unsigned seed = 1;
    int order[DONE], count = n < DONE ? n : DONE;
    fill_array(n);
    for (int round = 0; round < 50; round++) {
        int step = 1 + 2 * (rand_r(&seed) % 50), at = rand_r(&seed) % n;
        int k = 0;
        for (; k < count; k++) {
            int taken = 0;
            for (int i = 0; i < k; i++)
                taken |= order[i] == at;
            if (taken)
                break;
            complete(at);
            order[k] = at;
            at = (at + step) % n;
        }
        int room = 1 + rand_r(&seed) % (k + 5), got = 0;
        while (got < k) {
            int more = some(room, n, round % 2 ? DMTR_FOREVER : LONG_NS, 0);
            CHECK_EQ(more, room < k - got ? room : k - got);
            expect(order + got, more);
            got += more;
        }
        CHECK_EQ(some(room, n, 0, ETIMEDOUT), 0);
        CHECK_EQ(places[0], -1);
    }
    close_array(n);
}

static void test_fails(int n)
{
    fill_array(n);
    CHECK_ERR(dmtr_close(qds[n - 1]), 0);
    complete(0);
    CHECK_EQ(some(n, n, DMTR_FOREVER, 0), 2);
    CHECK_EQ(places[0], n - 1);
    CHECK_EQ(errs[0], ECANCELED);
    CHECK_EQ(qrs[0].qr_opcode, DMTR_OPC_POP);
    CHECK_EQ(places[1], 0);
    CHECK_EQ(errs[1], 0);
    CHECK_EQ(some(n, n, DMTR_FOREVER, ENOENT), 0); /* both are gone */
    CHECK(places[0] == 0 || places[0] == n - 1);
    qts[0] = q_start_pop(qds[0]);
    close_array(n - 1);
}

static void test_arguments(void)
{
    int got = 1, none = 0, less = -1;
    fill_array(1);
    CHECK_ERR(dmtr_wait_some(NULL, errs, places, &got, qts, 1, 0), EINVAL);
    CHECK_ERR(dmtr_wait_some(qrs, NULL, places, &got, qts, 1, 0), EINVAL);
    CHECK_ERR(dmtr_wait_some(qrs, errs, NULL, &got, qts, 1, 0), EINVAL);
    CHECK_ERR(dmtr_wait_some(qrs, errs, places, NULL, qts, 1, 0), EINVAL);
    CHECK_ERR(dmtr_wait_some(qrs, errs, places, &none, qts, 1, 0), EINVAL);
    CHECK_ERR(dmtr_wait_some(qrs, errs, places, &less, qts, 1, 0), EINVAL);
    CHECK_ERR(dmtr_wait_some(qrs, errs, places, &got, NULL, 1, 0), EINVAL);
    CHECK_ERR(dmtr_wait_some(qrs, errs, places, &got, qts, 0, 0), EINVAL);
    CHECK_EQ(got, 1);
    CHECK_ERR(dmtr_stop(), 0);
    CHECK_EQ(some(1, 1, DMTR_FOREVER, EINTR), 0);
    CHECK_EQ(places[0], -1);
    complete(0);
    CHECK_EQ(some(1, 1, DMTR_FOREVER, 0), 1);
    CHECK_ERR(dmtr_resume(), 0);
    qts[0] = q_start_pop(qds[0]);
    close_array(1);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        int got = 1;
        CHECK_ERR(dmtr_wait_some(qrs, errs, places, &got, qts, 1, 0), EPERM);
        run_in_wait_modes("modes");
        return 0;
    }
    (void)argv;
    test_init();
    test_arguments();
    test_order(3);
    test_order(16);
    test_order(17);
    test_order(MANY);
    test_fails(2);
    test_fails(MANY);
    return 0;
}
