/*
 * dmtr_stop and dmtr_resume, in each wait mode: no wait blocks in between, whichever thread is in it
 * and wherever the stop comes from; results that are there are still reported, and no token is lost.
 */
#include "api/timed.h"

enum { LONG_ARRAY = 300, SLEEPERS = 7 };

static dmtr_qresult_t qr;
static int at;

/* ---- waits that begin while stopped ---- */

static void check_eintr(dmtr_qtoken_t *qts, int n)
{
    uint64_t from = now_ns();
    for (int i = 0; i < 2; i++) {
        memset(&qr, 0xee, sizeof qr);
        CHECK_ERR(i == 0 ? dmtr_wait(&qr, qts[n - 1]) : dmtr_wait_timeout(&qr, qts[n - 1], LONG_NS), EINTR);
        CHECK_EQ(qr.qr_opcode, DMTR_OPC_INVALID);
        memset(&qr, 0xee, sizeof qr);
        at = 12345;
        CHECK_ERR(i == 0 ? dmtr_wait_any(&qr, &at, qts, n)
                         : dmtr_wait_any_timeout(&qr, &at, qts, n, DMTR_FOREVER), EINTR);
        CHECK_EQ(qr.qr_opcode, DMTR_OPC_INVALID);
        CHECK_EQ(at, -1);
    }
    CHECK_ERR(dmtr_wait(NULL, qts[0]), EINTR);
    CHECK_ERR(dmtr_wait_any(NULL, NULL, qts, n), EINTR);
    CHECK_ERR(dmtr_wait_timeout(NULL, qts[0], 0), EINTR);
    CHECK_ERR(dmtr_wait_any_timeout(NULL, NULL, qts, n, 0), EINTR);
    CHECK_ERR(dmtr_wait_all(NULL, qts, n), EINTR);
    CHECK(now_ns() - from < SOON_NS);
    for (int i = 0; i < n; i++)
        CHECK_ERR(dmtr_poll(NULL, qts[i]), EAGAIN); /* a poll does not care */
}

/* The tokens of an array: the last is that of a queue of its own. */
static int open_array(dmtr_qtoken_t *qts, int n, int *own)
{
    int qd = 0;
    CHECK_ERR(dmtr_queue(&qd), 0);
    CHECK_ERR(dmtr_queue(own), 0);
    for (int i = 0; i < n; i++)
        qts[i] = q_start_pop(i < n - 1 ? qd : *own);
    return qd;
}

/* Results that are there, or come while nobody waits, are reported. */
static void test_stopped(int n)
{
    dmtr_qtoken_t qts[LONG_ARRAY];
    int own, qd = open_array(qts, n, &own), fd, connected = q_pair(&fd), err;
    dmtr_qtoken_t qt = q_start_pop(connected);
    CHECK_ERR(dmtr_stop(), 0);
    check_eintr(qts, n);
    q_push(own, "x", 1);
    memset(&qr, 0xee, sizeof qr);
    CHECK_ERR(dmtr_wait_any(&qr, &at, qts, n), 0);
    CHECK_EQ(at, n - 1);
    CHECK_EQ(qr.qr_opcode, DMTR_OPC_POP);
    CHECK_EQ(qr.qr_qt, qts[n - 1]);
    plain_send(fd, "x", 1);
    for (uint64_t from = now_ns(); (err = dmtr_wait(&qr, qt)) == EINTR;)
        CHECK(now_ns() - from < SOON_NS); /* each call lets operations go on */
    CHECK_ERR(err, 0);
    CHECK_EQ(qr.qr_value.sga.sga_segs[0].sgaseg_len, 1);
    free(qr.qr_value.sga.sga_buf);
    qts[n - 1] = q_start_pop(own);
    CHECK_ERR(dmtr_stop(), 0); /* twice is once */
    check_eintr(qts, n);
    CHECK_ERR(dmtr_close(own), 0);
    CHECK_ERR(dmtr_wait(&qr, qts[n - 1]), ECANCELED);
    CHECK_ERR(dmtr_wait(&qr, qts[n - 1]), ENOENT);
    CHECK_ERR(dmtr_resume(), 0);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK_ERR(dmtr_close(connected), 0);
    CHECK(close(fd) == 0);
}

