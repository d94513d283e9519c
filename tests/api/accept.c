/* dmtr_accept (EMFILE for want of descriptors: net/emfile) */
#include "api/kinds.h"

enum { QUEUES = 8, TOKENS = 1000 };

static void test_result(void)
{
    struct sockaddr_in addr, mine;
    socklen_t size = sizeof mine;
    dmtr_qtoken_t qts[3];
    int listener = test_listen(&addr), fds[3];
    for (int i = 0; i < 3; i++) {
        qts[i] = q_start_accept(listener);
        CHECK_ERR(dmtr_poll(NULL, qts[i]), EAGAIN);
    }
    CHECK(qts[0] != qts[1] && qts[1] != qts[2]);
    for (int i = 0; i < 3; i++)
        fds[i] = plain_connect(&addr, 0);
    for (int i = 2; i >= 0; i--) { /* asked in any order, they were accepted in theirs */
        dmtr_qresult_t qr;
        char byte = (char)('0' + i);
        memset(&qr, 0xee, sizeof qr);
        CHECK_ERR(dmtr_wait(&qr, qts[i]), 0);
        CHECK_EQ(qr.qr_opcode, DMTR_OPC_ACCEPT);
        CHECK_EQ(qr.qr_qd, listener);
        CHECK_EQ(qr.qr_qt, qts[i]);
        CHECK(getsockname(fds[i], ADDR(&mine), &size) == 0);
        CHECK_EQ(qr.qr_value.ares.len, sizeof mine);
        CHECK_EQ(qr.qr_value.ares.addr.sin_family, AF_INET);
        CHECK_EQ(qr.qr_value.ares.addr.sin_port, mine.sin_port);
        CHECK_EQ(qr.qr_value.ares.addr.sin_addr.s_addr, mine.sin_addr.s_addr);
        CHECK(qr.qr_value.ares.qd != listener);
        CHECK_EQ(q_valid(qr.qr_value.ares.qd), 1);
        plain_send(fds[i], &byte, 1);
        q_pop_is(qr.qr_value.ares.qd, &byte, 1);
        CHECK_ERR(dmtr_close(qr.qr_value.ares.qd), 0);
        CHECK(close(fds[i]) == 0);
    }
    qts[0] = q_start_accept(listener);
    CHECK_ERR(dmtr_close(listener), 0);
    q_wait_fails(qts[0], DMTR_OPC_ACCEPT, ECANCELED);
}

/*
 * A pending accept holds no descriptor; one that finds none left fails and leaves the connection
 * where it is.
 */
static void test_queue_limit(void)
{
    struct sockaddr_in addr;
    int listener = test_listen(&addr), qds[QUEUES], fd;
    dmtr_qtoken_t qts[20];
    for (int i = 0; i < 20; i++)
        qts[i] = q_start_accept(listener);
    for (int i = 0; i < QUEUES - 1; i++)
        CHECK_ERR(dmtr_queue(&qds[i]), 0);
    CHECK_ERR(dmtr_queue(&qds[QUEUES - 1]), EMFILE);
    for (int i = 1; i < 20; i++)
        CHECK_ERR(dmtr_drop(qts[i]), 0);
    fd = plain_connect(&addr, 0);
    q_wait_fails(qts[0], DMTR_OPC_ACCEPT, EMFILE);
    CHECK_ERR(dmtr_close(qds[0]), 0);
    qds[0] = q_accept(listener);
    plain_send(fd, "x", 1);
    q_pop_is(qds[0], "x", 1);
    for (int i = 0; i < QUEUES - 1; i++)
        CHECK_ERR(dmtr_close(qds[i]), 0);
    CHECK_ERR(dmtr_close(listener), 0);
    CHECK(close(fd) == 0);
}

static void test_token_limit(void)
{
    struct sockaddr_in addr;
    int n = 0, err, listener = test_listen(&addr);
    dmtr_qtoken_t qts[TOKENS + 1];
    while ((err = dmtr_accept(&qts[n], listener)) == 0)
        CHECK(++n <= TOKENS);
    CHECK_ERR(err, ENOBUFS);
    CHECK_EQ(n, TOKENS);
    CHECK_ERR(dmtr_drop(qts[0]), 0);
    qts[0] = q_start_accept(listener);
    CHECK_ERR(dmtr_accept(&qts[n], listener), ENOBUFS);
    CHECK_ERR(dmtr_close(listener), 0);
}

int main(int argc, char **argv)
{
    struct kinds k;
    dmtr_qtoken_t qt = 0;
    struct sockaddr_in addr = test_loopback(0);
    if (argc < 2) {
        run_with_config("queues", "limits: {queues: 8}\n");
        run_with_config("tokens", "limits: {tokens: 1000}\n");
    }
    test_init();
    if (argc > 1) {
        if (strcmp(argv[1], "queues") == 0)
            test_queue_limit();
        else
            test_token_limit();
        return 0;
    }
    kinds_open(&k);
    CHECK_BAD_QDS(&k, dmtr_accept(&qt, qd));
    CHECK_ERR(dmtr_accept(NULL, k.listener), EINVAL);
    CHECK_ERR(dmtr_accept(&qt, k.tcp), EINVAL);
    CHECK_ERR(dmtr_bind(k.tcp, ADDR(&addr), sizeof addr), 0);
    CHECK_ERR(dmtr_accept(&qt, k.tcp), EINVAL);
    CHECK_ERR(dmtr_accept(&qt, k.connected), EINVAL);
    CHECK_ERR(dmtr_accept(&qt, k.udp), ENOTSUP);
    CHECK_ERR(dmtr_accept(&qt, k.memory), ENOTSUP);
    CHECK_ERR(dmtr_accept(&qt, k.file), ENOTSUP);
    test_result();
    kinds_close(&k);
    /* left out: ENFILE and ENOMEM from the token */
    return 0;
}
