/*
 * dmtr_stop() from a handler at random moments, and from another thread: the wait under way returns
 * EINTR and its tokens stay; after dmtr_resume() all goes on. Without it, no wait ever returns EINTR,
 * although handlers without SA_RESTART run all the time.
 */
#include "signal/signals.h"

enum { STOPS = 400, TOKENS = 20, CONNECTS = 20 };

static struct mishap mishap;
static timer_t timer;
static volatile int stopping; /* handlers stop the library, one time in three */
static volatile uint32_t stops, hits;

static void on_signal(int sig)
{
    unsigned char frame[32 * 1024];
    int err = errno;
    frame_fill(frame, sizeof frame, sig);
    hits++;
    if (stopping && any(3) == 0) {
        stops++;
        NOTE(&mishap, dmtr_stop(), 0);
    }
    timer_soon(timer, 300);
    NOTE(&mishap, frame_ok(frame, sizeof frame, sig), 1);
    errno = err;
}

/* Checks that somebody has stopped the library since the last time, and lets it go on. */
static void resume(void)
{
    static uint32_t seen;
    uint32_t now = stops;
    CHECK(now > seen);
    seen = now;
    CHECK_ERR(dmtr_resume(), 0);
}

static void still_pending(const dmtr_qtoken_t *qts, int n)
{
    for (int i = 0; i < n; i++)
        CHECK_ERR(dmtr_poll(NULL, qts[i]), EAGAIN);
}

enum kind { BY_WAIT, BY_ANY, BY_ANY_FEW, BY_ALL, BY_TIMEOUT, BY_ANY_TIMEOUT, KINDS };

/* One wait that only dmtr_stop() can end. */
static int wait_for_stop(enum kind kind, dmtr_qtoken_t *qts)
{
    dmtr_qresult_t qr[TOKENS];
    int at = 77, err = 0;
    memset(qr, 0xee, sizeof qr);
    switch (kind) {
    case BY_WAIT: err = dmtr_wait(&qr[0], qts[0]); break;
    case BY_ANY: err = dmtr_wait_any(&qr[0], &at, qts, TOKENS); break;
    case BY_ANY_FEW: err = dmtr_wait_any(&qr[0], &at, qts, 2); break;
    case BY_ALL: err = dmtr_wait_all(qr, qts, TOKENS); break;
    case BY_TIMEOUT: err = dmtr_wait_timeout(&qr[0], qts[0], DMTR_FOREVER); break;
    case BY_ANY_TIMEOUT: err = dmtr_wait_any_timeout(&qr[0], &at, qts, TOKENS, DMTR_FOREVER); break;
    case KINDS: break;
    }
    if (err == EINTR && kind != BY_ALL)
        CHECK_EQ(qr[0].qr_opcode, DMTR_OPC_INVALID);
    if (err == EINTR && (kind == BY_ANY || kind == BY_ANY_FEW || kind == BY_ANY_TIMEOUT))
        CHECK_EQ(at, -1);
    return err;
}

static void test_stop_in_handler(dmtr_qtoken_t *qts)
{
    stopping = 1;
    for (int i = 0; i < (int)test_scaled(STOPS); i++) {
        CHECK_ERR(wait_for_stop((enum kind)(i % KINDS), qts), EINTR);
        resume();
        if (i % 16 == 0)
            still_pending(qts, TOKENS);
    }
    stopping = 0;
    CHECK_ERR(dmtr_resume(), 0);
    still_pending(qts, TOKENS);
    check_no_mishap(&mishap, __FILE__);
}

/* While stopped, completed tokens are reported, new operations start, and waits do not block. */
static void test_stopped(dmtr_qtoken_t *qts)
{
    int qd = 0, at = 5;
    dmtr_qresult_t qr;
    dmtr_qtoken_t both[2];
    CHECK_ERR(dmtr_queue(&qd), 0);
    CHECK_ERR(dmtr_stop(), 0);
    CHECK_ERR(dmtr_stop(), 0);
    for (int kind = 0; kind < KINDS; kind++)
        CHECK_ERR(wait_for_stop((enum kind)kind, qts), EINTR);
    q_push(qd, "a", 1);
    both[0] = qts[0];
    both[1] = q_start_pop(qd);
    CHECK_ERR(dmtr_wait_any(&qr, &at, both, 2), 0);
    CHECK_EQ(at, 1);
    q_push(qd, "b", 1);
    CHECK_ERR(dmtr_wait_timeout(&qr, q_start_pop(qd), 0), 0);
    both[0] = q_start_pop(qd);
    CHECK_ERR(dmtr_wait(&qr, both[0]), EINTR);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK_ERR(dmtr_wait(&qr, both[0]), ECANCELED);
    CHECK_ERR(dmtr_resume(), 0);
    CHECK_ERR(dmtr_resume(), 0);
    still_pending(qts, TOKENS);
    CHECK_ERR(dmtr_wait_timeout(&qr, qts[0], 1000000), ETIMEDOUT);
}

/* A listener that takes no more: connections to it stay under way. */
static int full_listener(struct sockaddr_in *addr, int *fds, int n)
{
    int fd = plain_listen(addr, 0);
    for (int i = 0; i < n; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        CHECK(fds[i] >= 0);
        CHECK(connect(fds[i], ADDR(addr), sizeof *addr) == 0 || errno == EINPROGRESS);
    }
    usleep(20000);
    return fd;
}

