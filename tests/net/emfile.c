/*
 * No descriptors left: accepts, sockets and files say EMFILE, open queues go on, and once
 * descriptors are free the connection that waited in the backlog is accepted.
 */
#include "net/peer.h"

#include <sys/resource.h>

static struct rlimit normal;

/* Allows no descriptor beyond those that are open. */
static void forbid_descriptors(void)
{
    struct rlimit lim = normal;
    int lowest = dup(0);
    CHECK(lowest >= 0);
    lim.rlim_cur = (rlim_t)lowest;
    CHECK(close(lowest) == 0);
    CHECK(setrlimit(RLIMIT_NOFILE, &lim) == 0);
    CHECK(dup(0) == -1 && errno == EMFILE);
}

static void allow_descriptors(void)
{
    CHECK(setrlimit(RLIMIT_NOFILE, &normal) == 0);
}

static void check_accept_fails(dmtr_qtoken_t qt, int in_wait_any)
{
    dmtr_qresult_t qr;
    int at = -1;
    memset(&qr, 0xee, sizeof qr);
    if (in_wait_any) {
        CHECK_ERR(dmtr_wait_any(&qr, &at, &qt, 1), EMFILE);
        CHECK_EQ(at, 0);
    } else {
        CHECK_ERR(dmtr_wait(&qr, qt), EMFILE);
    }
    CHECK_EQ(qr.qr_opcode, DMTR_OPC_ACCEPT);
    CHECK_EQ(qr.qr_qd, QT2QD(qt));
    CHECK_EQ(qr.qr_qt, qt);
}

static void check_works(int qd, int fd)
{
    plain_send(fd, "ping", 4);
    q_pop_is(qd, "ping", 4);
    q_push(qd, "pong", 4);
    plain_expect(fd, "pong", 4);
}

/* Sockets of raw take no descriptors. */
static int none_needed(void)
{
    struct sockaddr_in addr;
    int listener = test_listen(&addr), qd, file = 0, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    forbid_descriptors();
    CHECK(connect(fd, ADDR(&addr), sizeof addr) == 0);
    qd = q_accept(listener);
    CHECK_ERR(dmtr_open(&file, "/dev/null", O_RDONLY), EMFILE);
    check_works(qd, fd);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK_ERR(dmtr_close(listener), 0);
    CHECK(close(fd) == 0);
    return 0;
}

int main(void)
{
    struct sockaddr_in addr;
    int listener, qd, open_qd, open_fd, fd, late_fd, other = 0;
    dmtr_qtoken_t pending, next;
    test_init();
    CHECK(getrlimit(RLIMIT_NOFILE, &normal) == 0);
    if (test_own_stack())
        return none_needed();
    listener = test_listen(&addr);
    open_fd = plain_connect(&addr, 0);
    open_qd = q_accept(listener);
    check_works(open_qd, open_fd);
    fd = plain_connect(&addr, 0);
    late_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(late_fd >= 0);

    forbid_descriptors();
    check_accept_fails(q_start_accept(listener), 0);
    check_accept_fails(q_start_accept(listener), 1); /* asked again, it fails again */
    CHECK_ERR(dmtr_socket(&other, AF_INET, SOCK_STREAM, 0), EMFILE);
    CHECK_ERR(dmtr_socket(&other, AF_INET, SOCK_DGRAM, 0), EMFILE);
    CHECK_ERR(dmtr_open(&other, "/dev/null", O_RDONLY), EMFILE);
    check_works(open_qd, open_fd);
    allow_descriptors();
    qd = q_accept(listener);
    check_works(qd, fd);
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK(close(fd) == 0);

    pending = q_start_accept(listener); /* pending when descriptors run out */
    next = q_start_accept(listener);
    CHECK_ERR(dmtr_poll(NULL, pending), EAGAIN);
    forbid_descriptors();
    CHECK(connect(late_fd, ADDR(&addr), sizeof addr) == 0);
    check_accept_fails(pending, 1);
    check_works(open_qd, open_fd);
    CHECK_ERR(dmtr_close(open_qd), 0); /* frees a descriptor */
    CHECK(close(open_fd) == 0);
    {
        dmtr_qresult_t qr; /* the second accept had failed too, or gets it now */
        int err = dmtr_wait(&qr, next);
        CHECK(err == 0 || err == EMFILE);
        qd = err == 0 ? qr.qr_value.ares.qd : q_accept(listener);
    }
    check_works(qd, late_fd);
    allow_descriptors();
    CHECK_ERR(dmtr_close(qd), 0);
    CHECK_ERR(dmtr_close(listener), 0);
    CHECK(close(late_fd) == 0);
    return 0;
}
