/* dmtr_listen */
#include "api/kinds.h"

/* A socket bound to a port on which another one then listens. */
static void test_in_use(void)
{
    struct sockaddr_in addr = test_own(0);
    socklen_t size = sizeof addr;
    int qd = 0, other = 0;
    CHECK_ERR(dmtr_socket(&other, AF_INET, SOCK_STREAM, 0), 0);
    CHECK_ERR(dmtr_bind(other, ADDR(&addr), sizeof addr), 0);
    CHECK_ERR(dmtr_getsockname(other, ADDR(&addr), &size), 0);
    CHECK_ERR(dmtr_socket(&qd, AF_INET, SOCK_STREAM, 0), 0);
    CHECK_ERR(dmtr_bind(qd, ADDR(&addr), sizeof addr), 0); /* as long as nobody listens */
    CHECK_ERR(dmtr_listen(other, 5), 0);
    CHECK_ERR(dmtr_listen(qd, 5), EADDRINUSE);
    CHECK_ERR(dmtr_close(other), 0);
    CHECK_ERR(dmtr_close(qd), 0);
}

int main(void)
{
    static const int backlogs[] = {0, 1, 128, 1 << 20, INT_MAX, -1};
    struct kinds k;
    struct sockaddr_in addr = test_loopback(0);
    test_init();
    kinds_open(&k);
    CHECK_BAD_QDS(&k, dmtr_listen(qd, 5));
    CHECK_ERR(dmtr_listen(k.tcp, 5), EINVAL); /* not bound */
    CHECK_ERR(dmtr_listen(k.connected, 5), EINVAL);
    CHECK_ERR(dmtr_listen(k.udp, 5), ENOTSUP);
    CHECK_ERR(dmtr_bind(k.udp, ADDR(&addr), sizeof addr), 0);
    CHECK_ERR(dmtr_listen(k.udp, 5), ENOTSUP);
    CHECK_ERR(dmtr_listen(k.memory, 5), ENOTSUP);
    CHECK_ERR(dmtr_listen(k.file, 5), ENOTSUP);
    for (size_t i = 0; i < sizeof backlogs / sizeof backlogs[0]; i++) {
        struct sockaddr_in at = test_own(0);
        socklen_t size = sizeof at;
        int fd, qd = 0, server;
        CHECK_ERR(dmtr_socket(&qd, AF_INET, SOCK_STREAM, 0), 0);
        CHECK_ERR(dmtr_bind(qd, ADDR(&at), sizeof at), 0);
        CHECK_ERR(dmtr_getsockname(qd, ADDR(&at), &size), 0);
        CHECK_ERR(dmtr_listen(qd, backlogs[i]), 0);
        fd = plain_connect(&at, 0);
        server = q_accept(qd);
        CHECK_ERR(dmtr_close(server), 0);
        CHECK_ERR(dmtr_close(qd), 0);
        CHECK(close(fd) == 0);
    }
    test_in_use();
    kinds_close(&k);
    return 0;
}
