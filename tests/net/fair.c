/*
 * wait_any is fair, and finds tokens wherever the program puts them in its array. Runs again in the
 * wait mode block, which looks at things less often.
 */
#include "net/peer.h"

enum { CONNS = 8, ROUNDS = 200 };

static int fds[CONNS];
static dmtr_qtoken_t qts[CONNS + 1];

/*
 * Connections with ROUNDS messages each that have arrived, a pop pending on each, tokens from place
 * first on.
 */
static void connect_busy(int qds[CONNS], int first)
{
    for (int i = 0; i < CONNS; i++) {
        qds[i] = q_pair(&fds[i]);
        for (uint32_t k = 0; k < ROUNDS; k++)
            plain_send_message(fds[i], 8, k);
        qts[first + i] = q_start_pop(qds[i]);
    }
    if (test_own_stack()) /* where only polling brings them */
        q_progress(50);
}

static void disconnect(const int qds[CONNS])
{
    for (int i = 0; i < CONNS; i++) {
        CHECK_ERR(dmtr_close(qds[i]), 0);
        CHECK(close(fds[i]) == 0);
    }
}

static int take(dmtr_qresult_t *qr, int n)
{
    int at = -1;
    CHECK_ERR(dmtr_wait_any(qr, &at, qts, n), 0);
    CHECK(at >= 0 && at < n);
    CHECK_EQ(qr->qr_qt, qts[at]);
    return at;
}

/* Eight connections that always have data: each is served within two rounds. */
static void test_connections(void)
{
    int qds[CONNS], last[CONNS] = {0}, count[CONNS] = {0};
    connect_busy(qds, 0);
    for (int i = 0; i < CONNS * ROUNDS; i++) {
        dmtr_qresult_t qr;
        int at = take(&qr, CONNS);
        check_fill(qr.qr_value.sga.sga_segs[0].sgaseg_buf, 8, (uint32_t)count[at], 0);
        free(qr.qr_value.sga.sga_buf);
        count[at]++;
        last[at] = i;
        for (int k = 0; k < CONNS; k++)
            CHECK(count[k] == ROUNDS || i - last[k] <= 2 * CONNS);
        qts[at] = q_start_pop(qds[at]);
    }
    disconnect(qds);
    for (int i = 0; i < CONNS; i++)
        CHECK_ERR(dmtr_drop(qts[i]), 0);
}

/*
 * A memory queue that is always ready, and connections that always are: neither starves the other.
 */
static void test_memory_queue_and_connections(void)
{
    int qds[CONNS], memory = 0, since_memory = 0, since_net = 0, served = 0;
    CHECK_ERR(dmtr_queue(&memory), 0);
    q_push(memory, "x", 1);
    qts[0] = q_start_pop(memory);
    connect_busy(qds, 1);
    while (served < CONNS * ROUNDS / 2) {
        dmtr_qresult_t qr;
        int at = take(&qr, CONNS + 1);
        if (at == 0) {
            since_memory = 0;
            CHECK(++since_net <= 300);
            q_push(memory, "x", 1);
            qts[0] = q_start_pop(memory);
        } else {
            since_net = 0;
            CHECK(++since_memory <= 2 * (CONNS + 1));
            free(qr.qr_value.sga.sga_buf);
            qts[at] = q_start_pop(qds[at - 1]);
            served++;
        }
    }
    disconnect(qds);
    CHECK_ERR(dmtr_close(memory), 0);
    for (int i = 0; i < CONNS + 1; i++)
        CHECK_ERR(dmtr_drop(qts[i]), 0);
}

/* Data that comes to an idle connection is seen although a memory queue is always ready. */
static void test_newcomer(void)
{
    int fd, qd = q_pair(&fd), memory = 0, waits = 0;
    dmtr_qresult_t qr;
    CHECK_ERR(dmtr_queue(&memory), 0);
    qts[1] = q_start_pop(qd);
    for (int i = 0; i < 5000; i++) {
        if (i == 4000)
            plain_send(fd, "x", 1);
        q_push(memory, "x", 1);
        qts[0] = q_start_pop(memory);
        if (take(&qr, 2) == 1) {
            free(qr.qr_value.sga.sga_buf);
            CHECK_ERR(dmtr_wait(NULL, qts[0]), 0);
            waits = i;
            break;
        }
    }
    CHECK(waits >= 4000 && waits < 4300);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK_ERR(dmtr_close(memory), 0);
    CHECK(close(fd) == 0);
}

static unsigned seed = 12345;

static int any(int n)
{
    return rand_r(&seed) % n;
}

