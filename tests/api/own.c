/*
 * dmtr_own: errors; pushes whose memory the program has used again arrive as they were, in messages
 * and bare streams, whether begun or not, dropped, or behind others; the result is what was pushed.
 */
#include "api/kinds.h"

#include <dmtr/ext.h>
#include <sys/resource.h>

enum { SLACK = 16 << 20 };

static uint32_t size = 6 << 20; /* of a push */

static void test_errors(void)
{
    static const dmtr_qtoken_t unknown[] = {0, 1, 0xffffffffffffffffu, (dmtr_qtoken_t)0x40000000 << 32};
    struct kinds k;
    dmtr_qtoken_t qt;
    dmtr_qresult_t qr;
    int rc;
    kinds_open(&k);
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
        CHECK_ERR(dmtr_own(unknown[i]), ENOENT);
    qt = q_start_pop(k.memory); /* pending */
    CHECK_ERR(dmtr_own(qt), EINVAL);
    q_push(k.memory, "x", 1);
    CHECK_ERR(dmtr_own(qt), EINVAL); /* completed */
    CHECK_ERR(dmtr_wait(NULL, qt), 0);
    CHECK_ERR(dmtr_own(qt), ENOENT);
    qt = q_start_accept(k.listener);
    CHECK_ERR(dmtr_own(qt), EINVAL);
    CHECK_ERR(dmtr_drop(qt), 0);
    for (int i = 0; i < 2; i++) { /* completed pushes */
        qt = q_start_push(i == 0 ? k.memory : k.connected, "x", 1);
        CHECK_ERR(dmtr_own(qt), 0);
        CHECK_ERR(dmtr_own(qt), 0);
        CHECK_ERR(dmtr_wait(&qr, qt), 0);
        CHECK_EQ(qr.qr_opcode, DMTR_OPC_PUSH);
        CHECK_ERR(dmtr_own(qt), ENOENT);
    }
    qt = q_start_push(k.file, "x", 1);
    CHECK_ERR(dmtr_own(qt), ENOTSUP);
    while ((rc = dmtr_poll(NULL, qt)) == EAGAIN)
        ;
    CHECK_ERR(rc, 0);
    CHECK_ERR(dmtr_own(qt), 0);
    CHECK_ERR(dmtr_drop(qt), 0);
    kinds_close(&k);
}

/* A push of three segments with all the bytes of a pattern, in memory of its own. */
struct pushed {
    dmtr_sgarray_t sga;
    dmtr_qtoken_t qt;
    unsigned char *memory;
};

static void start(struct pushed *p, int qd, uint32_t seed)
{
    uint32_t lens[3] = {size / 2 + seed, 1, size / 2 - seed - 1}, at = 0;
    p->memory = (unsigned char *)xmalloc(size);
    fill(p->memory, size, seed, 0);
    memset(&p->sga, 0, sizeof p->sga);
    p->sga.sga_buf = &p->sga;
    p->sga.sga_numsegs = DMTR_SGARRAY_MAXSIZE;
    for (uint32_t i = 0; i < p->sga.sga_numsegs; i++) {
        p->sga.sga_segs[i].sgaseg_buf = p->memory + at;
        p->sga.sga_segs[i].sgaseg_len = DMTR_SGARRAY_MAXSIZE == 3 ? lens[i] : size;
        at += lens[i];
    }
    CHECK_ERR(dmtr_push(&p->qt, qd, &p->sga), 0);
}

static void own(struct pushed *p)
{
    CHECK_ERR(dmtr_own(p->qt), 0);
    memset(p->memory, 0xaa, size);
    free(p->memory);
    p->memory = NULL;
}

/* Checks that the push has gone, and that its result is the array pushed. */
static void finish(struct pushed *p, int want)
{
    dmtr_qresult_t qr;
    CHECK_ERR(dmtr_wait(&qr, p->qt), want);
    CHECK_EQ(qr.qr_opcode, DMTR_OPC_PUSH);
    CHECK_EQ(qr.qr_value.sga.sga_numsegs, p->sga.sga_numsegs);
    CHECK(qr.qr_value.sga.sga_buf == p->sga.sga_buf);
    for (uint32_t i = 0; i < p->sga.sga_numsegs; i++) {
        CHECK(qr.qr_value.sga.sga_segs[i].sgaseg_buf == p->sga.sga_segs[i].sgaseg_buf);
        CHECK_EQ(qr.qr_value.sga.sga_segs[i].sgaseg_len, p->sga.sga_segs[i].sgaseg_len);
    }
    free(p->memory);
}

struct reader {
    int fd, messages, count;
    uint32_t seeds[4];
};

