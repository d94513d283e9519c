/*
 * Pushes that do not fit into the socket's buffers: they complete when the network has taken them,
 * hold up no other queue, and arrive byte for byte.
 */
#include "net/peer.h"

#include <time.h>

enum { BIG = 8 << 20 };

static unsigned char *big(uint32_t seed, size_t n)
{
    unsigned char *p = (unsigned char *)xmalloc(n);
    fill(p, n, seed, 0);
    return p;
}

static void check_echo(int qd, int fd, uint32_t seed)
{
    unsigned char want[300];
    plain_send_message(fd, sizeof want, seed);
    fill(want, sizeof want, seed, 0);
    q_pop_is(qd, want, sizeof want);
    q_push(qd, want, sizeof want);
    plain_expect_message(fd, sizeof want, seed);
}

struct reader {
    int fd;
    int count;
};

static void *read_messages(void *arg)
{
    const struct reader *r = (const struct reader *)arg;
    for (int i = 0; i < r->count; i++)
        plain_expect_message(r->fd, BIG, (uint32_t)i);
    return NULL;
}

/*
 * Two pushes of 8 MiB wait for a peer that does not read, while another queue works; then the peer
 * reads.
 */
static void test_slow_reader(void)
{
    enum { PUSHES = 2 };
    int fd, qd = q_pair_with(&fd, 8192), other_fd, other = q_pair(&other_fd);
    unsigned char *data[PUSHES];
    dmtr_qtoken_t qts[PUSHES];
    struct reader reader = {fd, PUSHES};
    pthread_t t;
    for (int i = 0; i < PUSHES; i++) {
        data[i] = big((uint32_t)i, BIG);
        qts[i] = q_start_push(qd, data[i], BIG);
    }
    for (int i = 0; i < 200; i++) {
        check_echo(other, other_fd, (uint32_t)i);
        for (int k = 0; k < PUSHES; k++)
            CHECK_ERR(dmtr_poll(NULL, qts[k]), EAGAIN);
    }
    start_thread(&t, read_messages, &reader);
    for (int i = 0; i < PUSHES; i++) {
        dmtr_qresult_t qr;
        CHECK_ERR(dmtr_wait(&qr, qts[i]), 0);
        CHECK_EQ(qr.qr_opcode, DMTR_OPC_PUSH);
        CHECK(qr.qr_value.sga.sga_segs[0].sgaseg_buf == data[i]);
        CHECK_EQ(qr.qr_value.sga.sga_segs[0].sgaseg_len, BIG);
        memset(data[i], 0xee, BIG);
        free(data[i]);
    }
    join_thread(t);
    check_echo(qd, fd, 77);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK_ERR(dmtr_close(other), 0);
    CHECK(close(fd) == 0 && close(other_fd) == 0);
}

/* A push goes on while the program waits for something else and never asks about the push. */
static void test_progress_unasked(void)
{
    int fd, qd = q_pair_with(&fd, 8192), memory = 0;
    unsigned char *data = big(0, BIG);
    struct reader reader = {fd, 1};
    pthread_t t;
    dmtr_qtoken_t push = q_start_push(qd, data, BIG), pop;
    CHECK_ERR(dmtr_queue(&memory), 0);
    pop = q_start_pop(memory);
    start_thread(&t, read_messages, &reader);
    for (;;) {
        CHECK_ERR(dmtr_poll(NULL, pop), EAGAIN);
        if (pthread_tryjoin_np(t, NULL) == 0)
            break;
    }
    CHECK_ERR(dmtr_wait(NULL, push), 0);
    free(data);
    CHECK_ERR(dmtr_close(memory), 0);
    CHECK_ERR(dmtr_drop(pop), 0);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0);
}

/* Arrays of several segments of awkward lengths keep their shape. */
static void test_segments(void)
{
    static const uint32_t shapes[][4] = {{3, 1, 4093, 70001},
                                         {3, 1, 0, 1},
                                         {3, 0, 0, 7},
                                         {2, 999983, 3, 0},
                                         {3, 2097151, 3145729, 2097153},
                                         {1, BIG - 1, 0, 0}};
    int client = 0, server = 0;
    test_tcp_pair(&client, &server);
    for (uint32_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        dmtr_sgarray_t sga;
        dmtr_qresult_t qr;
        dmtr_qtoken_t push = 0, pop = q_start_pop(server);
        char *block;
        size_t from = 0;
        memset(&sga, 0xee, sizeof sga); /* sga_buf and sga_addr are not looked at */
        sga.sga_numsegs = shapes[s][0];
        for (uint32_t i = 0; i < sga.sga_numsegs; i++) {
            sga.sga_segs[i].sgaseg_len = shapes[s][i + 1];
            sga.sga_segs[i].sgaseg_buf = xmalloc(shapes[s][i + 1]);
            fill(sga.sga_segs[i].sgaseg_buf, shapes[s][i + 1], s, from);
            from += shapes[s][i + 1];
        }
        CHECK_ERR(dmtr_push(&push, client, &sga), 0);
        CHECK_ERR(dmtr_wait(&qr, pop), 0);
        CHECK_ERR(dmtr_wait(NULL, push), 0);
        CHECK_EQ(qr.qr_value.sga.sga_numsegs, sga.sga_numsegs);
        block = (char *)qr.qr_value.sga.sga_buf;
        from = 0;
        for (uint32_t i = 0; i < sga.sga_numsegs; i++) {
            const dmtr_sgaseg_t *seg = &qr.qr_value.sga.sga_segs[i];
            CHECK_EQ(seg->sgaseg_len, shapes[s][i + 1]);
            CHECK(seg->sgaseg_len == 0 || (char *)seg->sgaseg_buf >= block);
            check_fill(seg->sgaseg_buf, seg->sgaseg_len, s, from);
            from += seg->sgaseg_len;
            free(sga.sga_segs[i].sgaseg_buf);
        }
        free(block);
    }
    CHECK_ERR(dmtr_close(client), 0);
    CHECK_ERR(dmtr_close(server), 0);
}

