/* One program for each cell of the matrix: uses every kind of call, and looks closely at the results. */
#include "program.h"

static char hello[] = "hello, world";
#define HELLO ((uint32_t)sizeof hello)

static void check_sizes(void)
{
    int old = DMTR_API == 2019;
    CHECK_EQ(DMTR_SGARRAY_MAXSIZE, old ? 3 : 1);
    CHECK_EQ(sizeof(dmtr_sgarray_t), old ? 80 : 48);
    CHECK_EQ(sizeof(dmtr_qresult_t), old ? 96 : 64);
    CHECK_EQ(sizeof(dmtr_accept_result_t), old ? 24 : 20);
}

static dmtr_qtoken_t start_push(int qd, const dmtr_sgarray_t *sga)
{
    dmtr_qtoken_t qt = 0;
    CHECK_EQ(CALL(dmtr_push)(&qt, qd, sga), 0);
    return qt;
}

static dmtr_qtoken_t start_pop(int qd)
{
    dmtr_qtoken_t qt = 0;
    CHECK_EQ(CALL(dmtr_pop)(&qt, qd), 0);
    return qt;
}

static void check_same(const dmtr_sgarray_t *got, const dmtr_sgarray_t *want)
{
    CHECK(got->sga_buf == want->sga_buf);
    CHECK_EQ(got->sga_numsegs, want->sga_numsegs);
    for (uint32_t i = 0; i < want->sga_numsegs; i++) {
        CHECK(got->sga_segs[i].sgaseg_buf == want->sga_segs[i].sgaseg_buf);
        CHECK_EQ(got->sga_segs[i].sgaseg_len, want->sga_segs[i].sgaseg_len);
    }
    CHECK(memcmp(&got->sga_addr, &want->sga_addr, sizeof want->sga_addr) == 0);
}

/* Pushes and waits; the array comes back as it was. */
static void push(int qd, const dmtr_sgarray_t *sga)
{
    struct guarded g;
    dmtr_qtoken_t qt = start_push(qd, sga);
    refresh(&g);
    CHECK_EQ(CALL(dmtr_wait)(&g.qr, qt), 0);
    check_result(&g, DMTR_OPC_PUSH, qt);
    check_same(&g.qr.qr_value.sga, sga);
}

/* Takes the block of a pop, twice, the second time without effect. */
static void release(dmtr_sgarray_t *sga)
{
    CHECK(sga->sga_buf != NULL);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(CALL(dmtr_sgafree)(sga), 0);
        CHECK(sga->sga_buf == NULL);
        CHECK_EQ(sga->sga_numsegs, 0);
    }
}

static void test_tcp(void)
{
    int client, server, ready = -5;
    struct guarded g;
    dmtr_sgarray_t sga = array_of(hello, HELLO);
    dmtr_qtoken_t qts[2];
    tcp_pair(&client, &server);

    push(client, &sga);
    qts[0] = start_pop(client);
    qts[1] = start_pop(server);
    refresh(&g);
    CHECK_EQ(CALL(dmtr_wait_any)(&g.qr, &ready, qts, 2), 0);
    CHECK_EQ(ready, 1);
    check_result(&g, DMTR_OPC_POP, qts[1]);
    CHECK_EQ(g.qr.qr_value.sga.sga_numsegs, DMTR_SGARRAY_MAXSIZE);
    CHECK(array_holds(&g.qr.qr_value.sga, hello, HELLO));

    push(server, &g.qr.qr_value.sga);
    release(&g.qr.qr_value.sga);
    refresh(&g);
    CHECK_EQ(CALL(dmtr_wait)(&g.qr, qts[0]), 0);
    check_result(&g, DMTR_OPC_POP, qts[0]);
    CHECK(array_holds(&g.qr.qr_value.sga, hello, HELLO));
    release(&g.qr.qr_value.sga);

    qts[0] = start_pop(server);
    CHECK_EQ(CALL(dmtr_close)(client), 0);
    refresh(&g);
    CHECK_EQ(CALL(dmtr_wait)(&g.qr, qts[0]), ECONNABORTED);
    check_result(&g, DMTR_OPC_POP, qts[0]);
    CHECK_EQ(CALL(dmtr_close)(server), 0);
}