static void *read_all(void *arg)
{
    struct reader *r = (struct reader *)arg;
    unsigned char *got = (unsigned char *)xmalloc(size);
    for (int i = 0; i < r->count; i++) {
        uint32_t lens[3] = {size / 2 + r->seeds[i], 1, size / 2 - r->seeds[i] - 1}, at = 0;
        if (!r->messages) {
            CHECK_EQ(plain_recv(r->fd, got, size), size);
        } else {
            CHECK_EQ(plain_recv(r->fd, got, 12), 12);
            for (uint32_t k = 0; k < DMTR_SGARRAY_MAXSIZE; k++) {
                uint32_t want = DMTR_SGARRAY_MAXSIZE == 3 ? lens[k] : size;
                CHECK_EQ(plain_recv(r->fd, got + at, 4), 4);
                CHECK_EQ(get32(got + at), want);
                CHECK_EQ(plain_recv(r->fd, got + at, want), want);
                at += want;
            }
        }
        check_fill(got, size, r->seeds[i], 0);
    }
    free(got);
    return NULL;
}

/* Of five pushes to a peer that does not read yet, some are owned, some dropped; what is left arrives. */
static void test_slow_reader(int messages)
{
    enum { PUSHES = 5 };
    struct pushed p[PUSHES];
    struct reader r = {0, messages, 4, {0, 1, 3, 4}};
    pthread_t t;
    int qd = q_pair_with(&r.fd, 8192);
    if (messages) /* the peer decides */
        plain_send_message(r.fd, 1, 7);
    else
        plain_send(r.fd, "xxxx", 4);
    CHECK_ERR(q_pop_error(qd), 0);
    for (uint32_t i = 0; i < PUSHES; i++)
        start(&p[i], qd, i);
    q_progress(5);
    for (int i = 0; i < PUSHES; i++)
        if (i != 3)
            own(&p[i]);
    for (int i = 0; i < PUSHES; i++)
        CHECK_ERR(dmtr_poll(NULL, p[i].qt), EAGAIN);
    CHECK_ERR(dmtr_drop(p[0].qt), 0); /* begun: goes on */
    CHECK_ERR(dmtr_drop(p[2].qt), 0); /* not begun: does not go */
    CHECK_ERR(dmtr_own(p[0].qt), ENOENT);
    start_thread(&t, read_all, &r);
    finish(&p[1], 0);
    CHECK_ERR(dmtr_own(p[4].qt), 0);
    finish(&p[3], 0);
    finish(&p[4], 0);
    join_thread(t);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(r.fd) == 0);
}

static void test_close(void)
{
    struct pushed p[2];
    int fd, qd = q_pair_with(&fd, 8192);
    for (uint32_t i = 0; i < 2; i++)
        start(&p[i], qd, i);
    own(&p[0]);
    own(&p[1]);
    CHECK_ERR(dmtr_close(qd), 0);
    finish(&p[0], ECANCELED);
    finish(&p[1], ECANCELED);
    CHECK(close(fd) == 0);
}

/* Without memory for a copy the push goes on. */
static void test_no_memory(void)
{
    struct pushed p;
    struct reader r = {0, 1, 1, {2}};
    struct rlimit old, none;
    pthread_t t;
    int rc, qd = q_pair_with(&r.fd, 8192);
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    size = 48 << 20;
    start(&p, qd, 2);
    CHECK_ERR(dmtr_poll(NULL, p.qt), EAGAIN);
    CHECK(getrlimit(RLIMIT_AS, &old) == 0);
    none = old;
    CHECK(f != NULL && fscanf(f, "%lu", &pages) == 1 && fclose(f) == 0);
    none.rlim_cur = pages * (unsigned long)sysconf(_SC_PAGESIZE) + SLACK; /* Go may need some meanwhile */
    CHECK(setrlimit(RLIMIT_AS, &none) == 0);
    rc = dmtr_own(p.qt);
    CHECK(setrlimit(RLIMIT_AS, &old) == 0);
    CHECK_ERR(rc, ENOMEM);
    start_thread(&t, read_all, &r);
    finish(&p, 0);
    join_thread(t);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(r.fd) == 0);
}

int main(int argc, char *argv[])
{
    CHECK_ERR(dmtr_own(1), EPERM);
    if (argc > 1 && strcmp(argv[1], "no memory") == 0) {
        test_init();
        test_no_memory();
        return 0;
    }
    test_watchdog();
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
    run_again("no memory", "MALLOC_ARENA_MAX", "1"); /* the limit does not concern the room that other arenas have */
#endif
    CHECK_ERR(dmtr_init(0, NULL), 0);
    test_errors();
    test_slow_reader(1);
    test_slow_reader(0);
    test_close();
    return 0;
}