/* Over the limit: refused by the call, however the sum comes about; the connection goes on. */
static void test_limit(void)
{
    enum { LIMIT = 64 << 20 };
    int client = 0, server = 0;
    char *data = (char *)calloc(1, LIMIT + 1);
    dmtr_sgarray_t sga = test_sga(data, LIMIT + 1);
    dmtr_qtoken_t qt = 0, pop;
    dmtr_qresult_t qr;
    CHECK(data != NULL);
    test_tcp_pair(&client, &server);
    CHECK_ERR(dmtr_push(&qt, client, &sga), EMSGSIZE);
    sga.sga_segs[0].sgaseg_len = 0xffffffffu;
    CHECK_ERR(dmtr_push(&qt, client, &sga), EMSGSIZE);
    sga.sga_numsegs = 3;
    sga.sga_segs[1] = sga.sga_segs[2] = sga.sga_segs[0];
    CHECK_ERR(dmtr_push(&qt, client, &sga), EMSGSIZE);
    sga.sga_segs[0].sgaseg_len = 10; /* 10 + (4 GiB - 1) + 6 is 15 in 32 bits */
    sga.sga_segs[2].sgaseg_len = 6;
    CHECK_ERR(dmtr_push(&qt, client, &sga), EMSGSIZE);
    pop = q_start_pop(server);
    qt = q_start_push(client, data, LIMIT - 64);
    CHECK_ERR(dmtr_wait(&qr, pop), 0);
    CHECK_EQ(qr.qr_value.sga.sga_segs[0].sgaseg_len, LIMIT - 64);
    free(qr.qr_value.sga.sga_buf);
    CHECK_ERR(dmtr_wait(NULL, qt), 0);
    CHECK_ERR(dmtr_close(client), 0);
    CHECK_ERR(dmtr_close(server), 0);
    free(data);
}

/*
 * Messages of random sizes, several pushes and pops pending at any time, in one wait: all come, in
 * order.
 */
static void test_pipelined(void)
{
    enum { MESSAGES = 200, PUSHES = 6, POPS = 4 };
    uint32_t sizes[MESSAGES];
    unsigned char *data[PUSHES];
    dmtr_qtoken_t qts[PUSHES + POPS];
    int client = 0, server = 0, pushed = 0, popped = 0;
    unsigned seed = (unsigned)time(NULL);
    fprintf(stderr, "seed %u\n", seed);
    for (int i = 0; i < MESSAGES; i++)
        sizes[i] = 1 + (uint32_t)rand_r(&seed) % (200 << 10);
    test_tcp_pair(&client, &server);
    for (int i = 0; i < PUSHES; i++, pushed++) {
        data[i] = big((uint32_t)pushed, sizes[pushed]);
        qts[i] = q_start_push(client, data[i], sizes[pushed]);
    }
    for (int i = 0; i < POPS; i++)
        qts[PUSHES + i] = q_start_pop(server);
    while (popped < MESSAGES) {
        dmtr_qresult_t qr;
        int at = -1;
        CHECK_ERR(dmtr_wait_any(&qr, &at, qts, PUSHES + POPS), 0);
        CHECK(at >= 0 && at < PUSHES + POPS);
        if (at >= PUSHES) {
            CHECK_EQ(qr.qr_opcode, DMTR_OPC_POP);
            CHECK_EQ(qr.qr_value.sga.sga_segs[0].sgaseg_len, sizes[popped]);
            check_fill(qr.qr_value.sga.sga_segs[0].sgaseg_buf, sizes[popped], (uint32_t)popped, 0);
            free(qr.qr_value.sga.sga_buf);
            qts[at] = q_start_pop(server);
            popped++;
        } else {
            CHECK_EQ(qr.qr_opcode, DMTR_OPC_PUSH);
            free(data[at]);
            if (pushed < MESSAGES) {
                data[at] = big((uint32_t)pushed, sizes[pushed]);
                qts[at] = q_start_push(client, data[at], sizes[pushed++]);
            } else {
                data[at] = NULL; /* a token that never completes takes the place */
                qts[at] = q_start_pop(client);
            }
        }
    }
    CHECK_ERR(dmtr_close(client), 0);
    CHECK_ERR(dmtr_close(server), 0);
    for (int i = 0; i < PUSHES + POPS; i++) {
        if (i < PUSHES && data[i] != NULL) { /* sent, and not yet reported */
            CHECK_ERR(dmtr_wait(NULL, qts[i]), 0);
            free(data[i]);
        } else {
            CHECK_ERR(dmtr_wait(NULL, qts[i]), ECANCELED);
        }
    }
}

int main(void)
{
    test_init();
    test_slow_reader();
    test_progress_unasked();
    test_segments();
    test_limit();
    test_pipelined();
    return 0;
}
