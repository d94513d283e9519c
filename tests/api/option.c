/* dmtr_set_option, dmtr_get_option */
#include "api/kinds.h"

#include <dmtr/ext.h>
#include <dmtr/option.h>
#include <dmtr/stats.h>

static const struct {
    int option, everywhere; /* of UDP sockets, too */
    uint32_t least, most;
} options[] = {
    {DMTR_OPT_NODELAY, 0, 0, 1},
    {DMTR_OPT_KEEPALIVE_S, 0, 0, 32767},
    {DMTR_OPT_KEEPALIVE_INTERVAL_S, 0, 1, 32767},
    {DMTR_OPT_KEEPALIVE_PROBES, 0, 1, 127},
    {DMTR_OPT_USER_TIMEOUT_MS, 0, 0, 86400000},
    {DMTR_OPT_TTL, 1, 1, 255},
    {DMTR_OPT_DSCP, 1, 0, 63},
};
enum { OPTIONS = sizeof options / sizeof options[0] };

static uint32_t get(int qd, int option)
{
    uint32_t value = 0xeeeeeeee;
    CHECK_ERR(dmtr_get_option(qd, option, &value), 0);
    return value;
}

static void test_errors(const struct kinds *k)
{
    uint32_t value = 7;
    const int no_options[] = {0, -1, DMTR_OPT_FRAMING + 1, INT_MAX, INT_MIN};
    CHECK_BAD_QDS(k, dmtr_set_option(qd, DMTR_OPT_TTL, 64));
    CHECK_BAD_QDS(k, dmtr_get_option(qd, DMTR_OPT_TTL, &value));
    CHECK_ERR(dmtr_get_option(k->tcp, DMTR_OPT_TTL, NULL), EINVAL);
    for (size_t i = 0; i < sizeof no_options / sizeof no_options[0]; i++) {
        CHECK_ERR(dmtr_set_option(k->tcp, no_options[i], 1), ENOPROTOOPT);
        CHECK_ERR(dmtr_get_option(k->udp, no_options[i], &value), ENOPROTOOPT);
    }
    for (int i = 0; i < OPTIONS; i++) {
        CHECK_ERR(dmtr_set_option(k->memory, options[i].option, 1), ENOTSUP);
        CHECK_ERR(dmtr_get_option(k->file, options[i].option, &value), ENOTSUP);
        if (!options[i].everywhere) {
            CHECK_ERR(dmtr_set_option(k->udp, options[i].option, 1), ENOTSUP);
            CHECK_ERR(dmtr_get_option(k->udp, options[i].option, &value), ENOTSUP);
        }
    }
    CHECK_EQ(value, 7);
}

static void test_defaults(int qd)
{
    CHECK_EQ(get(qd, DMTR_OPT_NODELAY), 1);
    CHECK_EQ(get(qd, DMTR_OPT_KEEPALIVE_S), 0);
    CHECK_EQ(get(qd, DMTR_OPT_TTL), 64);
    CHECK_EQ(get(qd, DMTR_OPT_DSCP), 0);
}

/* What is set is read again, and what is out of range changes nothing. */
static void test_values(int qd, int tcp)
{
    for (int i = 0; i < OPTIONS; i++) {
        int o = options[i].option;
        if (!tcp && !options[i].everywhere)
            continue;
        CHECK_ERR(dmtr_set_option(qd, o, options[i].least), 0);
        if (o != DMTR_OPT_USER_TIMEOUT_MS)
            CHECK_EQ(get(qd, o), options[i].least);
        CHECK_ERR(dmtr_set_option(qd, o, options[i].most), 0);
        CHECK_EQ(get(qd, o), options[i].most);
        CHECK_ERR(dmtr_set_option(qd, o, options[i].most + 1), EINVAL);
        CHECK_ERR(dmtr_set_option(qd, o, UINT32_MAX), EINVAL);
        if (options[i].least > 0)
            CHECK_ERR(dmtr_set_option(qd, o, options[i].least - 1), EINVAL);
        CHECK_EQ(get(qd, o), options[i].most);
    }
    for (int i = 0; i < OPTIONS; i++)
        if (tcp || options[i].everywhere)
            CHECK_EQ(get(qd, options[i].option), options[i].most);
}

