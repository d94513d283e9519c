/* DMTR_OPT_FRAMING: a program chooses how its arrays lie on the stream, whatever the configuration says. */
#include "api/kinds.h"

#include <dmtr/option.h>
#include <string.h>
#include <unistd.h>

static uint32_t get(int qd)
{
    uint32_t value = 99;
    CHECK_ERR(dmtr_get_option(qd, DMTR_OPT_FRAMING, &value), 0);
    return value;
}

static void push(int qd, const char *text)
{
    dmtr_sgarray_t sga = test_sga((void *)text, (uint32_t)strlen(text));
    dmtr_qtoken_t qt = 0;
    CHECK_ERR(dmtr_push(&qt, qd, &sga), 0);
    CHECK_ERR(dmtr_wait(NULL, qt), 0);
}

/* Pops one array, whose only segment has to be these bytes. */
static void expect(int qd, const void *bytes, uint32_t len)
{
    dmtr_qtoken_t qt = 0;
    dmtr_qresult_t qr;
    CHECK_ERR(dmtr_pop(&qt, qd), 0);
    CHECK_ERR(dmtr_wait(&qr, qt), 0);
    CHECK_EQ(qr.qr_value.sga.sga_numsegs, 1);
    CHECK_EQ(qr.qr_value.sga.sga_segs[0].sgaseg_len, len);
    CHECK(memcmp(qr.qr_value.sga.sga_segs[0].sgaseg_buf, bytes, len) == 0);
    CHECK_ERR(dmtr_sgafree(&qr.qr_value.sga), 0);
}

static int connect_as(const struct sockaddr_in *addr, int framing)
{
    int qd = 0;
    CHECK_ERR(dmtr_socket(&qd, AF_INET, SOCK_STREAM, 0), 0);
    if (framing >= 0)
        CHECK_ERR(dmtr_set_option(qd, DMTR_OPT_FRAMING, (uint32_t)framing), 0);
    CHECK_ERR(test_connect(qd, addr), 0);
    return qd;
}

static int accept_one(int listener)
{
    dmtr_qtoken_t qt = 0;
    dmtr_qresult_t qr;
    CHECK_ERR(dmtr_accept(&qt, listener), 0);
    CHECK_ERR(dmtr_wait(&qr, qt), 0);
    return qr.qr_value.ares.qd;
}

static void test_values(void)
{
    int client = 0, server = 0, udp = 0;
    test_tcp_pair(&client, &server);
    CHECK_EQ(get(client), DMTR_FRAMING_MESSAGE);
    CHECK_EQ(get(server), DMTR_FRAMING_AUTO);
    CHECK_ERR(dmtr_set_option(client, DMTR_OPT_FRAMING, DMTR_FRAMING_STREAM), EISCONN);
    CHECK_ERR(dmtr_set_option(server, DMTR_OPT_FRAMING, DMTR_FRAMING_STREAM), EISCONN);
    CHECK_EQ(get(server), DMTR_FRAMING_AUTO);
    CHECK_ERR(dmtr_close(client), 0);
    CHECK_ERR(dmtr_close(server), 0);
    CHECK_ERR(dmtr_socket(&client, AF_INET, SOCK_STREAM, 0), 0);
    CHECK_ERR(dmtr_set_option(client, DMTR_OPT_FRAMING, DMTR_FRAMING_STREAM + 1), EINVAL);
    CHECK_ERR(dmtr_set_option(client, DMTR_OPT_FRAMING, DMTR_FRAMING_STREAM), 0);
    CHECK_EQ(get(client), DMTR_FRAMING_STREAM);
    CHECK_ERR(dmtr_close(client), 0);
    CHECK_ERR(dmtr_socket(&udp, AF_INET, SOCK_DGRAM, 0), 0);
    CHECK_ERR(dmtr_set_option(udp, DMTR_OPT_FRAMING, DMTR_FRAMING_STREAM), ENOTSUP);
    CHECK_ERR(dmtr_close(udp), 0);
}

/* A peer that knows nothing of messages. */
static void test_plain_peer(void)
{
    char in[100];
    struct sockaddr_in addr = test_plain(0);
    socklen_t size = sizeof addr;
    int l = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(l, ADDR(&addr), sizeof addr) == 0 && listen(l, 5) == 0 && getsockname(l, ADDR(&addr), &size) == 0);
    int qd = connect_as(&addr, DMTR_FRAMING_STREAM), peer = accept(l, NULL, NULL);
    push(qd, "abc");
    CHECK_EQ(recv(peer, in, sizeof in, 0), 3);
    CHECK(memcmp(in, "abc", 3) == 0);
    CHECK_EQ(send(peer, "reply", 5, 0), 5);
    expect(qd, "reply", 5);
    CHECK_ERR(dmtr_close(qd), 0);
    close(peer);
    close(l);
}

/* A listener's choice holds for those accepted later, also one made before it listens. */
static void test_listener(void)
{
    static const unsigned char wire[] = {0x10, 0x10, 0x20, 0x10, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 1, 'x'};
    for (int before = 0; before < 2; before++) {
        struct sockaddr_in addr = test_own(0);
        socklen_t size = sizeof addr;
        int l = 0;
        CHECK_ERR(dmtr_socket(&l, AF_INET, SOCK_STREAM, 0), 0);
        if (before)
            CHECK_ERR(dmtr_set_option(l, DMTR_OPT_FRAMING, DMTR_FRAMING_STREAM), 0);
        CHECK_ERR(dmtr_bind(l, ADDR(&addr), sizeof addr), 0);
        CHECK_ERR(dmtr_listen(l, 5), 0);
        CHECK_ERR(dmtr_getsockname(l, ADDR(&addr), &size), 0);
        if (!before)
            CHECK_ERR(dmtr_set_option(l, DMTR_OPT_FRAMING, DMTR_FRAMING_STREAM), 0);
        int client = connect_as(&addr, -1), server = accept_one(l);
        CHECK_EQ(get(server), DMTR_FRAMING_STREAM);
        push(client, "x"); /* a message */
        expect(server, wire, sizeof wire);
        CHECK_ERR(dmtr_close(client), 0);
        CHECK_ERR(dmtr_close(server), 0);
        CHECK_ERR(dmtr_close(l), 0);
    }
}

int main(void)
{
    test_init();
    test_values();
    test_plain_peer();
    test_listener();
    return 0;
}