/* Waits block again; nothing that came meanwhile is lost. */
static void test_resumed(void)
{
    dmtr_qtoken_t qt;
    int qd = 0;
    CHECK_ERR(dmtr_queue(&qd), 0);
    qt = q_start_pop(qd);
    CHECK_ERR(dmtr_resume(), 0); /* without a stop */
    CHECK_ERR(dmtr_stop(), 0);
    CHECK_ERR(dmtr_wait(NULL, qt), EINTR);
    CHECK_ERR(dmtr_resume(), 0);
    CHECK_ERR(dmtr_resume(), 0);
    sleeps_quietly(qt);
    for (int i = 0; i < 3; i++) {
        struct actor a = {ACT_PUSH, qd, -1, qt, 0};
        uint64_t from = now_ns();
        CHECK_ERR(dmtr_wait_timeout(NULL, qt, 5 * MS), ETIMEDOUT);
        CHECK(now_ns() - from >= 5 * MS);
        start_thread(&a.thread, act_later, &a);
        CHECK_ERR(i == 0 ? dmtr_wait(&qr, qt) : dmtr_wait_any(&qr, NULL, &qt, 1), 0);
        CHECK_EQ(qr.qr_qt, qt);
        CHECK(now_ns() - from >= 20 * MS);
        join_thread(a.thread);
        qt = q_start_pop(qd);
    }
    CHECK_ERR(dmtr_close(qd), 0);
}

/* wait_all keeps what it has not reported, and reports what it does not keep. */
static void test_wait_all(void)
{
    dmtr_qtoken_t qts[4];
    dmtr_qresult_t results[4];
    int qds[4];
    for (int i = 0; i < 4; i++) {
        CHECK_ERR(dmtr_queue(&qds[i]), 0);
        qts[i] = q_start_pop(qds[i]);
    }
    q_push(qds[0], "x", 1);
    q_push(qds[3], "x", 1);
    CHECK_ERR(dmtr_stop(), 0);
    memset(results, 0xee, sizeof results);
    CHECK_ERR(dmtr_wait_all(results, qts, 4), EINTR);
    for (int i = 0; i < 4; i++) {
        int kept = results[i].qr_opcode == DMTR_OPC_INVALID;
        CHECK(kept || results[i].qr_opcode == DMTR_OPC_POP);
        CHECK(kept || i == 0 || i == 3);
        CHECK_ERR(dmtr_poll(NULL, qts[i]), !kept ? ENOENT : i == 0 || i == 3 ? 0 : EAGAIN);
    }
    CHECK_ERR(dmtr_resume(), 0);
    for (int i = 0; i < 4; i++)
        CHECK_ERR(dmtr_close(qds[i]), 0);
}

/* ---- waits that sleep when the stop comes ---- */

struct sleeper {
    int kind, err, at, qd, own;
    dmtr_qtoken_t qts[LONG_ARRAY];
    dmtr_qresult_t qr, all[2];
    struct sockaddr_in addr;
    pthread_t thread;
};

static void *sleep_in_wait(void *arg)
{
    struct sleeper *s = (struct sleeper *)arg;
    memset(&s->qr, 0xee, sizeof s->qr);
    s->at = -1;
    switch (s->kind) {
    case 0: s->err = dmtr_wait(&s->qr, s->qts[0]); break;
    case 1: s->err = dmtr_wait_any(&s->qr, &s->at, s->qts, 2); break;
    case 2: s->err = dmtr_wait_any(&s->qr, &s->at, s->qts, LONG_ARRAY); break;
    case 3: s->err = dmtr_wait_timeout(&s->qr, s->qts[1], LONG_NS); break;
    case 4: s->err = dmtr_wait_any_timeout(&s->qr, &s->at, s->qts, 3, DMTR_FOREVER); break;
    case 5:
        s->err = dmtr_wait_all(s->all, s->qts, 2);
        s->qr = s->all[0];
        break;
    default:
        s->err = dmtr_connect(s->own, ADDR(&s->addr), sizeof s->addr);
        s->qr.qr_opcode = DMTR_OPC_INVALID;
    }
    return NULL;
}

