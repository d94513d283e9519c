/*
 * 60 threads at once, each with queues of its own of all kinds and connections through a listener
 * that all share; some of them start the library, and one succeeds. Threads that end leave nothing
 * behind.
 */
#include "api/timed.h"


enum { THREADS = 60, GENERATIONS = 3 };

static pthread_barrier_t start;
static struct sockaddr_in addr;
static int listener, started;
static uint32_t rounds;

static void *start_library(void *arg)
{
    int err;
    (void)arg;
    pthread_barrier_wait(&start);
    err = dmtr_init(0, NULL);
    CHECK(err == 0 || err == EPERM);
    if (err == 0)
        __atomic_fetch_add(&started, 1, __ATOMIC_RELAXED);
    return NULL;
}

static void in_memory(int qd, uint32_t seed)
{
    unsigned char data[3];
    dmtr_qtoken_t qts[3];
    for (uint32_t i = 0; i < 3; i++)
        qts[i] = q_start_pop(qd);
    fill(data, sizeof data, seed, 0);
    for (uint32_t i = 0; i < 3; i++)
        q_push(qd, &data[i], 1);
    for (uint32_t i = 0; i < 3; i++) {
        dmtr_qresult_t qr;
        int at = -1;
        CHECK_ERR(dmtr_wait_any(&qr, &at, qts + i, 3 - (int)i), 0);
        CHECK_EQ(at, 0);
        CHECK(qr.qr_value.sga.sga_segs[0].sgaseg_buf == &data[i]);
    }
}

/* The listener is shared: the connection that is accepted may be that of another thread. */
static void over_tcp(uint32_t seed)
{
    unsigned char data[700];
    int client = 0, server;
    uint32_t got;
    dmtr_qresult_t qr;
    dmtr_qtoken_t accept = q_start_accept(listener), back;
    CHECK_ERR(dmtr_socket(&client, AF_INET, SOCK_STREAM, 0), 0);
    CHECK_ERR(dmtr_connect(client, ADDR(&addr), sizeof addr), 0);
    fill(data, sizeof data, seed, 0);
    memcpy(data, &seed, sizeof seed);
    q_push(client, data, sizeof data);
    back = q_start_pop(client);
    CHECK_ERR(dmtr_wait(&qr, accept), 0);
    server = qr.qr_value.ares.qd;
    CHECK_ERR(dmtr_wait(&qr, q_start_pop(server)), 0);
    CHECK_EQ(qr.qr_value.sga.sga_segs[0].sgaseg_len, sizeof data);
    memcpy(&got, qr.qr_value.sga.sga_segs[0].sgaseg_buf, sizeof got);
    check_fill((char *)qr.qr_value.sga.sga_segs[0].sgaseg_buf + sizeof got, sizeof data - sizeof got,
               got, sizeof got);
    q_push(server, qr.qr_value.sga.sga_segs[0].sgaseg_buf, sizeof data);
    free(qr.qr_value.sga.sga_buf);
    q_wait_is(back, data, sizeof data);
    CHECK_ERR(dmtr_close(client), 0);
    CHECK_ERR(dmtr_close(server), 0);
}

static void over_udp(int a, int b, const struct sockaddr_in *to, uint32_t seed)
{
    unsigned char data[100];
    dmtr_sgarray_t sga = test_sga(data, sizeof data);
    dmtr_qtoken_t qt = 0;
    fill(data, sizeof data, seed, 0);
    sga.sga_addr = *to;
    CHECK_ERR(dmtr_push(&qt, a, &sga), 0);
    CHECK_ERR(dmtr_wait(NULL, qt), 0);
    q_pop_is(b, data, sizeof data);
}

static void to_file(int qd, uint32_t seed)
{
    unsigned char data[300];
    fill(data, sizeof data, seed, 0);
    CHECK_ERR(dmtr_lseek(qd, 0, SEEK_SET), 0);
    q_push(qd, data, sizeof data);
    CHECK_ERR(dmtr_lseek(qd, 0, SEEK_SET), 0);
    q_pop_is(qd, data, sizeof data);
}

static void *worker(void *arg)
{
    uint32_t id = (uint32_t)(size_t)arg;
    struct sockaddr_in a_addr, b_addr;
    char path[300];
    int memory = 0, file = 0, a, b;
    FILE *temporary = tmpfile();
    CHECK(temporary != NULL);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fileno(temporary));
    pthread_barrier_wait(&start);
    CHECK_ERR(dmtr_queue(&memory), 0);
    CHECK_ERR(dmtr_open(&file, path, O_RDWR), 0);
    fclose(temporary);
    a = q_udp(&a_addr);
    b = q_udp(&b_addr);
    for (uint32_t i = 0; i < rounds; i++) {
        uint32_t seed = id * rounds + i;
        in_memory(memory, seed);
        over_tcp(seed);
        over_udp(a, b, &b_addr, seed);
        to_file(file, seed);
        CHECK_EQ(q_valid(a), 1);
    }
    CHECK_ERR(dmtr_close(memory), 0);
    CHECK_ERR(dmtr_close(file), 0);
    CHECK_ERR(dmtr_close(a), 0);
    CHECK_ERR(dmtr_close(b), 0);
    return NULL;
}

static void run(int n, void *(*f)(void *))
{
    pthread_t t[THREADS];
    CHECK_EQ(pthread_barrier_init(&start, NULL, (unsigned)n), 0);
    for (int i = 0; i < n; i++)
        start_thread(&t[i], f, (void *)(size_t)i);
    for (int i = 0; i < n; i++)
        join_thread(t[i]);
    pthread_barrier_destroy(&start);
}

int main(void)
{
    int fds = 0;
    test_watchdog();
    rounds = test_scaled(8);
    run(8, start_library);
    CHECK_EQ(started, 1);
    listener = test_listen(&addr);
    for (int i = 0; i < GENERATIONS; i++) {
        run(THREADS, worker);
        if (i == 0)
            fds = count_fds();
        CHECK(count_fds() <= fds + 2); /* the Go runtime's own epoll and eventfd, which it makes when it first sets a timer */
    }
    CHECK_ERR(dmtr_close(listener), 0);
    return 0;
}
