/*
 * Random operations on several connections at once: pushes of one to three segments from one byte
 * to far more than a socket buffer, up to 8 under way; pops, of which the newest is dropped now and
 * then, seen or not; waits for all tokens together, polls, and waits for single ones. Every message
 * arrives once, whole and in order. First alone, then in three threads at once. A failing seed can be
 * given as argument.
 */
#include "test.h"

#include <pthread.h>
#include <string.h>

enum { PAIRS = 3, DIRECTIONS = 2 * PAIRS, PUSHES = 8, POPS = 4, STEPS = 10000, SEEDS = 3, THREADS = 3 };

struct push {
    dmtr_qtoken_t qt; /* 0: none */
    unsigned char *data;
};

/* One direction of a connection. */
struct way {
    int from, to;
    uint32_t sent, received;
    struct push pushes[PUSHES];
    dmtr_qtoken_t pops[POPS]; /* oldest first */
    int num_pops;
};

static __thread uint64_t state;

static uint32_t any(uint32_t n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % n;
}

static unsigned char pattern(uint32_t number, size_t at) { return (unsigned char)(number * 31 + at * 7 + at / 251); }

static uint32_t any_length(void)
{
    static const uint32_t limits[] = {1, 64, 64, 64, 1500, 3000, 40000, 1000000};
    return any(limits[any(8)]);
}

static void push_one(struct way *w)
{
    struct push *p = NULL;
    dmtr_sgarray_t sga;
    uint32_t total = 4, at = 0;
    for (int i = 0; i < PUSHES && p == NULL; i++)
        if (w->pushes[i].qt == 0)
            p = &w->pushes[i];
    if (p == NULL)
        return;
    memset(&sga, 0xee, sizeof sga); /* what the library must not look at */
    sga.sga_numsegs = 1 + any(3);
    for (uint32_t i = 0; i < sga.sga_numsegs; i++)
        total += sga.sga_segs[i].sgaseg_len = any_length();
    sga.sga_segs[0].sgaseg_len += 4;
    p->data = malloc(total);
    CHECK(p->data != NULL);
    for (uint32_t i = 0; i < total; i++)
        p->data[i] = pattern(w->sent, i);
    memcpy(p->data, &w->sent, 4);
    for (uint32_t i = 0; i < sga.sga_numsegs; i++) {
        sga.sga_segs[i].sgaseg_buf = p->data + at;
        at += sga.sga_segs[i].sgaseg_len;
    }
    CHECK_ERR(dmtr_push(&p->qt, w->from, &sga), 0);
    w->sent++;
}

static void pop_one(struct way *w)
{
    if (w->num_pops < POPS)
        CHECK_ERR(dmtr_pop(&w->pops[w->num_pops++], w->to), 0);
}

static void check_message(struct way *w, dmtr_sgarray_t *sga)
{
    size_t at = 0;
    for (uint32_t s = 0; s < sga->sga_numsegs; s++) {
        const unsigned char *b = sga->sga_segs[s].sgaseg_buf;
        for (uint32_t i = 0; i < sga->sga_segs[s].sgaseg_len; i++, at++) {
            unsigned char want = at < 4 ? (unsigned char)(w->received >> 8 * at) : pattern(w->received, at);
            if (b[i] != want) {
                fprintf(stderr, "message %u: byte %zu is %u, expected %u\n", w->received, at, b[i], want);
                exit(1);
            }
        }
    }
    w->received++;
    CHECK_ERR(dmtr_sgafree(sga), 0);
}

/* Takes note of a completion that has been reported and whose token is gone. */
static void completed(struct way *ways, dmtr_qresult_t *r)
{
    for (struct way *w = ways; w < ways + DIRECTIONS; w++) {
        for (int i = 0; i < PUSHES; i++)
            if (w->pushes[i].qt == r->qr_qt) {
                CHECK_EQ(r->qr_opcode, DMTR_OPC_PUSH);
                free(w->pushes[i].data);
                w->pushes[i].qt = 0;
                return;
            }
        if (w->num_pops > 0 && w->pops[0] == r->qr_qt) {
            CHECK_EQ(r->qr_opcode, DMTR_OPC_POP);
            memmove(w->pops, w->pops + 1, sizeof w->pops - sizeof w->pops[0]);
            w->num_pops--;
            check_message(w, &r->qr_value.sga);
            return;
        }
    }
    CHECK(!"a token that was not waited for, or a pop out of order");
}

