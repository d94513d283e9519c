/*
 * Several threads in the library, in each wait mode: calls of one wake the waits of another, and
 * all finish their work.
 */
#include "net/peer.h"

#include <sys/resource.h>
#include <time.h>

enum { PAUSE_US = 20000 };

/* ---- a worker that asks the main thread, which sits in wait_any, connects and accepts ---- */

enum { REQUESTS = 300 };

static int requests, replies;

static void *worker(void *arg)
{
    (void)arg;
    for (int i = 0; i < REQUESTS; i++) {
        dmtr_qresult_t qr;
        int number = i;
        if (i % 50 == 0)
            usleep(2000); /* let the others fall asleep */
        q_push(requests, &number, sizeof number);
        CHECK_ERR(dmtr_wait(&qr, q_start_pop(replies)), 0);
        CHECK_EQ(*(int *)qr.qr_value.sga.sga_segs[0].sgaseg_buf, 2 * i);
        free(qr.qr_value.sga.sga_segs[0].sgaseg_buf);
    }
    return NULL;
}

/* Doubles a number by way of a connection to our own listener. */
static void answer(int number, int listener, const struct sockaddr_in *addr)
{
    int client = 0, server = 0, *result = (int *)xmalloc(sizeof *result);
    dmtr_qresult_t qr;
    test_tcp_connect(listener, addr, &client, &server);
    q_push(client, &number, sizeof number);
    CHECK_ERR(dmtr_wait(&qr, q_start_pop(server)), 0);
    memcpy(result, qr.qr_value.sga.sga_segs[0].sgaseg_buf, sizeof *result);
    *result *= 2;
    free(qr.qr_value.sga.sga_buf);
    CHECK_ERR(dmtr_close(client), 0);
    CHECK_ERR(dmtr_close(server), 0);
    q_push(replies, result, sizeof *result);
}

static void test_worker(void)
{
    struct sockaddr_in addr, idle_addr;
    int listener = test_listen(&addr), idle = test_listen(&idle_addr);
    dmtr_qtoken_t qts[2];
    pthread_t t;
    CHECK_ERR(dmtr_queue(&requests), 0);
    CHECK_ERR(dmtr_queue(&replies), 0);
    qts[0] = q_start_accept(idle);
    qts[1] = q_start_pop(requests);
    start_thread(&t, worker, NULL);
    for (int i = 0; i < REQUESTS; i++) {
        dmtr_qresult_t qr;
        int at = -1;
        CHECK_ERR(dmtr_wait_any(&qr, &at, qts, 2), 0);
        CHECK_EQ(at, 1);
        answer(*(int *)qr.qr_value.sga.sga_segs[0].sgaseg_buf, listener, &addr);
        if (i + 1 < REQUESTS)
            qts[1] = q_start_pop(requests);
    }
    join_thread(t);
    CHECK_ERR(dmtr_drop(qts[0]), 0);
    CHECK_ERR(dmtr_close(idle), 0);
    CHECK_ERR(dmtr_close(listener), 0);
    CHECK_ERR(dmtr_close(requests), 0);
    CHECK_ERR(dmtr_close(replies), 0);
}

/* ---- waits that another thread ends ---- */

struct waiter {
    int n;              /* tokens of a wait_any, or 0 for dmtr_wait */
    dmtr_qtoken_t *qts; /* the one that matters is the last */
    int err, at;
    dmtr_qresult_t qr;
};

static void *wait_for_it(void *arg)
{
    struct waiter *w = (struct waiter *)arg;
    w->at = -1;
    memset(&w->qr, 0xee, sizeof w->qr);
    if (w->n == 0)
        w->err = dmtr_wait(&w->qr, w->qts[0]);
    else
        w->err = dmtr_wait_any(&w->qr, &w->at, w->qts, w->n);
    return NULL;
}

enum act { PUSH, CLOSE, DROP };