/* A connection has what its socket or listener had, whatever becomes of those. */
static void test_inherit(void)
{
    struct sockaddr_in addr;
    int listener = test_listen(&addr), client = 0, server = 0, second = 0, accepted = 0;
    dmtr_qtoken_t qt = 0;
    dmtr_qresult_t qr;
    CHECK_ERR(dmtr_set_option(listener, DMTR_OPT_NODELAY, 0), 0);
    CHECK_ERR(dmtr_set_option(listener, DMTR_OPT_KEEPALIVE_S, 100), 0);
    CHECK_ERR(dmtr_set_option(listener, DMTR_OPT_KEEPALIVE_INTERVAL_S, 11), 0);
    CHECK_ERR(dmtr_set_option(listener, DMTR_OPT_KEEPALIVE_PROBES, 12), 0);
    CHECK_ERR(dmtr_set_option(listener, DMTR_OPT_USER_TIMEOUT_MS, 13000), 0);
    CHECK_ERR(dmtr_set_option(listener, DMTR_OPT_TTL, 14), 0);
    test_tcp_connect(listener, &addr, &client, &server);
    CHECK_EQ(get(server, DMTR_OPT_NODELAY), 0);
    CHECK_EQ(get(server, DMTR_OPT_KEEPALIVE_S), 100);
    CHECK_EQ(get(server, DMTR_OPT_KEEPALIVE_INTERVAL_S), 11);
    CHECK_EQ(get(server, DMTR_OPT_KEEPALIVE_PROBES), 12);
    CHECK_EQ(get(server, DMTR_OPT_USER_TIMEOUT_MS), 13000);
    CHECK_EQ(get(server, DMTR_OPT_TTL), 14);
    test_defaults(client);
    CHECK_ERR(dmtr_set_option(listener, DMTR_OPT_TTL, 15), 0);
    CHECK_ERR(dmtr_set_option(client, DMTR_OPT_TTL, 16), 0);
    CHECK_EQ(get(server, DMTR_OPT_TTL), 14);

    CHECK_ERR(dmtr_socket(&second, AF_INET, SOCK_STREAM, 0), 0);
    CHECK_ERR(dmtr_set_option(second, DMTR_OPT_NODELAY, 0), 0);
    CHECK_ERR(dmtr_set_option(second, DMTR_OPT_DSCP, 10), 0);
    CHECK_ERR(dmtr_accept(&qt, listener), 0);
    CHECK_ERR(test_connect(second, &addr), 0);
    CHECK_ERR(dmtr_wait(&qr, qt), 0);
    accepted = qr.qr_value.ares.qd;
    CHECK_EQ(get(second, DMTR_OPT_NODELAY), 0);
    CHECK_EQ(get(second, DMTR_OPT_DSCP), 10);
    CHECK_EQ(get(accepted, DMTR_OPT_TTL), 15);
    CHECK_ERR(dmtr_close(listener), 0);
    CHECK_ERR(dmtr_socket(&listener, AF_INET, SOCK_STREAM, 0), 0); /* from before it listens, too */
    CHECK_ERR(dmtr_set_option(listener, DMTR_OPT_TTL, 17), 0);
    addr = test_own(0);
    CHECK_ERR(dmtr_bind(listener, ADDR(&addr), sizeof addr), 0);
    CHECK_ERR(dmtr_listen(listener, 1), 0);
    CHECK_EQ(get(listener, DMTR_OPT_TTL), 17);
    CHECK_ERR(dmtr_close(listener), 0);
    CHECK_ERR(dmtr_close(client), 0);
    CHECK_ERR(dmtr_close(server), 0);
    CHECK_ERR(dmtr_close(second), 0);
    CHECK_ERR(dmtr_close(accepted), 0);
}

