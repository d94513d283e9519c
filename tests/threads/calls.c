/*
 * Threads that make the short calls in close succession, each on queues of its own and on a few that
 * all share: for the race detectors, which see two calls only if they overlap.
 */
#include "api/timed.h"

enum { THREADS = 4, ROUNDS = 2000, KINDS = 6 };

static pthread_barrier_t start;
static int shared_memory_qd, shared_file, listener;

/* One kind of call many times, so that the others are likely to be in it as well. */
static void call_often(int kind, uint32_t times)
{
    struct sockaddr_in addr = test_loopback(0);
    socklen_t size = sizeof addr;
    for (uint32_t i = 0; i < times; i++) {
        dmtr_qtoken_t qt = 0;
        int qd = 0;
        switch (kind) {
        case 0:
            CHECK_EQ(q_valid(shared_memory_qd), 1);
            CHECK_ERR(dmtr_getsockname(listener, ADDR(&addr), &size), 0);
            break;
        case 1:
            CHECK_ERR(dmtr_queue(&qd), 0);
            CHECK_ERR(dmtr_close(qd), 0);
            break;
        case 2:
            CHECK_ERR(dmtr_socket(&qd, AF_INET, i % 2 ? SOCK_STREAM : SOCK_DGRAM, 0), 0);
            addr.sin_port = 0;
            CHECK_ERR(dmtr_bind(qd, ADDR(&addr), sizeof addr), 0);
            CHECK_ERR(dmtr_listen(qd, 1), i % 2 ? 0 : ENOTSUP);
            CHECK_ERR(dmtr_close(qd), 0);
            break;
        case 3:
            CHECK_ERR(dmtr_pop(&qt, shared_memory_qd), 0);
            CHECK_ERR(dmtr_drop(qt), 0);
            CHECK_ERR(dmtr_accept(&qt, listener), 0);
            CHECK_ERR(dmtr_poll(NULL, qt), EAGAIN);
            CHECK_ERR(dmtr_drop(qt), 0);
            break;
        case 4:
            CHECK_ERR(dmtr_lseek(shared_file, 0, SEEK_SET), 0);
            CHECK_ERR(dmtr_pop2(&qt, shared_file, 10), 0);
            CHECK_ERR(dmtr_wait(NULL, qt), 0);
            break;
        default:
            q_push(shared_memory_qd, "x", 1);
            CHECK_ERR(dmtr_wait(NULL, q_start_pop(shared_memory_qd)), 0);
        }
    }
}

static void *caller(void *arg)
{
    for (int kind = 0; kind < KINDS; kind++) {
        pthread_barrier_wait(&start);
        call_often(kind, test_scaled(ROUNDS));
    }
    pthread_barrier_wait(&start);
    for (uint32_t i = 0; i < test_scaled(ROUNDS); i++)
        call_often((int)((i + *(uint32_t *)arg) % 5), 1); /* without 5, whose arrays kind 3 would take */
    return NULL;
}

int main(void)
{
    struct sockaddr_in addr;
    pthread_t t[THREADS];
    uint32_t ids[THREADS];
    test_init();
    CHECK_ERR(dmtr_queue(&shared_memory_qd), 0);
    CHECK_ERR(dmtr_open(&shared_file, "/proc/self/exe", O_RDONLY), 0);
    listener = test_listen(&addr);
    CHECK_EQ(pthread_barrier_init(&start, NULL, THREADS), 0);
    for (uint32_t i = 0; i < THREADS; i++) {
        ids[i] = i;
        start_thread(&t[i], caller, &ids[i]);
    }
    for (int i = 0; i < THREADS; i++)
        join_thread(t[i]);
    CHECK_ERR(dmtr_close(shared_memory_qd), 0);
    CHECK_ERR(dmtr_close(shared_file), 0);
    CHECK_ERR(dmtr_close(listener), 0);
    return 0;
}