static void test_connect(void)
{
    int client, server, flag = -1, qd = 0;
    struct sockaddr_in addr = loopback(1);
    tcp_pair(&client, &server);
    CHECK_EQ(connect_to(client, &addr), EPERM);
    CHECK_EQ(CALL(dmtr_socket)(&qd, AF_INET, SOCK_STREAM, 0), 0);
    CHECK_EQ(connect_to(qd, &addr), ECONNREFUSED);
    CHECK_EQ(CALL(dmtr_close)(qd), 0);
    CHECK_EQ(CALL(dmtr_is_qd_valid)(&flag, qd), 0);
    CHECK_EQ(flag, 0);
    CHECK_EQ(CALL(dmtr_close)(client), 0);
    CHECK_EQ(CALL(dmtr_close)(server), 0);
}

static void test_poll(void)
{
    int client, server;
    struct guarded g, again;
    dmtr_sgarray_t sga = array_of(hello, HELLO);
    tcp_pair(&client, &server);
    dmtr_qtoken_t qt = start_pop(server);
    refresh(&g);
    CHECK_EQ(CALL(dmtr_poll)(&g.qr, qt), EAGAIN);
    CHECK(all_fresh(&g, sizeof g));
    push(client, &sga);
    int rc;
    while ((rc = CALL(dmtr_poll)(&g.qr, qt)) == EAGAIN)
        ;
    CHECK_EQ(rc, 0);
    check_result(&g, DMTR_OPC_POP, qt);
    for (int i = 0; i < 3; i++) {
        refresh(&again);
        CHECK_EQ(CALL(dmtr_poll)(&again.qr, qt), 0);
        CHECK(again.qr.qr_value.sga.sga_buf == g.qr.qr_value.sga.sga_buf);
        CHECK(array_holds(&again.qr.qr_value.sga, hello, HELLO));
        CHECK_EQ(CALL(dmtr_poll)(NULL, qt), 0);
    }
    release(&g.qr.qr_value.sga);
    CHECK_EQ(CALL(dmtr_drop)(qt), 0);
    refresh(&g);
    CHECK_EQ(CALL(dmtr_poll)(&g.qr, qt), ENOENT);
    check_result(&g, DMTR_OPC_INVALID, qt);
    CHECK_EQ(CALL(dmtr_close)(client), 0);
    CHECK_EQ(CALL(dmtr_close)(server), 0);
}

/* Through a memory queue everything comes as it was, the address included. */
static void test_memory(void)
{
    int qd = 0;
    char *nowhere = hello + 5;
    struct guarded g;
    dmtr_sgarray_t sga = array_of(hello, HELLO);
    sga.sga_buf = nowhere;
    sga.sga_addr = loopback(4711);
    CHECK_EQ(CALL(dmtr_queue)(&qd), 0);
    push(qd, &sga);
    dmtr_qtoken_t qt = start_pop(qd);
    refresh(&g);
    CHECK_EQ(CALL(dmtr_wait)(&g.qr, qt), 0);
    check_result(&g, DMTR_OPC_POP, qt);
    check_same(&g.qr.qr_value.sga, &sga);
    CHECK_EQ(CALL(dmtr_close)(qd), 0);
}

static void test_udp(void)
{
    struct sockaddr_in from, to;
    struct guarded g;
    int client = bound_socket(SOCK_DGRAM, &from), server = bound_socket(SOCK_DGRAM, &to), other = 0;
    dmtr_sgarray_t sga = array_of(hello, HELLO);
    dmtr_qtoken_t qt;
    sga.sga_addr = to;
    push(client, &sga);
    qt = start_pop(server);
    refresh(&g);
    CHECK_EQ(CALL(dmtr_wait)(&g.qr, qt), 0);
    check_result(&g, DMTR_OPC_POP, qt);
    CHECK(array_holds(&g.qr.qr_value.sga, hello, HELLO));
    CHECK_EQ(g.qr.qr_value.sga.sga_addr.sin_port, from.sin_port);
    release(&g.qr.qr_value.sga);

    CHECK_EQ(CALL(dmtr_socket)(&other, AF_INET, SOCK_DGRAM, 0), 0);
    CHECK_EQ(connect_to(other, &to), 0);
    sga = array_of(hello, 5);
    memset((void *)&sga.sga_addr, FRESH, sizeof sga.sga_addr); /* ignored */
    push(other, &sga);
    qt = start_pop(server);
    CHECK_EQ(CALL(dmtr_wait)(&g.qr, qt), 0);
    CHECK(array_holds(&g.qr.qr_value.sga, hello, 5));
    release(&g.qr.qr_value.sga);
    CHECK_EQ(CALL(dmtr_close)(client), 0);
    CHECK_EQ(CALL(dmtr_close)(server), 0);
    CHECK_EQ(CALL(dmtr_close)(other), 0);
}

