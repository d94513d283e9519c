/*
 * A program that becomes a daemon before dmtr_init(): fork, setsid, fork. The grandchild has the
 * whole library: a million echoes over TCP (times DMTR_TEST_SCALE), files, UDP, memory queues, many
 * threads, children of its own. Its memory does not grow, though no garbage is collected there.
 */
#include "fork/fork.h"

enum { ECHOES = 1000000, THREADS = 20, GROWTH_KIB = 1024 };

static const char *mode;

static void over_files(uint32_t rounds)
{
    char dir[256], path[300];
    int qd = 0;
    unsigned char *data = (unsigned char *)xmalloc(16000);
    make_folder(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/file", dir);
    CHECK_ERR(dmtr_open2(&qd, path, O_RDWR | O_CREAT, 0600), 0);
    for (uint32_t i = 0; i < rounds; i++) {
        size_t n = 1 + (size_t)i * 7919 % 16000;
        dmtr_qtoken_t qt = 0;
        fill(data, n, i, 0);
        CHECK_ERR(dmtr_lseek(qd, 0, SEEK_SET), 0);
        q_push(qd, data, n);
        CHECK_ERR(dmtr_lseek(qd, 0, SEEK_SET), 0);
        CHECK_ERR(dmtr_pop2(&qt, qd, n), 0);
        q_wait_is(qt, data, n);
    }
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(remove(path) == 0 && remove(dir) == 0);
    free(data);
}

static void over_udp(uint32_t rounds)
{
    struct sockaddr_in a_addr, b_addr;
    int a = q_udp(&a_addr), b = q_udp(&b_addr);
    unsigned char data[500];
    for (uint32_t i = 0; i < rounds; i++) {
        dmtr_sgarray_t sga = test_sga(data, 1 + i % sizeof data);
        dmtr_qtoken_t qt = 0;
        fill(data, sizeof data, i, 0);
        sga.sga_addr = b_addr;
        CHECK_ERR(dmtr_push(&qt, a, &sga), 0);
        CHECK_ERR(dmtr_wait(NULL, qt), 0);
        q_pop_is(b, data, 1 + i % sizeof data);
    }
    CHECK_ERR(dmtr_close(a), 0);
    CHECK_ERR(dmtr_close(b), 0);
}

static void in_memory(uint32_t rounds)
{
    int qd = 0;
    CHECK_ERR(dmtr_queue(&qd), 0);
    for (uint32_t i = 0; i < rounds; i++) {
        dmtr_qresult_t qr;
        dmtr_qtoken_t qt = q_start_pop(qd);
        q_push(qd, &i, sizeof i);
        CHECK_ERR(dmtr_wait(&qr, qt), 0);
        CHECK(qr.qr_value.sga.sga_segs[0].sgaseg_buf == &i);
    }
    CHECK_ERR(dmtr_close(qd), 0);
}

static void *in_thread(void *arg)
{
    struct traffic t;
    (void)arg;
    traffic_open(&t);
    for (int i = 0; i < 20; i++)
        traffic_burst(&t, WINDOW);
    traffic_close(&t);
    in_memory(100);
    over_udp(20);
    over_files(5);
    return NULL;
}

static void in_threads(void)
{
    pthread_t t[THREADS];
    for (int i = 0; i < THREADS; i++)
        start_thread(&t[i], in_thread, NULL);
    for (int i = 0; i < THREADS; i++)
        join_thread(t[i]);
}

/* Waits that sleep, and are woken by another thread. */
static void blocked(void)
{
    for (int act = ACT_PUSH; act <= ACT_DROP; act++) {
        struct actor a = {(enum act)act, 0, -1, 0, 0};
        CHECK_ERR(dmtr_queue(&a.qd), 0);
        a.qt = q_start_pop(a.qd);
        start_thread(&a.thread, act_later, &a);
        CHECK_ERR(dmtr_wait(NULL, a.qt), act_errno(a.act));
        join_thread(a.thread);
        if (act != ACT_CLOSE)
            CHECK_ERR(dmtr_close(a.qd), 0);
    }
}

/* The daemon's own children do not have the library, and it does not mind them. */
static void with_children(struct traffic *t)
{
    for (int i = 0; i < 20; i++) {
        pid_t pid = ways_to_fork[i % WAYS_TO_FORK].fork();
        if (pid == 0) {
            int qd = 0;
            child_alarm(5);
            _exit(dmtr_queue(&qd) == EPERM && dmtr_close(t->client) == EPERM && dmtr_init(0, NULL) == EPERM ? 0 : 1);
        }
        traffic_burst(t, WINDOW);
        child_passes(pid, "child of the daemon");
        traffic_burst(t, WINDOW);
    }
}

/* Nothing else grows either, however often it is done. */
static void everything(struct traffic *t)
{
    over_files(200);
    over_udp(2000);
    in_memory(20000);
    in_threads();
    blocked();
    with_children(t);
}

static void be_daemon(int report)
{
    struct traffic t;
    uint64_t from, echoes = test_scaled(ECHOES);
    long before, grown;
    char text[200];
    signal(SIGHUP, SIG_IGN);
    test_init();
    traffic_open(&t);
    everything(&t);
    while (t.echoes < echoes / 20)
        traffic_burst(&t, WINDOW);
    before = rss_kib();
    from = now_ns();
    while (t.echoes < echoes)
        traffic_burst(&t, WINDOW);
    for (int i = 0; i < 3; i++)
        everything(&t);
    grown = rss_kib() - before;
    snprintf(text, sizeof text, "%llu echoes in %llu ms, %ld KiB more memory\n", (unsigned long long)t.echoes,
             (unsigned long long)((now_ns() - from) / MS), grown);
    CHECK(write(report, text, strlen(text)) == (ssize_t)strlen(text));
#ifndef __SANITIZE_ADDRESS__ /* which keeps memory that has been freed */
    CHECK(grown < GROWTH_KIB);
#endif
    traffic_close(&t);
    no_children();
    CHECK(write(report, "done\n", 5) == 5);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        run_again("million", "DMTR_WAIT", "spin");
        setenv("DMTR_TEST_SCALE", "0.02", 1);
        run_again("adaptive", "DMTR_WAIT", "adaptive");
        run_again("block", "DMTR_WAIT", "block");
        run_with_config("worker", "posix:\n  io_uring: false\n");
        return 0;
    }
    mode = argv[1];
    alarm(TEST_SECONDS);
    if (strcmp(mode, "worker") == 0) /* it has called in before it forks */
        CHECK_ERR(dmtr_close(1), EPERM);
    be_daemon(daemonize(mode));
    return 0;
}
