/* dmtr_socket */
#include "api/kinds.h"

#include <sys/resource.h>

static void test_no_descriptors(void)
{
    struct rlimit normal, none;
    int qd = 0, err = test_own_stack() || test_own_kind() ? 0 : EMFILE; /* sockets of raw and rdma take none */
    CHECK(getrlimit(RLIMIT_NOFILE, &normal) == 0);
    none = normal;
    none.rlim_cur = 0;
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHECK_ERR(dmtr_socket(&qd, AF_INET, SOCK_STREAM, 0), err);
    CHECK_ERR(dmtr_socket(&qd, AF_INET, SOCK_DGRAM, 0), err);
    CHECK(setrlimit(RLIMIT_NOFILE, &normal) == 0);
    CHECK_ERR(dmtr_socket(&qd, AF_INET, SOCK_STREAM, 0), 0);
    CHECK_ERR(dmtr_close(qd), 0);
}

int main(void)
{
    static const int good[][2] = {{SOCK_STREAM, 0},
                                  {SOCK_DGRAM, 0},
                                  {SOCK_STREAM, IPPROTO_TCP},
                                  {SOCK_DGRAM, IPPROTO_UDP},
                                  {SOCK_STREAM | SOCK_NONBLOCK, 0},
                                  {SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP},
                                  {SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0}};
    static const int domains[] = {AF_INET6, AF_UNIX, AF_UNSPEC, -1, 9999};
    static const int types[] = {0, SOCK_RAW, SOCK_SEQPACKET, SOCK_RDM, -1, 9};
    static const int protocols[][2] = {{SOCK_STREAM, IPPROTO_UDP},
                                       {SOCK_DGRAM, IPPROTO_TCP},
                                       {SOCK_STREAM, IPPROTO_SCTP},
                                       {SOCK_STREAM, -1},
                                       {SOCK_DGRAM, IPPROTO_ICMP}};
    int qd = 0;
    test_init();
    CHECK_ERR(dmtr_socket(NULL, AF_INET, SOCK_STREAM, 0), EINVAL);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        qd = 0;
        CHECK_ERR(dmtr_socket(&qd, AF_INET, good[i][0], good[i][1]), 0);
        CHECK(qd >= 0x40000000);
        CHECK_EQ(q_valid(qd), 1);
        CHECK_ERR(dmtr_close(qd), 0);
    }
    for (size_t i = 0; i < sizeof domains / sizeof domains[0]; i++)
        CHECK_ERR(dmtr_socket(&qd, domains[i], SOCK_STREAM, 0), EAFNOSUPPORT);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        CHECK_ERR(dmtr_socket(&qd, AF_INET, types[i], 0), ESOCKTNOSUPPORT);
    for (size_t i = 0; i < sizeof protocols / sizeof protocols[0]; i++)
        CHECK_ERR(dmtr_socket(&qd, AF_INET, protocols[i][0], protocols[i][1]), EPROTONOSUPPORT);
    test_no_descriptors();
    /*
     * left out: ENFILE, ENOBUFS and ENOMEM, which only a system without memory or descriptors gives
     */
    return 0;
}