static void test_wait_all(void)
{
    enum { N = 4 };
    int qd = 0;
    struct {
        dmtr_qresult_t qrs[N];
        dmtr_qresult_t guard;
    } results;
    dmtr_qtoken_t qts[N + 1];
    dmtr_sgarray_t sga = array_of(hello, HELLO);
    CHECK_EQ(CALL(dmtr_queue)(&qd), 0);
    for (int i = 0; i < N; i += 2) {
        qts[i] = start_pop(qd);
        qts[i + 1] = start_push(qd, &sga);
    }
    memset((void *)&results, FRESH, sizeof results);
    CHECK_EQ(CALL(dmtr_wait_all)(results.qrs, qts, N), 0);
    for (int i = 0; i < N; i++) {
        CHECK_EQ(results.qrs[i].qr_opcode, i % 2 == 0 ? DMTR_OPC_POP : DMTR_OPC_PUSH);
        CHECK_EQ(results.qrs[i].qr_qt, qts[i]);
        CHECK(array_holds(&results.qrs[i].qr_value.sga, hello, HELLO));
    }
    CHECK(all_fresh(&results.guard, sizeof results.guard));
    CHECK_EQ(CALL(dmtr_wait_all)(results.qrs, qts, N), ENOENT);
    CHECK_EQ(results.qrs[N - 1].qr_opcode, DMTR_OPC_INVALID);
    CHECK(all_fresh(&results.guard, sizeof results.guard));
    CHECK_EQ(CALL(dmtr_wait_all)(results.qrs, qts, 0), EINVAL);
    qts[0] = start_push(qd, &sga);
    CHECK_EQ(CALL(dmtr_wait_all)(NULL, qts, 1), 0);
    CHECK_EQ(CALL(dmtr_close)(qd), 0);
}

static void test_ends_of_waits(void)
{
    int qd = 0, ready = 5;
    struct guarded g;
    CHECK_EQ(CALL(dmtr_queue)(&qd), 0);
    dmtr_qtoken_t qt = start_pop(qd);
    refresh(&g);
    CHECK_EQ(CALL(dmtr_wait_timeout)(&g.qr, qt, 1000), ETIMEDOUT);
    check_result(&g, DMTR_OPC_INVALID, qt);
    refresh(&g);
    CHECK_EQ(CALL(dmtr_wait_any_timeout)(&g.qr, &ready, &qt, 1, 1000), ETIMEDOUT);
    CHECK_EQ(g.qr.qr_opcode, DMTR_OPC_INVALID);
    CHECK(all_fresh(g.guard, sizeof g.guard));
    CHECK_EQ(ready, -1);
    int err = 5, count = 1;
    refresh(&g);
    CHECK_EQ(CALL(dmtr_wait_some)(&g.qr, &err, &ready, &count, &qt, 1, 1000), ETIMEDOUT);
    CHECK_EQ(count, 0);
    CHECK_EQ(CALL(dmtr_stop)(), 0);
    CHECK_EQ(CALL(dmtr_wait)(NULL, qt), EINTR);
    CHECK_EQ(CALL(dmtr_resume)(), 0);
    dmtr_sgarray_t sga = array_of(hello, HELLO);
    push(qd, &sga);
    refresh(&g);
    CHECK_EQ(CALL(dmtr_wait_any_timeout)(&g.qr, &ready, &qt, 1, DMTR_FOREVER), 0);
    check_result(&g, DMTR_OPC_POP, qt);
    CHECK(array_holds(&g.qr.qr_value.sga, hello, HELLO));
    qt = start_pop(qd);
    push(qd, &sga);
    refresh(&g);
    count = 1;
    CHECK_EQ(CALL(dmtr_wait_some)(&g.qr, &err, &ready, &count, &qt, 1, DMTR_FOREVER), 0);
    CHECK_EQ(count, 1);
    CHECK_EQ(err, 0);
    check_result(&g, DMTR_OPC_POP, qt);
    CHECK(array_holds(&g.qr.qr_value.sga, hello, HELLO));
    CHECK_EQ(CALL(dmtr_close)(qd), 0);
}

