/* dmtr_getsockname */
#include "api/kinds.h"

static struct sockaddr_in name_of(int qd)
{
    struct sockaddr_in addr;
    socklen_t size = sizeof addr;
    memset(&addr, 0xee, sizeof addr);
    CHECK_ERR(dmtr_getsockname(qd, ADDR(&addr), &size), 0);
    CHECK_EQ(size, sizeof addr);
    CHECK_EQ(addr.sin_family, AF_INET);
    return addr;
}

int main(void)
{
    struct kinds k;
    struct sockaddr_in addr, listening, peer;
    unsigned char bytes[64];
    socklen_t size = sizeof addr;
    test_init();
    kinds_open(&k);
    CHECK_BAD_QDS(&k, dmtr_getsockname(qd, ADDR(&addr), &size));
    CHECK_ERR(dmtr_getsockname(k.tcp, NULL, &size), EINVAL);
    CHECK_ERR(dmtr_getsockname(k.tcp, ADDR(&addr), NULL), EINVAL);
    CHECK_ERR(dmtr_getsockname(k.memory, ADDR(&addr), &size), ENOTSUP);
    CHECK_ERR(dmtr_getsockname(k.file, ADDR(&addr), &size), ENOTSUP);

    CHECK_EQ(name_of(k.tcp).sin_port, 0);
    CHECK_EQ(name_of(k.udp).sin_port, 0);
    addr = test_loopback(0);
    CHECK_ERR(dmtr_bind(k.udp, ADDR(&addr), sizeof addr), 0);
    CHECK(name_of(k.udp).sin_port != 0);
    CHECK_EQ(name_of(k.udp).sin_addr.s_addr, htonl(INADDR_LOOPBACK));

    listening = name_of(k.listener);
    size = sizeof peer;
    CHECK(getpeername(k.peer, ADDR(&peer), &size) == 0);
    CHECK_EQ(name_of(k.connected).sin_port, peer.sin_port);
    CHECK_ERR(dmtr_connect(k.tcp, ADDR(&listening), sizeof listening), 0);
    CHECK(name_of(k.tcp).sin_port != 0 && name_of(k.tcp).sin_port != listening.sin_port);

    for (socklen_t room = 0; room <= 20; room++) { /* cut off to fit, and nothing written behind */
        size = room;
        memset(bytes, 0xee, sizeof bytes);
        CHECK_ERR(dmtr_getsockname(k.listener, ADDR(bytes), &size), 0);
        CHECK_EQ(size, sizeof listening);
        CHECK(memcmp(bytes, &listening, room < sizeof listening ? room : sizeof listening) == 0);
        for (size_t i = room < sizeof listening ? room : sizeof listening; i < sizeof bytes; i++)
            CHECK_EQ(bytes[i], 0xee);
    }
    kinds_close(&k);
    return 0;
}
