// Sends datagrams to a UDP echo server, checks that they come back, and tells how long that took.
#include "ping_pong.hpp"

#include <dmtr/libos.h>

namespace {

void talk(const echo::options &opts)
{
    const sockaddr_in addr = opts.address();
    int qd = 0;
    echo::check(dmtr_socket(&qd, AF_INET, SOCK_DGRAM, 0), "dmtr_socket");
    echo::check(dmtr_connect(qd, reinterpret_cast<const sockaddr *>(&addr), sizeof(addr)), "dmtr_connect");
    echo::ping_pong(opts, qd).run();
    echo::check(dmtr_close(qd), "dmtr_close");
}

} // namespace

int main(int argc, char *argv[])
{
    const echo::program udp_client = {
        "UDP echo client: measures round trips. Prints its latency table on stdout, also if SIGINT ends it. "
        "It does not send again: a lost datagram stops it for good, until SIGINT.",
        echo::client, talk,
    };
    return echo::run(udp_client, argc, argv);
}