static void test_stop_connect(void)
{
    struct sockaddr_in addr, there;
    int fds[4], qd = 0, listener = full_listener(&addr, fds, 4), open_listener = plain_listen(&there, 10);
    CHECK_ERR(dmtr_socket(&qd, AF_INET, SOCK_STREAM, 0), 0);
    stopping = 1;
    for (int i = 0; i < CONNECTS; i++) {
        CHECK_ERR(dmtr_connect(qd, ADDR(&addr), sizeof addr), EINTR);
        resume();
    }
    stopping = 0;
    CHECK_ERR(dmtr_resume(), 0);
    check_no_mishap(&mishap, __FILE__);
    CHECK_ERR(dmtr_connect(qd, ADDR(&there), sizeof there), 0); /* the socket may be tried again */
    int fd = accept(open_listener, NULL, NULL);
    CHECK(fd >= 0);
    plain_send_message(fd, 1000, 1);
    unsigned char want[1000];
    fill(want, sizeof want, 1, 0);
    q_pop_is(qd, want, sizeof want);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0 && close(listener) == 0 && close(open_listener) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(close(fds[i]) == 0);
}

/* ---- no EINTR but by dmtr_stop() ---- */

static int line;

static void *slow_pusher(void *arg)
{
    (void)arg;
    for (int i = 0; i < 200; i++) {
        usleep(i % 10 == 0 ? 5000 : 500);
        q_push(line, "x", 1);
    }
    return NULL;
}

static void test_no_eintr(dmtr_qtoken_t *qts)
{
    pthread_t t;
    sigset_t set, old;
    uint32_t before = hits;
    CHECK_ERR(dmtr_queue(&line), 0);
    sigfillset(&set);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, &set, &old), 0);
    start_thread(&t, slow_pusher, NULL);
    CHECK_EQ(pthread_sigmask(SIG_SETMASK, &old, NULL), 0);
    for (int i = 0; i < 200; i++) {
        dmtr_qresult_t qr;
        int at = -1;
        dmtr_qtoken_t any_of[2] = {qts[0], q_start_pop(line)};
        if (i % 4 == 0)
            CHECK_ERR(dmtr_wait(&qr, any_of[1]), 0);
        else if (i % 4 == 1)
            CHECK_ERR(dmtr_wait_any(&qr, &at, any_of, 2), 0);
        else if (i % 4 == 2)
            CHECK_ERR(dmtr_wait_all(&qr, &any_of[1], 1), 0);
        else
            CHECK_ERR(dmtr_wait_timeout(&qr, any_of[1], 10000000000), 0);
        CHECK_EQ(qr.qr_opcode, DMTR_OPC_POP);
    }
    join_thread(t);
    for (uint64_t ms = 1; ms <= 50; ms += 7) {
        int at = 0;
        uint64_t from = now_us();
        CHECK_ERR(dmtr_wait_timeout(NULL, qts[0], ms * 1000000), ETIMEDOUT);
        CHECK_ERR(dmtr_wait_any_timeout(NULL, &at, qts, TOKENS, ms * 1000000), ETIMEDOUT);
        uint64_t took = now_us() - from;
        CHECK(took >= 2 * ms * 1000);
        CHECK(took < 2 * ms * 1000 + 2000000);
    }
    CHECK(hits - before > 100);
    CHECK_ERR(dmtr_close(line), 0);
}

/* ---- from another thread ---- */

static void *stop_later(void *arg)
{
    usleep(200 + any(3000));
    stops++;
    CHECK_ERR(dmtr_stop(), 0);
    return arg;
}

static void test_other_thread(dmtr_qtoken_t *qts)
{
    for (int i = 0; i < 60; i++) {
        pthread_t t;
        start_thread(&t, stop_later, NULL);
        CHECK_ERR(wait_for_stop((enum kind)(i % KINDS), qts), EINTR);
        join_thread(t);
        resume();
    }
    still_pending(qts, TOKENS);
}

/* One stop ends the waits of all threads. */
static void *wait_in_thread(void *qt)
{
    CHECK_ERR(dmtr_wait(NULL, *(dmtr_qtoken_t *)qt), EINTR);
    return NULL;
}

static void test_all_threads(dmtr_qtoken_t *qts)
{
    pthread_t t[8];
    for (int i = 0; i < 8; i++)
        start_thread(&t[i], wait_in_thread, &qts[i]);
    usleep(20000);
    stops++;
    CHECK_ERR(dmtr_stop(), 0);
    for (int i = 0; i < 8; i++)
        join_thread(t[i]);
    resume();
    still_pending(qts, TOKENS);
}

static void run(void)
{
    dmtr_qtoken_t qts[TOKENS];
    int qds[TOKENS], fd;
    CHECK_ERR(dmtr_stop(), EPERM);
    CHECK_ERR(dmtr_resume(), EPERM);
    CHECK_ERR(dmtr_init(0, NULL), 0);
    for (int i = 0; i < TOKENS; i++) {
        if (i % 2 == 0)
            CHECK_ERR(dmtr_queue(&qds[i]), 0);
        else
            qds[i] = q_pair(&fd);
        qts[i] = q_start_pop(qds[i]);
    }
    test_stopped(qts);
    test_other_thread(qts);
    test_all_threads(qts);
    handle(SIGUSR2, on_signal, 0);
    timer = thread_timer(SIGUSR2);
    timer_soon(timer, 300);
    test_no_eintr(qts);
    test_stop_in_handler(qts);
    test_stop_connect();
    test_no_eintr(qts);
    CHECK(timer_delete(timer) == 0);
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) {
        run();
        return 0;
    }
    test_watchdog();
    run_in_wait_modes("run");
    return 0;
}