static void test_wake(int n, enum act act)
{
    dmtr_qtoken_t qts[64];
    int qds[64], last = n > 0 ? n - 1 : 0;
    struct waiter w;
    pthread_t t;
    for (int i = 0; i <= last; i++) {
        CHECK_ERR(dmtr_queue(&qds[i]), 0);
        qts[i] = q_start_pop(qds[i]);
    }
    w.n = n;
    w.qts = qts;
    start_thread(&t, wait_for_it, &w);
    usleep(PAUSE_US);
    if (act == PUSH)
        q_push(qds[last], "x", 1);
    else if (act == CLOSE)
        CHECK_ERR(dmtr_close(qds[last]), 0);
    else
        CHECK_ERR(dmtr_drop(qts[last]), 0);
    join_thread(t);
    CHECK_ERR(w.err, act == PUSH ? 0 : act == CLOSE ? ECANCELED : ENOENT);
    CHECK_EQ(w.at, n > 0 ? last : -1);
    if (n > 0 || act != DROP) {
        CHECK_EQ(w.qr.qr_opcode, act == DROP ? DMTR_OPC_INVALID : DMTR_OPC_POP);
        CHECK_EQ(w.qr.qr_qd, qds[last]);
        CHECK_EQ(w.qr.qr_qt, qts[last]);
    }
    for (int i = 0; i < last; i++)
        CHECK_ERR(dmtr_poll(NULL, qts[i]), EAGAIN);
    for (int i = 0; i <= last; i++)
        CHECK_ERR(dmtr_close(qds[i]), act == CLOSE && i == last ? ENOENT : 0);
}

/*
 * The same for sockets: accept and pop waits ended by close and drop, and by a connect of this
 * thread.
 */
static void test_wake_sockets(void)
{
    struct sockaddr_in addr;
    int listener = test_listen(&addr), fd, qd = q_pair(&fd), client = 0;
    dmtr_qtoken_t qts[3];
    struct waiter w;
    pthread_t t;
    w.n = 3;
    w.qts = qts;
    qts[0] = q_start_pop(qd);
    qts[1] = q_start_accept(listener);
    qts[2] = q_start_pop(qd);
    start_thread(&t, wait_for_it, &w);
    usleep(PAUSE_US);
    CHECK_ERR(dmtr_socket(&client, AF_INET, SOCK_STREAM, 0), 0);
    CHECK_ERR(dmtr_connect(client, ADDR(&addr), sizeof addr), 0);
    join_thread(t);
    CHECK_ERR(w.err, 0);
    CHECK_EQ(w.at, 1);
    CHECK_ERR(dmtr_close(w.qr.qr_value.ares.qd), 0);
    CHECK_ERR(dmtr_close(client), 0);

    qts[1] = q_start_accept(listener);
    start_thread(&t, wait_for_it, &w);
    usleep(PAUSE_US);
    CHECK_ERR(dmtr_close(listener), 0);
    join_thread(t);
    CHECK_ERR(w.err, ECANCELED);
    CHECK_EQ(w.at, 1);
    CHECK_EQ(w.qr.qr_opcode, DMTR_OPC_ACCEPT);

    qts[1] = q_start_pop(qd);
    start_thread(&t, wait_for_it, &w);
    usleep(PAUSE_US);
    CHECK_ERR(dmtr_drop(qts[1]), 0);
    join_thread(t);
    CHECK_ERR(w.err, ENOENT);
    CHECK_EQ(w.at, 1);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0);
}

/* ---- two threads that wait for different connections ---- */

static void test_two_waiters(void)
{
    int fds[2], qds[2] = {q_pair(&fds[0]), q_pair(&fds[1])};
    for (int round = 0; round < 20; round++) {
        dmtr_qtoken_t qts[2] = {q_start_pop(qds[0]), q_start_pop(qds[1])};
        struct waiter w[2];
        pthread_t t[2];
        int first = round % 2;
        for (int i = 0; i < 2; i++) {
            w[i].n = round % 4 < 2 ? 0 : 1;
            w[i].qts = &qts[i];
            start_thread(&t[i], wait_for_it, &w[i]);
        }
        usleep(1000);
        for (int i = 0; i < 2; i++) {
            int which = i == 0 ? first : 1 - first;
            plain_send(fds[which], "x", 1);
            join_thread(t[which]);
            CHECK_ERR(w[which].err, 0);
            CHECK_EQ(w[which].qr.qr_qd, qds[which]);
            free(w[which].qr.qr_value.sga.sga_buf);
        }
    }
    for (int i = 0; i < 2; i++) {
        CHECK_ERR(dmtr_close(qds[i]), 0);
        CHECK(close(fds[i]) == 0);
    }
}