static void test_errors(void)
{
    int qd = 0;
    struct guarded g;
    dmtr_qtoken_t qt = 77;
    dmtr_sgarray_t sga = array_of(hello, HELLO);
    size_t len = 1;
    CHECK_EQ(CALL(dmtr_queue)(&qd), 0);
    CHECK_EQ(CALL(dmtr_push)(&qt, qd, NULL), EINVAL);
    CHECK_EQ(CALL(dmtr_push)(NULL, qd, &sga), EINVAL);
    sga.sga_numsegs = 0;
    CHECK_EQ(CALL(dmtr_push)(&qt, qd, &sga), EINVAL);
    sga.sga_numsegs = DMTR_SGARRAY_MAXSIZE + 1;
    CHECK_EQ(CALL(dmtr_push)(&qt, qd, &sga), EINVAL);
    CHECK_EQ(CALL(dmtr_sgalen)(&len, &sga), EINVAL);
    CHECK_EQ(len, 0);
    CHECK_EQ(qt, 77);
    refresh(&g);
    CHECK_EQ(CALL(dmtr_wait)(&g.qr, 77), ENOENT);
    check_result(&g, DMTR_OPC_INVALID, 77);
    refresh(&g);
    CHECK_EQ(CALL(dmtr_wait_any)(&g.qr, NULL, NULL, 1), EINVAL);
    CHECK(all_fresh(&g, sizeof g));
    CHECK_EQ(CALL(dmtr_close)(qd), 0);
}

static void test_helpers(void)
{
    int i = 0;
    uint16_t u = 0;
    void *memory = NULL;
    dmtr_latency_t *latency = NULL;
    FILE *null = fopen("/dev/null", "w");
#if DMTR_API == 2019
    CHECK_EQ(CALL(dmtr_sztoint)(&i, 7), 0);
    CHECK_EQ(CALL(dmtr_sztoint)(&i, SIZE_MAX), ERANGE);
    CHECK_EQ(CALL(dmtr_sztoint)(NULL, 7), EINVAL);
#else
    CHECK_EQ(CALL(dmtr_sztoi)(&i, 7), 0);
    CHECK_EQ(i, 7);
    CHECK_EQ(CALL(dmtr_sztoi)(&i, SIZE_MAX), ERANGE);
    CHECK_EQ(CALL(dmtr_sztoi)(NULL, 7), EINVAL);
#endif
    CHECK_EQ(i, 0);
    CHECK_EQ(CALL(dmtr_sztou16)(&u, 65536), ERANGE);
    CHECK_EQ(CALL(dmtr_malloc)(&memory, 100), 0);
    free(memory);
    CHECK(null != NULL);
    CHECK_EQ(CALL(dmtr_new_latency)(&latency, "x"), 0);
    CHECK_EQ(CALL(dmtr_record_latency)(latency, CALL(dmtr_now_ns)()), 0);
    CHECK_EQ(CALL(dmtr_dump_latency)(null, latency), 0);
    CHECK_EQ(CALL(dmtr_delete_latency)(&latency), 0);
    fclose(null);
}

static void check_selector(void)
{
    const char *want = getenv("MATRIX_SELECTOR");
    const char *got = (const char *)dlsym(RTLD_DEFAULT, "dmtr_default_libos");
    CHECK_EQ(got != NULL, want != NULL);
    CHECK(want == NULL || strcmp(got, want) == 0);
}

int main(void)
{
    struct guarded g;
    alarm(60);
    load();
    check_selector();
    check_sizes();
    refresh(&g);
    CHECK_EQ(CALL(dmtr_wait)(&g.qr, 1), EPERM);
    CHECK_EQ(CALL(dmtr_poll)(&g.qr, 1), EPERM);
    CHECK(all_fresh(&g, sizeof g));
    CHECK_EQ(CALL(dmtr_init)(0, NULL), 0);
    CHECK_EQ(CALL(dmtr_init)(0, NULL), EPERM);
    test_tcp();
    test_connect();
    test_poll();
    test_memory();
    test_udp();
    test_wait_all();
    test_ends_of_waits();
    test_errors();
    test_helpers();
    return 0;
}
