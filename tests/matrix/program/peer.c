/*
 * `peer server` prints its port, then answers everything one client sends with the same bytes; `peer client PORT` asks it. Both use as
 * many segments as their generation has, and the client fetches the answers in every way there is.
 */
#include "program.h"

enum { BIGGEST = 300000, WAYS = 6 };

static char bytes[BIGGEST];

static void push(int qd, uint32_t len, const struct sockaddr_in *to)
{
    dmtr_qtoken_t qt = 0;
    dmtr_sgarray_t sga = array_of(bytes, len);
    if (to != NULL)
        sga.sga_addr = *to;
    CHECK_EQ(CALL(dmtr_push)(&qt, qd, &sga), 0);
    CHECK_EQ(CALL(dmtr_wait)(NULL, qt), 0);
}

/* Polls until there is a result, then again: it must be the same each time. */
static int poll_and_wait(dmtr_qresult_t *qr, dmtr_qtoken_t qt)
{
    dmtr_qresult_t first;
    int rc;
    while ((rc = CALL(dmtr_poll)(&first, qt)) == EAGAIN)
        ;
    CHECK_EQ(CALL(dmtr_poll)(qr, qt), rc);
    CHECK(array_holds(&first.qr_value.sga, (char *)qr->qr_value.sga.sga_segs[0].sgaseg_buf, qr->qr_value.sga.sga_segs[0].sgaseg_len) ||
          qr->qr_value.sga.sga_numsegs > 1);
    CHECK_EQ(first.qr_value.sga.sga_numsegs, qr->qr_value.sga.sga_numsegs);
    CHECK_EQ(CALL(dmtr_wait)(qr, qt), rc);
    CHECK(first.qr_value.sga.sga_buf == qr->qr_value.sga.sga_buf);
    return rc;
}

/* Pops, in the way given, and returns the errno. */
static int pop(int qd, int way, struct guarded *g)
{
    dmtr_qtoken_t qt = 0;
    int ready = 0, rc = 0;
    CHECK_EQ(CALL(dmtr_pop)(&qt, qd), 0);
    refresh(g);
    switch (way) {
    case 0:
        rc = CALL(dmtr_wait)(&g->qr, qt);
        break;
    case 1:
        rc = CALL(dmtr_wait_any)(&g->qr, &ready, &qt, 1);
        break;
    case 2:
        rc = CALL(dmtr_wait_all)(&g->qr, &qt, 1);
        break;
    case 3:
        rc = CALL(dmtr_wait_timeout)(&g->qr, qt, DMTR_FOREVER);
        break;
    case 4:
        rc = CALL(dmtr_wait_any_timeout)(&g->qr, &ready, &qt, 1, DMTR_FOREVER);
        break;
    default:
        rc = poll_and_wait(&g->qr, qt);
    }
    check_result(g, DMTR_OPC_POP, qt);
    return rc;
}

static void serve(int datagrams, int qd)
{
    struct guarded g;
    for (int way = 0;; way = (way + 1) % WAYS) {
        int rc = pop(qd, way, &g);
        if (rc == ECONNABORTED)
            return;
        CHECK_EQ(rc, 0);
        size_t len = 0;
        CHECK_EQ(CALL(dmtr_sgalen)(&len, &g.qr.qr_value.sga), 0);
        CHECK(array_holds(&g.qr.qr_value.sga, bytes, len));
        struct sockaddr_in from = g.qr.qr_value.sga.sga_addr;
        CHECK_EQ(CALL(dmtr_sgafree)(&g.qr.qr_value.sga), 0);
        push(qd, (uint32_t)len, datagrams ? &from : NULL);
        if (datagrams && len == 1)
            return;
    }
}

static void server(int datagrams)
{
    struct sockaddr_in addr;
    dmtr_qtoken_t qt = 0;
    dmtr_qresult_t qr;
    int qd = bound_socket(datagrams ? SOCK_DGRAM : SOCK_STREAM, &addr);
    if (!datagrams)
        CHECK_EQ(CALL(dmtr_listen)(qd, 1), 0);
    printf("%d\n", ntohs(addr.sin_port));
    fflush(stdout);
    if (!datagrams) {
        CHECK_EQ(CALL(dmtr_accept)(&qt, qd), 0);
        CHECK_EQ(CALL(dmtr_wait)(&qr, qt), 0);
        qd = qr.qr_value.ares.qd;
    }
    serve(datagrams, qd);
}

static void client(int datagrams, uint16_t port)
{
    static const uint32_t sizes[] = {5, 100, 3000, 20000, BIGGEST, 1};
    struct sockaddr_in addr = loopback(port);
    struct guarded g;
    int qd = 0;
    CHECK_EQ(CALL(dmtr_socket)(&qd, AF_INET, datagrams ? SOCK_DGRAM : SOCK_STREAM, 0), 0);
    CHECK_EQ(connect_to(qd, &addr), 0);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        int last = sizes[i] == 1;
        for (int way = last ? WAYS - 1 : 0; way < WAYS && !(datagrams && sizes[i] == BIGGEST); way++) {
            push(qd, sizes[i], NULL);
            CHECK_EQ(pop(qd, way, &g), 0);
            CHECK(array_holds(&g.qr.qr_value.sga, bytes, sizes[i]));
            CHECK_EQ(CALL(dmtr_sgafree)(&g.qr.qr_value.sga), 0);
        }
    }
    CHECK_EQ(CALL(dmtr_close)(qd), 0);
}

int main(int argc, char *argv[])
{
    int datagrams = getenv("MATRIX_DATAGRAMS") != NULL;
    for (int i = 0; i < BIGGEST; i++)
        bytes[i] = (char)(i % 251);
    alarm(60);
    CHECK_EQ(CALL(dmtr_init)(0, NULL), 0);
    if (argc == 2 && strcmp(argv[1], "server") == 0)
        server(datagrams);
    else if (argc == 3 && strcmp(argv[1], "client") == 0)
        client(datagrams, (uint16_t)atoi(argv[2]));
    else
        return 2;
    return 0;
}