/* ---- work in parallel ---- */

static void *echo_alone(void *arg)
{
    int client = 0, server = 0;
    (void)arg;
    test_tcp_pair(&client, &server);
    for (uint32_t i = 0; i < 500; i++) {
        unsigned char data[100];
        fill(data, sizeof data, i, 0);
        q_push(client, data, sizeof data);
        q_pop_is(server, data, sizeof data);
        q_push(server, data, 1 + i % 100);
        q_pop_is(client, data, 1 + i % 100);
    }
    CHECK_ERR(dmtr_close(client), 0);
    CHECK_ERR(dmtr_close(server), 0);
    return NULL;
}

static void test_parallel_echoes(void)
{
    pthread_t t[3];
    for (int i = 0; i < 3; i++)
        start_thread(&t[i], echo_alone, NULL);
    for (int i = 0; i < 3; i++)
        join_thread(t[i]);
}

enum { ITEMS = 3000, HANDS = 2 };
static int line;
static char taken[HANDS * ITEMS];

static void *produce(void *arg)
{
    for (int i = 0; i < ITEMS; i++)
        q_push(line, &taken[*(int *)arg * ITEMS + i], 1);
    return NULL;
}

static void *consume(void *arg)
{
    (void)arg;
    for (int i = 0; i < ITEMS; i++) {
        dmtr_qresult_t qr;
        CHECK_ERR(dmtr_wait(&qr, q_start_pop(line)), 0);
        ++*(char *)qr.qr_value.sga.sga_segs[0].sgaseg_buf;
    }
    return NULL;
}

/* Every item of two producers comes to one of two consumers, once. */
static void test_producers(void)
{
    pthread_t t[2 * HANDS];
    int ids[HANDS];
    memset(taken, 0, sizeof taken);
    CHECK_ERR(dmtr_queue(&line), 0);
    for (int i = 0; i < HANDS; i++) {
        ids[i] = i;
        start_thread(&t[i], consume, NULL);
        start_thread(&t[HANDS + i], produce, &ids[i]);
    }
    for (int i = 0; i < 2 * HANDS; i++)
        join_thread(t[i]);
    for (int i = 0; i < HANDS * ITEMS; i++)
        CHECK_EQ(taken[i], 1);
    CHECK_ERR(dmtr_close(line), 0);
}

/* ---- a blocked wait uses no processor ---- */

static long cpu_us(void)
{
    struct rusage u;
    CHECK(getrusage(RUSAGE_SELF, &u) == 0);
    return (long)((u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000L + u.ru_utime.tv_usec +
                  u.ru_stime.tv_usec);
}

static void test_sleeps(void)
{
    int fd, qd = q_pair(&fd);
    dmtr_qtoken_t qt = q_start_pop(qd);
    struct waiter w;
    pthread_t t;
    long before = cpu_us();
    w.n = 1;
    w.qts = &qt;
    start_thread(&t, wait_for_it, &w);
    usleep(400000);
    CHECK(cpu_us() - before < 100000);
    plain_send(fd, "x", 1);
    join_thread(t);
    CHECK_ERR(w.err, 0);
    free(w.qr.qr_value.sga.sga_buf);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        run_in_wait_modes(NULL);
        return 0;
    }
    fprintf(stderr, "mode %s\n", argv[1]);
    test_init();
    test_worker();
    for (int act = PUSH; act <= DROP; act++) {
        test_wake(0, (enum act)act);
        test_wake(1, (enum act)act);
        test_wake(3, (enum act)act);
        test_wake(40, (enum act)act);
    }
    test_wake_sockets();
    test_two_waiters();
    test_parallel_echoes();
    test_producers();
    if (strcmp(argv[1], "spin") != 0)
        test_sleeps();
    return 0;
}