/* Tokens change places between the calls in every way a program may think of. */
static void test_places(int n, int rounds)
{
    dmtr_qtoken_t *at = (dmtr_qtoken_t *)xmalloc((size_t)n * sizeof *at);
    int *qds = (int *)xmalloc((size_t)n * sizeof *qds), total = n;
    for (int i = 0; i < n; i++) {
        CHECK_ERR(dmtr_queue(&qds[i]), 0);
        at[i] = q_start_pop(qds[i]);
    }
    for (int round = 0; round < rounds; round++) {
        int ready[3], nready = 1 + any(3), how = any(5);
        for (int i = 0; i < nready; i++) {
            ready[i] = (int)QT2QD(at[any(n)]);
            for (int k = 0; k < i; k++)
                if (ready[k] == ready[i])
                    nready = i;
            if (i < nready)
                q_push(ready[i], "x", 1);
        }
        if (how == 0) { /* turn a part round */
            int from = any(n), len = 1 + any(n - from < 50 ? n - from : 50);
            dmtr_qtoken_t first = at[from];
            memmove(&at[from], &at[from + 1], (size_t)(len - 1) * sizeof *at);
            at[from + len - 1] = first;
        } else if (how == 1) {
            for (int i = 0; i < 10; i++) {
                int a = any(n), b = any(n);
                dmtr_qtoken_t t = at[a];
                at[a] = at[b];
                at[b] = t;
            }
        }
        for (int i = 0; i < nready; i++) {
            dmtr_qresult_t qr;
            int where = -1;
            CHECK_ERR(dmtr_wait_any(&qr, &where, at, n), 0);
            CHECK(where >= 0 && where < n);
            CHECK_EQ(qr.qr_qt, at[where]);
            CHECK_EQ(qr.qr_qd, ready[i]); /* in the order of completion */
            if (how == 2) {
                at[where] = q_start_pop(qr.qr_qd);
            } else if (how == 3) { /* remove by shifting, append */
                memmove(&at[where], &at[where + 1], (size_t)(n - where - 1) * sizeof *at);
                at[n - 1] = q_start_pop(qr.qr_qd);
            } else { /* remove by the last one, append */
                at[where] = at[n - 1];
                at[n - 1] = q_start_pop(qr.qr_qd);
            }
        }
    }
    for (int i = 0; i < total; i++)
        CHECK_ERR(dmtr_close(qds[i]), 0);
    for (int i = 0; i < total; i++)
        CHECK_ERR(dmtr_drop(at[i]), 0);
    free(at);
    free(qds);
}

static void *send_later(void *arg)
{
    usleep(3000);
    plain_send(*(int *)arg, "x", 1);
    return NULL;
}

/*
 * Completed tokens that the caller did not put into the array neither come up nor get lost, nor
 * keep the wait from sleeping or from waking. In every round there are some new ones.
 */
static void test_others_completed(void)
{
    enum { ROUNDS = 30, OTHERS = 7 };
    dmtr_qtoken_t others[ROUNDS][OTHERS], failed;
    int memory = 0, closed = 0, idle = 0, fd, qd = q_pair(&fd);
    CHECK_ERR(dmtr_queue(&memory), 0);
    CHECK_ERR(dmtr_queue(&idle), 0);
    CHECK_ERR(dmtr_queue(&closed), 0);
    failed = q_start_pop(closed);
    CHECK_ERR(dmtr_close(closed), 0);
    qts[0] = q_start_pop(idle);
    for (int i = 0; i < ROUNDS; i++) {
        dmtr_qresult_t qr;
        pthread_t t;
        for (int k = 0; k < OTHERS; k++) {
            q_push(memory, "x", 1);
            others[i][k] = q_start_pop(memory);
        }
        qts[1] = q_start_pop(qd);
        start_thread(&t, send_later, &fd);
        CHECK_EQ(take(&qr, 2), 1);
        free(qr.qr_value.sga.sga_buf);
        join_thread(t);
    }
    for (int i = 0; i < ROUNDS; i++)
        for (int k = OTHERS - 1; k >= 0; k--)
            CHECK_ERR(dmtr_wait(NULL, others[i][k]), 0);
    CHECK_ERR(dmtr_wait(NULL, failed), ECANCELED);
    CHECK_ERR(dmtr_drop(qts[0]), 0);
    CHECK_ERR(dmtr_close(idle), 0);
    CHECK_ERR(dmtr_close(memory), 0);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0);
}

static void *send_to_all(void *arg)
{
    usleep(3000);
    for (int i = 0; i < CONNS; i++)
        plain_send(((int *)arg)[i], "x", 1);
    return NULL;
}

/*
 * Data comes to many connections at once while the wait sleeps; only the pop of the last one is in
 * the array, at another place each time.
 */
static void test_others_complete_meanwhile(void)
{
    dmtr_qtoken_t pops[CONNS], idle[CONNS];
    int qds[CONNS], memory = 0;
    CHECK_ERR(dmtr_queue(&memory), 0);
    for (int i = 0; i < CONNS; i++) {
        qds[i] = q_pair(&fds[i]);
        idle[i] = q_start_pop(memory);
    }
    for (int round = 0; round < 30; round++) {
        dmtr_qresult_t qr;
        pthread_t t;
        int place = round * 3 % (CONNS - 1);
        for (int i = 0; i < CONNS; i++) {
            pops[i] = q_start_pop(qds[i]);
            qts[i] = idle[i];
        }
        qts[place] = pops[CONNS - 1];
        start_thread(&t, send_to_all, fds);
        CHECK_EQ(take(&qr, CONNS), place);
        free(qr.qr_value.sga.sga_buf);
        join_thread(t);
        for (int i = 0; i < CONNS - 1; i++)
            q_wait_is(pops[i], "x", 1);
    }
    for (int i = 0; i < CONNS; i++) {
        CHECK_ERR(dmtr_drop(idle[i]), 0);
        CHECK_ERR(dmtr_close(qds[i]), 0);
        CHECK(close(fds[i]) == 0);
    }
    CHECK_ERR(dmtr_close(memory), 0);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        run_again("default", NULL, NULL);
        run_again("block", "DMTR_WAIT", "block");
        return 0;
    }
    fprintf(stderr, "wait mode %s\n", argv[1]);
    test_init();
    test_connections();
    test_memory_queue_and_connections();
    test_newcomer();
    test_places(5, 3000);
    test_places(64, 10000);
    test_places(10000, 2000);
    test_others_completed();
    test_others_complete_meanwhile();
    return 0;
}
