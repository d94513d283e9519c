/* dmtr_connect of 2020, which starts an operation. What connect.c tests of arguments and addresses holds here, too: it is one function. */
#define DMTR_API 2020
#include "api/kinds.h"

#include <dmtr/ext.h>

static int new_socket(int type)
{
    int qd = 0;
    CHECK_ERR(dmtr_socket(&qd, AF_INET, type, 0), 0);
    return qd;
}

static dmtr_qtoken_t start_connect(int qd, const struct sockaddr_in *addr)
{
    dmtr_qtoken_t qt = 0;
    CHECK_ERR(dmtr_connect(&qt, qd, (const struct sockaddr *)addr, sizeof *addr), 0);
    CHECK_EQ(QT2QD(qt), qd);
    return qt;
}

static void check_result(const dmtr_qresult_t *qr, dmtr_qtoken_t qt)
{
    static const dmtr_qresult_t zero;
    CHECK_EQ(qr->qr_opcode, DMTR_OPC_CONNECT);
    CHECK_EQ(qr->qr_qd, QT2QD(qt));
    CHECK_EQ(qr->qr_qt, qt);
    CHECK(memcmp(&qr->qr_value, &zero.qr_value, sizeof zero.qr_value) == 0);
}

static void expect(dmtr_qtoken_t qt, int err)
{
    dmtr_qresult_t qr;
    memset(&qr, 0xee, sizeof qr);
    CHECK_ERR(dmtr_wait(&qr, qt), err);
    check_result(&qr, qt);
    CHECK_ERR(dmtr_poll(NULL, qt), ENOENT);
}

/* A listener whose backlog is full: who connects to it has to wait. */
static int full_listener(struct sockaddr_in *addr, int *filler)
{
    int fd = plain_listen(addr, 0);
    *filler = plain_connect(addr, 0);
    return fd;
}

static void test_arguments(const struct kinds *k)
{
    dmtr_qtoken_t qt = 77;
    struct sockaddr_in addr = test_loopback(1);
    const struct sockaddr *to = (const struct sockaddr *)&addr;
    CHECK_BAD_QDS(k, dmtr_connect(&qt, qd, to, sizeof addr));
    CHECK_ERR(dmtr_connect(NULL, k->tcp, to, sizeof addr), EINVAL);
    CHECK_ERR(dmtr_connect(&qt, k->tcp, NULL, sizeof addr), EINVAL);
    CHECK_ERR(dmtr_connect(&qt, k->tcp, to, sizeof addr - 1), EINVAL);
    CHECK_ERR(dmtr_connect(&qt, k->memory, to, sizeof addr), ENOTSUP);
    CHECK_ERR(dmtr_connect(&qt, k->file, to, sizeof addr), ENOTSUP);
    CHECK_ERR(dmtr_connect(&qt, k->listener, to, sizeof addr), EINVAL);
    CHECK_ERR(dmtr_connect(&qt, k->connected, to, sizeof addr), EPERM);
    addr.sin_family = AF_INET6;
    CHECK_ERR(dmtr_connect(&qt, k->tcp, to, sizeof addr), EAFNOSUPPORT);
    CHECK_EQ(qt, 77);
}

static void test_outcomes(void)
{
    struct sockaddr_in there;
    int fd = plain_listen(&there, 5), qd = new_socket(SOCK_STREAM), udp = new_socket(SOCK_DGRAM);
    expect(start_connect(qd, &there), 0);
    expect(start_connect(udp, &there), 0);
    q_push(qd, "x", 1);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK_ERR(dmtr_close(udp), 0);
    CHECK(close(fd) == 0);
    qd = new_socket(SOCK_STREAM);
    expect(start_connect(qd, &there), ECONNREFUSED);
    expect(start_connect(qd, &there), ECONNREFUSED);
    CHECK_ERR(dmtr_close(qd), 0);
}

/* While it is under way the call has returned, other queues work, and the socket does nothing else. */
static void test_pending(void)
{
    struct sockaddr_in addr;
    dmtr_qresult_t qr;
    dmtr_qtoken_t qts[2], other;
    char byte = 'x';
    dmtr_sgarray_t sga = test_sga(&byte, 1);
    int filler, at = -1, memory = 0, fd = full_listener(&addr, &filler), qd = new_socket(SOCK_STREAM);
    CHECK_ERR(dmtr_queue(&memory), 0);
    qts[0] = start_connect(qd, &addr);
    CHECK_ERR(dmtr_poll(&qr, qts[0]), EAGAIN);
    CHECK_ERR(dmtr_wait_timeout(&qr, qts[0], 1000000), ETIMEDOUT);
    CHECK_ERR(dmtr_push(&other, qd, &sga), EINVAL);
    CHECK_ERR(dmtr_pop(&other, qd), EINVAL);
    CHECK_ERR(dmtr_connect(&other, qd, (struct sockaddr *)&addr, sizeof addr), EPERM);
    qts[1] = q_start_pop(memory);
    q_push(memory, "y", 1);
    CHECK_ERR(dmtr_wait_any(&qr, &at, qts, 2), 0);
    CHECK_EQ(at, 1);

    int accepted = accept(fd, NULL, NULL); /* makes room: the kernel asks again after a second */
    CHECK(accepted >= 0 && close(accepted) == 0);
    CHECK_ERR(dmtr_wait_any(&qr, &at, qts, 1), 0);
    CHECK_EQ(at, 0);
    check_result(&qr, qts[0]);
    q_push(qd, "z", 1);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK_ERR(dmtr_close(memory), 0);
    CHECK(close(fd) == 0 && close(filler) == 0);
}

/* Closed meanwhile, or given up; then the socket may be tried again. */
static void test_given_up(void)
{
    struct sockaddr_in addr, there;
    int filler, fd = full_listener(&addr, &filler), listener = plain_listen(&there, 5);
    int closed = new_socket(SOCK_STREAM), dropped = new_socket(SOCK_STREAM);
    dmtr_qtoken_t qt = start_connect(closed, &addr);
    CHECK_ERR(dmtr_close(closed), 0);
    expect(qt, ECANCELED);
    qt = start_connect(dropped, &addr);
    CHECK_ERR(dmtr_drop(qt), 0);
    CHECK_ERR(dmtr_wait(NULL, qt), ENOENT);
    expect(start_connect(dropped, &there), 0);
    q_push(dropped, "x", 1);
    CHECK_ERR(dmtr_close(dropped), 0);
    CHECK(close(fd) == 0 && close(filler) == 0 && close(listener) == 0);
}

int main(void)
{
    struct kinds k;
    dmtr_qtoken_t qt;
    struct sockaddr_in addr = test_loopback(1);
    CHECK_ERR(dmtr_connect(&qt, 1, (struct sockaddr *)&addr, sizeof addr), EPERM);
    test_init();
    kinds_open(&k);
    test_arguments(&k);
    kinds_close(&k);
    test_outcomes();
    test_pending();
    test_given_up();
    return 0;
}