/* All tokens under way, in an order that changes. */
static int collect(const struct way *ways, dmtr_qtoken_t *out)
{
    int n = 0, first = (int)any(DIRECTIONS);
    for (int k = 0; k < DIRECTIONS; k++) {
        const struct way *w = &ways[(first + k) % DIRECTIONS];
        for (int i = 0; i < PUSHES; i++)
            if (w->pushes[i].qt != 0)
                out[n++] = w->pushes[i].qt;
        for (int i = 0; i < w->num_pops; i++)
            out[n++] = w->pops[i];
    }
    return n;
}

/* Whether something can be waited for without waiting for ever. */
static int can_wait(const struct way *ways)
{
    for (const struct way *w = ways; w < ways + DIRECTIONS; w++)
        if (w->num_pops > 0 && w->received < w->sent)
            return 1;
    return 0;
}

static void wait_for_one(struct way *ways)
{
    dmtr_qtoken_t tokens[DIRECTIONS * (PUSHES + POPS)];
    dmtr_qresult_t r;
    int at = -1, n = collect(ways, tokens);
    if (!can_wait(ways))
        return;
    CHECK_ERR(dmtr_wait_any(&r, &at, tokens, n), 0);
    CHECK(at >= 0 && at < n && tokens[at] == r.qr_qt);
    completed(ways, &r);
}

static void drop_newest(struct way *w)
{
    if (w->num_pops == 0)
        return;
    CHECK_ERR(dmtr_drop(w->pops[--w->num_pops]), 0);
}

static void poll_oldest(struct way *ways, struct way *w)
{
    dmtr_qresult_t r;
    if (w->num_pops == 0)
        return;
    int err = dmtr_poll(&r, w->pops[0]);
    CHECK(err == 0 || err == EAGAIN);
    if (err == 0) {
        CHECK_ERR(dmtr_drop(r.qr_qt), 0);
        completed(ways, &r);
    }
}

static void run(uint64_t seed)
{
    struct way ways[DIRECTIONS];
    memset(ways, 0, sizeof ways);
    state = seed;
    for (int i = 0; i < PAIRS; i++) {
        struct way *there = &ways[2 * i], *back = there + 1;
        test_tcp_pair(&there->from, &there->to);
        back->from = there->to;
        back->to = there->from;
    }
    for (uint32_t i = test_scaled(STEPS); i > 0; i--) {
        struct way *w = &ways[any(DIRECTIONS)];
        switch (any(8)) {
        case 0: case 1: push_one(w); break;
        case 2: case 3: pop_one(w); break;
        case 4: drop_newest(w); break;
        case 5: poll_oldest(ways, w); break;
        default: wait_for_one(ways);
        }
    }
    for (struct way *w = ways; w < ways + DIRECTIONS; w++)
        while (w->received < w->sent) {
            pop_one(w);
            wait_for_one(ways);
        }
    for (struct way *w = ways; w < ways + DIRECTIONS; w++) {
        for (int i = 0; i < PUSHES; i++)
            if (w->pushes[i].qt != 0) {
                CHECK_ERR(dmtr_wait(NULL, w->pushes[i].qt), 0);
                free(w->pushes[i].data);
            }
        while (w->num_pops > 0)
            drop_newest(w);
    }
    for (struct way *w = ways; w < ways + DIRECTIONS; w++)
        CHECK_ERR(dmtr_close(w->from), 0);
}

static void *run_in_thread(void *seed)
{
    run(*(uint64_t *)seed);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    uint64_t seeds[THREADS];
    test_init();
    if (argc > 1) {
        run(strtoull(argv[1], NULL, 10));
        return 0;
    }
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
        run(seed);
    }
    for (int i = 0; i < THREADS; i++) {
        seeds[i] = 1000 + (uint64_t)i;
        CHECK_EQ(pthread_create(&threads[i], NULL, run_in_thread, &seeds[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    return 0;
}
