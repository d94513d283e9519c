/* dmtr_wait, and signals during it in each wait mode */
#include "api/kinds.h"

static volatile sig_atomic_t signals;

static void count_signal(int sig)
{
    (void)sig;
    signals++;
}

struct sender {
    pthread_t to;
    int fd;
};

static void *send_signals(void *arg)
{
    const struct sender *s = (const struct sender *)arg;
    for (int i = 0; i < 100; i++) {
        usleep(500);
        CHECK_EQ(pthread_kill(s->to, SIGUSR1), 0);
    }
    usleep(5000);
    plain_send(s->fd, "x", 1);
    return NULL;
}

/* Handlers run while the wait goes on, however they were installed. */
static void test_signals(void)
{
    int fd, qd = q_pair(&fd);
    struct sigaction sa;
    for (int how = 0; how < 3; how++) {
        struct sender s = {pthread_self(), fd};
        pthread_t t;
        dmtr_qtoken_t qt = q_start_pop(qd);
        memset(&sa, 0, sizeof sa);
        sa.sa_handler = count_signal;
        sa.sa_flags = how == 0 ? SA_ONSTACK : how == 1 ? SA_RESTART : 0;
        CHECK(sigaction(SIGUSR1, &sa, NULL) == 0);
        if (how == 2)
            CHECK(signal(SIGUSR1, count_signal) != SIG_ERR);
        signals = 0;
        start_thread(&t, send_signals, &s);
        q_wait_is(qt, "x", 1);
        CHECK(signals > 10);
        join_thread(t);
    }
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0);
}

static void *send_later(void *arg)
{
    usleep(20000);
    plain_send(*(int *)arg, "abc", 3);
    return NULL;
}

static void test_waits(const struct kinds *k)
{
    static const dmtr_qtoken_t unknown[] = {0, 1, 0xffffffffffffffffu,
                                            (dmtr_qtoken_t)0x40000000 << 32};
    dmtr_qresult_t qr;
    dmtr_qtoken_t a, b, qt = q_start_pop(k->connected);
    pthread_t t;
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        CHECK_ERR(dmtr_wait(&qr, unknown[i]), ENOENT);
        CHECK_ERR(dmtr_wait(NULL, unknown[i]), ENOENT);
    }
    CHECK_ERR(dmtr_wait(&qr, qt + 1), ENOENT);
    start_thread(&t, send_later, (void *)&k->peer);
    memset(&qr, 0xee, sizeof qr);
    CHECK_ERR(dmtr_wait(&qr, qt), 0);
    join_thread(t);
    CHECK_EQ(qr.qr_opcode, DMTR_OPC_POP);
    CHECK_EQ(qr.qr_qd, k->connected);
    CHECK_EQ(qr.qr_qt, qt);
    CHECK_EQ(qr.qr_value.sga.sga_segs[0].sgaseg_len, 3);
    free(qr.qr_value.sga.sga_buf);
    CHECK_ERR(dmtr_wait(&qr, qt), ENOENT); /* dropped */

    a = q_start_pop(k->connected); /* the second one first; the first stays */
    b = q_start_pop(k->connected);
    plain_send(k->peer, "abc", 3);
    CHECK_ERR(dmtr_wait(NULL, a), 0); /* what it owns is released */
    plain_send(k->peer, "def", 3);
    q_wait_is(b, "def", 3);
    CHECK_ERR(dmtr_poll(NULL, a), ENOENT);

    a = q_start_pop(k->connected); /* a failure is reported once, and dropped as well */
    CHECK(shutdown(k->peer, SHUT_WR) == 0);
    q_wait_fails(a, DMTR_OPC_POP, ECONNABORTED);
    CHECK_ERR(dmtr_wait(NULL, a), ENOENT);
}

int main(int argc, char **argv)
{
    struct kinds k;
    if (argc < 2) {
        run_in_wait_modes(NULL);
        return 0;
    }
    fprintf(stderr, "mode %s\n", argv[1]);
    test_init();
    kinds_open(&k);
    test_waits(&k);
    test_signals();
    kinds_close(&k);
    return 0;
}
