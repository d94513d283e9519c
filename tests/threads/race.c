/*
 * Threads that wait for, poll, drop and close the same tokens and queues at once, in each wait mode.
 * Every call gives one of its documented errnos, every token is reported or dropped once and every
 * queue closed once, and nothing is left over: the limits on tokens and queues are low here.
 */
#include "api/timed.h"

enum { THREADS = 5, STEPS = 40, MEMORY = 3, PAIRS = 2, POPS = 3, TOKENS = POPS * (MEMORY + 2 * PAIRS + 1) };

static const char config[] = "wait: %s\nlimits:\n  queues: 64\n  tokens: 256\n";

/* One round. */
static int queues[MEMORY + 2 * PAIRS + 1], closed[MEMORY + 2 * PAIRS + 1];
static dmtr_qtoken_t qts[TOKENS];
static int gone[TOKENS];
static struct sockaddr_in addr;
static pthread_barrier_t start;

enum { QUEUES = sizeof queues / sizeof queues[0] };

static uint32_t any(uint64_t *state, uint32_t n)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33) % n;
}

static int is_memory(int queue)
{
    return queue < MEMORY;
}

/* A token has been reported, with this errno. */
static void reported(int err, int token, dmtr_qresult_t *qr)
{
    CHECK(err == 0 || err == ECANCELED || err == ECONNABORTED || err == ECONNRESET);
    CHECK_EQ(qr->qr_qt, qts[token]);
    CHECK_EQ(qr->qr_qd, queues[token / POPS]);
    CHECK_EQ(qr->qr_opcode, token / POPS == QUEUES - 1 ? DMTR_OPC_ACCEPT : DMTR_OPC_POP);
    __atomic_fetch_add(&gone[token], 1, __ATOMIC_RELAXED);
    if (err == 0 && qr->qr_opcode == DMTR_OPC_ACCEPT)
        CHECK_ERR(dmtr_close(qr->qr_value.ares.qd), 0);
    else if (err == 0 && !is_memory(token / POPS))
        free(qr->qr_value.sga.sga_buf);
}

static void wait_one(int token, uint64_t timeout)
{
    dmtr_qresult_t qr;
    int err = dmtr_wait_timeout(&qr, qts[token], timeout);
    if (err != ETIMEDOUT && err != ENOENT)
        reported(err, token, &qr);
}

static void wait_some(int first, int n, uint64_t timeout)
{
    dmtr_qresult_t qr;
    int at = -1, err = dmtr_wait_any_timeout(&qr, &at, &qts[first], n, timeout);
    CHECK(err == ETIMEDOUT ? at == -1 : at >= 0 && at < n);
    if (err != ETIMEDOUT && err != ENOENT)
        reported(err, first + at, &qr);
}

/* What a poll reports of the network is the program's, so here only those of memory are looked at. */
static void poll_one(int token)
{
    dmtr_qresult_t qr;
    int look = is_memory(token / POPS), err = dmtr_poll(look ? &qr : NULL, qts[token]);
    CHECK(err == 0 || err == EAGAIN || err == ENOENT || err == ECANCELED || err == ECONNABORTED || err == ECONNRESET);
    if (look && (err == 0 || err == ECANCELED)) {
        CHECK_EQ(qr.qr_qt, qts[token]);
        CHECK_EQ(qr.qr_opcode, DMTR_OPC_POP);
    }
}

static void drop_one(int token)
{
    int err = dmtr_drop(qts[token]);
    CHECK(err == 0 || err == ENOENT);
    if (err == 0)
        __atomic_fetch_add(&gone[token], 1, __ATOMIC_RELAXED);
}

static void push_one(int queue)
{
    static char data[] = "data";
    dmtr_sgarray_t sga = test_sga(data, sizeof data);
    dmtr_qtoken_t qt = 0;
    int err = dmtr_push(&qt, queues[queue], &sga);
    CHECK(err == 0 || err == ENOENT || (err == ENOTSUP && queue == QUEUES - 1));
    if (err != 0)
        return;
    err = dmtr_wait(NULL, qt);
    CHECK(err == 0 || err == ECANCELED || err == EPIPE || err == ECONNRESET);
}

static void connect_one(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    (void)connect(fd, ADDR(&addr), sizeof addr);
    CHECK(close(fd) == 0);
}

static void close_one(int queue)
{
    int err = dmtr_close(queues[queue]);
    CHECK(err == 0 || err == ENOENT);
    if (err == 0)
        __atomic_fetch_add(&closed[queue], 1, __ATOMIC_RELAXED);
}

static void *actor(void *arg)
{
    uint64_t state = *(uint64_t *)arg;
    pthread_barrier_wait(&start);
    for (int i = 0; i < STEPS; i++) {
        uint64_t timeout = any(&state, 3) * 20000;
        int token = (int)any(&state, TOKENS);
        switch (any(&state, 16)) {
        case 0: case 1: case 2: wait_one(token, timeout); break;
        case 3: case 4: wait_some(0, TOKENS, timeout); break;
        case 5: wait_some(token, 1 + (int)any(&state, (uint32_t)(TOKENS - token)), timeout); break;
        case 6: case 7: poll_one(token); break;
        case 8: drop_one(token); break;
        case 9: connect_one(); break;
        case 10:
            if (i > STEPS / 2)
                close_one((int)any(&state, QUEUES));
            break;
        default: push_one((int)any(&state, QUEUES));
        }
    }
    return NULL;
}

static void begin_round(void)
{
    memset(gone, 0, sizeof gone);
    memset(closed, 0, sizeof closed);
    for (int i = 0; i < MEMORY; i++)
        CHECK_ERR(dmtr_queue(&queues[i]), 0);
    for (int i = MEMORY; i < QUEUES - 1; i += 2)
        test_tcp_pair(&queues[i], &queues[i + 1]);
    queues[QUEUES - 1] = test_listen(&addr);
    for (int i = 0; i < TOKENS; i++)
        qts[i] = i / POPS == QUEUES - 1 ? q_start_accept(queues[i / POPS]) : q_start_pop(queues[i / POPS]);
}

static void end_round(void)
{
    for (int i = 0; i < QUEUES; i++) {
        close_one(i);
        CHECK_EQ(closed[i], 1);
    }
    for (int i = 0; i < TOKENS; i++) {
        wait_one(i, DMTR_FOREVER); /* none is pending any more */
        drop_one(i);
        CHECK_EQ(gone[i], 1);
    }
}

static void run(void)
{
    test_init();
    CHECK_EQ(pthread_barrier_init(&start, NULL, THREADS), 0);
    for (uint32_t round = 0, rounds = test_scaled(300); round < rounds; round++) {
        pthread_t t[THREADS];
        uint64_t seeds[THREADS];
        begin_round();
        for (int i = 0; i < THREADS; i++) {
            seeds[i] = round * THREADS + (uint64_t)i;
            start_thread(&t[i], actor, &seeds[i]);
        }
        for (int i = 0; i < THREADS; i++)
            join_thread(t[i]);
        end_round();
    }
}

int main(int argc, char **argv)
{
    static const char *modes[] = {"adaptive", "block", "spin"};
    if (argc > 1) {
        fprintf(stderr, "mode %s\n", argv[1]);
        run();
        return 0;
    }
    for (int i = 0; i < 3; i++) {
        char yaml[200];
        snprintf(yaml, sizeof yaml, config, modes[i]);
        run_with_config(modes[i], yaml);
    }
    return 0;
}
