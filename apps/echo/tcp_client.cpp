// Sends messages to a TCP echo server, checks that they come back, and tells how long that took.
#include "ping_pong.hpp"

#include <dmtr/libos.h>

#include <vector>

namespace {

int connect_to(const sockaddr_in &addr)
{
    int qd = 0;
    echo::check(dmtr_socket(&qd, AF_INET, SOCK_STREAM, 0), "dmtr_socket");
    echo::check(dmtr_connect(qd, reinterpret_cast<const sockaddr *>(&addr), sizeof(addr)), "dmtr_connect");
    return qd;
}

void talk(const echo::options &opts)
{
    const sockaddr_in addr = opts.address();
    std::vector<int> idle;
    for (unsigned i = 0; i < opts.idle; i++)
        idle.push_back(connect_to(addr));

    const int qd = connect_to(addr);
    echo::ping_pong(opts, qd).run();
    idle.push_back(qd);
    for (int each : idle)
        echo::check(dmtr_close(each), "dmtr_close");
}

} // namespace

int main(int argc, char *argv[])
{
    const echo::program tcp_client = {
        "TCP echo client: measures round trips. Prints its latency table on stdout, also if SIGINT ends it.",
        echo::client | echo::with_idle, talk,
    };
    return echo::run(tcp_client, argc, argv);
}
