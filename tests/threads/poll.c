/*
 * Threads poll a token while its owner waits for it, and starts others at once, which may get the
 * same record: what a poll reports is of its token, and it does nothing to another.
 */
#include "api/timed.h"

enum { POLLERS = 2, TOKENS = 50000 };

static dmtr_qtoken_t current;
static int over;
static uint64_t seen;

static void *poller(void *arg)
{
    (void)arg;
    while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
        dmtr_qtoken_t qt = __atomic_load_n(&current, __ATOMIC_ACQUIRE);
        dmtr_qresult_t qr;
        int err;
        memset(&qr, 0xee, sizeof qr);
        err = dmtr_poll(&qr, qt);
        CHECK(err == 0 || err == EAGAIN || err == ENOENT);
        if (err != 0)
            continue;
        CHECK_EQ(qr.qr_qt, qt);
        CHECK_EQ(qr.qr_opcode, DMTR_OPC_POP);
        CHECK_EQ(qr.qr_qd, QT2QD(qt));
        CHECK_EQ(qr.qr_value.sga.sga_numsegs, 1);
        CHECK_EQ((size_t)qr.qr_value.sga.sga_segs[0].sgaseg_buf, (size_t)qt + 1); /* as its owner has pushed it */
        __atomic_fetch_add(&seen, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

/* Pushes what tells of the token that is going to pop it. */
static void push_for(int qd, dmtr_qtoken_t qt)
{
    dmtr_sgarray_t sga = test_sga((void *)(size_t)(qt + 1), 1);
    dmtr_qtoken_t push = 0;
    CHECK_ERR(dmtr_push(&push, qd, &sga), 0);
    CHECK_ERR(dmtr_wait(NULL, push), 0);
}

int main(void)
{
    pthread_t t[POLLERS];
    int qds[2] = {0, 0};
    test_init();
    CHECK_ERR(dmtr_queue(&qds[0]), 0);
    CHECK_ERR(dmtr_queue(&qds[1]), 0);
    for (int i = 0; i < POLLERS; i++)
        start_thread(&t[i], poller, NULL);
    for (uint32_t i = 0, n = test_scaled(TOKENS); i < n || __atomic_load_n(&seen, __ATOMIC_RELAXED) == 0; i++) {
        int qd = qds[i % 2];
        dmtr_qresult_t qr;
        dmtr_qtoken_t qt = q_start_pop(qd);
        push_for(qd, qt);
        __atomic_store_n(&current, qt, __ATOMIC_RELEASE);
        CHECK_ERR(i % 3 == 0 ? dmtr_drop(qt) : dmtr_wait(&qr, qt), 0);
        if (i % 3 == 0) { /* what was not seen goes to the next pop */
            int err = dmtr_wait_timeout(&qr, q_start_pop(qd), 0);
            CHECK(err == 0 || err == ETIMEDOUT);
            CHECK_ERR(dmtr_close(qd), 0);
            CHECK_ERR(dmtr_queue(&qds[i % 2]), 0);
        } else {
            CHECK_EQ((size_t)qr.qr_value.sga.sga_segs[0].sgaseg_buf, (size_t)qt + 1);
        }
    }
    __atomic_store_n(&over, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < POLLERS; i++)
        join_thread(t[i]);
    fprintf(stderr, "%llu results seen\n", (unsigned long long)seen);
    CHECK_ERR(dmtr_close(qds[0]), 0);
    CHECK_ERR(dmtr_close(qds[1]), 0);
    return 0;
}