/* An address at which connections hang: of a listener with a full backlog. */
struct full {
    int listener, fds[8];
    struct sockaddr_in addr;
};

static void full_open(struct full *f)
{
    f->listener = plain_listen(&f->addr, 0);
    for (int i = 0; i < 8; i++) {
        f->fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        CHECK(connect(f->fds[i], ADDR(&f->addr), sizeof f->addr) == 0 || errno == EINPROGRESS);
    }
}

static void full_close(struct full *f)
{
    for (int i = 0; i < 8; i++)
        CHECK(close(f->fds[i]) == 0);
    CHECK(close(f->listener) == 0);
}

static int handled; /* atomic: 1 once the handler has run, -1 if it failed */

static void stop_in_handler(int sig)
{
    (void)sig;
    __atomic_store_n(&handled, dmtr_stop() == 0 ? 1 : -1, __ATOMIC_RELEASE);
}

enum source { FROM_THREAD, FROM_HANDLER, FROM_SLEEPER };

static void stop_from(enum source source, pthread_t sleeper)
{
    struct actor a = {ACT_STOP, 0, -1, 0, 0};
    __atomic_store_n(&handled, 0, __ATOMIC_RELEASE);
    if (source == FROM_THREAD) {
        start_thread(&a.thread, act_later, &a);
        join_thread(a.thread);
        return;
    }
    CHECK_EQ(source == FROM_SLEEPER ? pthread_kill(sleeper, SIGUSR1) : raise(SIGUSR1), 0);
    while (__atomic_load_n(&handled, __ATOMIC_ACQUIRE) == 0)
        usleep(100);
    CHECK_EQ(handled, 1);
}

static void test_sleepers(enum source source)
{
    static struct sleeper all[SLEEPERS];
    struct full full;
    uint64_t from;
    full_open(&full);
    for (int i = 0; i < SLEEPERS; i++) {
        struct sleeper *s = &all[i];
        s->kind = i;
        s->addr = full.addr;
        if (i == SLEEPERS - 1)
            CHECK_ERR(dmtr_socket(&s->own, AF_INET, SOCK_STREAM, 0), 0);
        else
            s->qd = open_array(s->qts, LONG_ARRAY, &s->own);
        start_thread(&s->thread, sleep_in_wait, s);
    }
    usleep(30000);
    from = now_ns();
    stop_from(source, all[0].thread);
    for (int i = 0; i < SLEEPERS; i++) {
        join_thread(all[i].thread);
        CHECK_ERR(all[i].err, EINTR);
        CHECK_EQ(all[i].qr.qr_opcode, DMTR_OPC_INVALID);
        CHECK_EQ(all[i].at, -1);
    }
    CHECK(now_ns() - from < SOON_NS);
    CHECK_ERR(dmtr_resume(), 0);
    for (int i = 0; i < SLEEPERS - 1; i++) {
        for (int j = 0; j < LONG_ARRAY; j++)
            CHECK_ERR(dmtr_poll(NULL, all[i].qts[j]), EAGAIN);
        CHECK_ERR(dmtr_close(all[i].qd), 0);
        CHECK_ERR(dmtr_close(all[i].own), 0);
    }
    CHECK_ERR(dmtr_close(all[SLEEPERS - 1].own), 0);
    full_close(&full);
}