/* The peer sees TTL and DSCP in each datagram. */
static void test_datagrams(void)
{
    int qd = 0, one = 1, ttl = 0, tos = 0, peer = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in addr = test_plain(0);
    socklen_t size = sizeof addr;
    CHECK(bind(peer, ADDR(&addr), sizeof addr) == 0 && getsockname(peer, ADDR(&addr), &size) == 0);
    CHECK(setsockopt(peer, IPPROTO_IP, IP_RECVTTL, &one, sizeof one) == 0);
    CHECK(setsockopt(peer, IPPROTO_IP, IP_RECVTOS, &one, sizeof one) == 0);
    CHECK_ERR(dmtr_socket(&qd, AF_INET, SOCK_DGRAM, 0), 0);
    CHECK_ERR(test_connect(qd, &addr), 0);
    for (int i = 0; i < 3; i++) {
        char data[100], control[200];
        struct iovec iov = {data, sizeof data};
        struct msghdr m;
        memset(&m, 0, sizeof m);
        m.msg_iov = &iov;
        m.msg_iovlen = 1;
        m.msg_control = control;
        m.msg_controllen = sizeof control;
        if (i > 0) {
            CHECK_ERR(dmtr_set_option(qd, DMTR_OPT_TTL, 30 + (uint32_t)i), 0);
            CHECK_ERR(dmtr_set_option(qd, DMTR_OPT_DSCP, 40 + (uint32_t)i), 0);
        }
        q_push(qd, "x", 1);
        CHECK(recvmsg(peer, &m, 0) > 0);
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c)) {
            if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL)
                memcpy(&ttl, CMSG_DATA(c), sizeof ttl);
            if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS)
                tos = *CMSG_DATA(c);
        }
        CHECK_EQ(ttl, i == 0 ? 64 : 30 + i);
        CHECK_EQ(tos, i == 0 ? 0 : (40 + i) << 2);
    }
    CHECK_ERR(dmtr_close(qd), 0);
    close(peer);
}

/* How many segments came, none of which has data, so that each answers a probe. */
static uint64_t answers(int qd)
{
    dmtr_tcp_info_t info;
    CHECK_ERR(dmtr_tcp_info(qd, &info, sizeof info), 0);
    CHECK_EQ(info.state, DMTR_TCP_ESTABLISHED);
    return info.segments_received;
}

/* A silent peer is asked, and answers; and is not asked any more when keepalive is off again. */
static void test_keepalive(void)
{
    int peer = -1, qd = q_pair(&peer);
    dmtr_qtoken_t qt = q_start_pop(qd);
    CHECK_ERR(dmtr_wait_timeout(NULL, qt, 200000000), ETIMEDOUT);
    uint64_t before = answers(qd);
    CHECK_ERR(dmtr_wait_timeout(NULL, qt, 1500000000), ETIMEDOUT);
    CHECK_EQ(answers(qd), before);
    CHECK_ERR(dmtr_set_option(qd, DMTR_OPT_KEEPALIVE_INTERVAL_S, 1), 0);
    CHECK_ERR(dmtr_set_option(qd, DMTR_OPT_KEEPALIVE_PROBES, 2), 0);
    CHECK_ERR(dmtr_set_option(qd, DMTR_OPT_KEEPALIVE_S, 1), 0);
    CHECK_ERR(dmtr_wait_timeout(NULL, qt, UINT64_C(3700000000)), ETIMEDOUT);
    CHECK(answers(qd) >= before + 2 && answers(qd) <= before + 4);
    CHECK_ERR(dmtr_set_option(qd, DMTR_OPT_KEEPALIVE_S, 0), 0);
    before = answers(qd);
    CHECK_ERR(dmtr_wait_timeout(NULL, qt, 1500000000), ETIMEDOUT);
    CHECK_EQ(answers(qd), before);
    CHECK_ERR(dmtr_close(qd), 0);
    close(peer);
}

int main(void)
{
    struct kinds k;
    uint32_t value = 0;
    CHECK_ERR(dmtr_set_option(1, DMTR_OPT_TTL, 64), EPERM);
    CHECK_ERR(dmtr_get_option(1, DMTR_OPT_TTL, &value), EPERM);
    test_init();
    kinds_open(&k);
    test_errors(&k);
    test_defaults(k.tcp);
    test_defaults(k.listener);
    test_defaults(k.connected);
    test_values(k.tcp, 1);
    test_values(k.listener, 1);
    test_values(k.connected, 1);
    test_values(k.udp, 0);
    test_inherit();
    test_datagrams();
    test_keepalive();
    kinds_close(&k);
    return 0;
}
