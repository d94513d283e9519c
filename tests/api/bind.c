/* dmtr_bind */
#include "api/kinds.h"

static int new_socket(int type)
{
    int qd = 0;
    CHECK_ERR(dmtr_socket(&qd, AF_INET, type, 0), 0);
    return qd;
}

static void test_addresses(int type)
{
    struct sockaddr_in addr = test_own(0), taken, got;
    struct sockaddr_storage large;
    socklen_t size = sizeof got;
    int qd = new_socket(type), other;

    addr.sin_family = AF_INET6;
    CHECK_ERR(dmtr_bind(qd, ADDR(&addr), sizeof addr), EAFNOSUPPORT);
    addr.sin_family = AF_UNIX;
    CHECK_ERR(dmtr_bind(qd, ADDR(&addr), sizeof addr), EAFNOSUPPORT);
    addr.sin_family = 0xeeee;
    CHECK_ERR(dmtr_bind(qd, ADDR(&addr), sizeof addr), EAFNOSUPPORT);
    addr.sin_family = AF_INET;
    for (socklen_t n = 0; n < sizeof addr; n++)
        CHECK_ERR(dmtr_bind(qd, ADDR(&addr), n), EINVAL);
    CHECK_ERR(dmtr_bind(qd, NULL, sizeof addr), EINVAL);

    addr.sin_addr.s_addr = htonl(0xc0000201); /* 192.0.2.1, which is nobody's */
    CHECK_ERR(dmtr_bind(qd, ADDR(&addr), sizeof addr), EADDRNOTAVAIL);
    other = type == SOCK_STREAM ? test_listen(&taken) : q_udp(&taken);
    CHECK_ERR(dmtr_bind(qd, ADDR(&taken), sizeof taken), EADDRINUSE);
    CHECK_ERR(dmtr_close(other), 0);

    memset(&large, 0, sizeof large); /* after all these failures it can still be bound */
    addr = test_own(0);
    memcpy(&large, &addr, sizeof addr);
    CHECK_ERR(dmtr_bind(qd, ADDR(&large), sizeof large), 0);
    CHECK_ERR(dmtr_getsockname(qd, ADDR(&got), &size), 0);
    CHECK(got.sin_port != 0);
    CHECK_ERR(dmtr_bind(qd, ADDR(&addr), sizeof addr), EINVAL); /* already bound */
    CHECK_ERR(dmtr_close(qd), 0);

    qd = new_socket(type); /* the port is free again */
    CHECK_ERR(dmtr_bind(qd, ADDR(&got), sizeof got), 0);
    CHECK_ERR(dmtr_close(qd), 0);
}

/* As a user without rights: a low port. */
static int test_unprivileged(void)
{
    struct sockaddr_in addr = test_loopback(81);
    int qd, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (setuid(65534) != 0 && geteuid() == 0)
        return 0;
    if (bind(fd, ADDR(&addr), sizeof addr) == 0 || errno != EACCES) {
        fprintf(stderr, "EACCES not reached: low ports are open to all here\n");
        return 0;
    }
    CHECK(chdir("/") == 0); /* where ./config.yaml may be looked for */
    test_init();
    qd = new_socket(SOCK_STREAM);
    CHECK_ERR(dmtr_bind(qd, ADDR(&addr), sizeof addr), EACCES);
    CHECK_ERR(dmtr_close(qd), 0);
    return 0;
}

int main(int argc, char **argv)
{
    struct kinds k;
    struct sockaddr_in addr = test_loopback(0);
    (void)argv;
    if (argc > 1)
        return test_unprivileged();
    if (!test_own_stack()) /* whose ports are open to all */
        run_again("unprivileged", NULL, NULL);
    test_init();
    kinds_open(&k);
    CHECK_BAD_QDS(&k, dmtr_bind(qd, ADDR(&addr), sizeof addr));
    CHECK_ERR(dmtr_bind(k.memory, ADDR(&addr), sizeof addr), ENOTSUP);
    CHECK_ERR(dmtr_bind(k.file, ADDR(&addr), sizeof addr), ENOTSUP);
    CHECK_ERR(dmtr_bind(k.listener, ADDR(&addr), sizeof addr), EINVAL);
    CHECK_ERR(dmtr_bind(k.connected, ADDR(&addr), sizeof addr), EINVAL);
    test_addresses(SOCK_STREAM);
    test_addresses(SOCK_DGRAM);
    kinds_close(&k);
    return 0;
}