/* A socket whose connect was stopped can be tried again, at another address, too. */
static void test_connect_again(void)
{
    struct actor a = {ACT_STOP, 0, -1, 0, 0};
    struct full full;
    struct sockaddr_in addr;
    int listener = test_listen(&addr), qd = 0, server;
    full_open(&full);
    CHECK_ERR(dmtr_socket(&qd, AF_INET, SOCK_STREAM, 0), 0);
    for (int i = 0; i < 3; i++) {
        start_thread(&a.thread, act_later, &a);
        CHECK_ERR(dmtr_connect(qd, ADDR(&full.addr), sizeof full.addr), EINTR);
        join_thread(a.thread);
        CHECK_ERR(dmtr_resume(), 0);
    }
    CHECK_ERR(dmtr_connect(qd, ADDR(&addr), sizeof addr), 0);
    server = q_accept(listener);
    q_push(qd, "x", 1);
    q_pop_is(server, "x", 1);
    q_push(server, "yz", 2);
    q_pop_is(qd, "yz", 2);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK_ERR(dmtr_close(server), 0);
    CHECK_ERR(dmtr_close(listener), 0);
    full_close(&full);
}

/* ---- stops all the time while arrays go through a queue ---- */

enum { ITEMS = 3000, HANDS = 2 };
static int line, finished;
static unsigned char items[HANDS * ITEMS];

static void *produce(void *arg)
{
    for (int i = 0; i < ITEMS; i++)
        q_push(line, &items[*(int *)arg * ITEMS + i], 1);
    return NULL;
}

static void *consume(void *arg)
{
    (void)arg;
    for (int i = 0; i < ITEMS; i++) {
        dmtr_qresult_t r;
        dmtr_qtoken_t qt = q_start_pop(line);
        int err = 0;
        do {
            CHECK(err == 0 || err == EINTR || err == ETIMEDOUT);
            switch (i % 4) {
            case 0: err = dmtr_wait(&r, qt); break;
            case 1: err = dmtr_wait_any(&r, NULL, &qt, 1); break;
            case 2: err = dmtr_wait_timeout(&r, qt, MS / 10); break;
            default: err = dmtr_wait_any_timeout(&r, NULL, &qt, 1, MS);
            }
        } while (err != 0);
        ++*(unsigned char *)r.qr_value.sga.sga_segs[0].sgaseg_buf;
    }
    return NULL;
}

static void *stop_and_go(void *arg)
{
    (void)arg;
    while (!__atomic_load_n(&finished, __ATOMIC_RELAXED)) {
        CHECK_ERR(dmtr_stop(), 0);
        usleep(50);
        CHECK_ERR(dmtr_resume(), 0);
        usleep(200);
    }
    return NULL;
}

/* q_push waits, too, but on a memory queue pushes are complete at once. */
static void test_stop_and_go(void)
{
    pthread_t t[2 * HANDS], stopper;
    int ids[HANDS];
    CHECK_ERR(dmtr_queue(&line), 0);
    start_thread(&stopper, stop_and_go, NULL);
    for (int i = 0; i < HANDS; i++) {
        ids[i] = i;
        start_thread(&t[i], consume, NULL);
        start_thread(&t[HANDS + i], produce, &ids[i]);
    }
    for (int i = 0; i < 2 * HANDS; i++)
        join_thread(t[i]);
    __atomic_store_n(&finished, 1, __ATOMIC_RELAXED);
    join_thread(stopper);
    for (int i = 0; i < HANDS * ITEMS; i++)
        CHECK_EQ(items[i], 1);
    CHECK_ERR(dmtr_close(line), 0);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        CHECK_ERR(dmtr_stop(), EPERM);
        CHECK_ERR(dmtr_resume(), EPERM);
        run_in_wait_modes(NULL);
        return 0;
    }
    fprintf(stderr, "mode %s\n", argv[1]);
    test_init();
    CHECK(signal(SIGUSR1, stop_in_handler) != SIG_ERR);
    test_stopped(1);
    test_stopped(5);
    test_stopped(LONG_ARRAY);
    test_resumed();
    test_wait_all();
    test_sleepers(FROM_THREAD);
    test_sleepers(FROM_HANDLER);
    test_sleepers(FROM_SLEEPER);
    test_connect_again();
    test_stop_and_go();
    return 0;
}
