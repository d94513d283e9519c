// Sends every message on every connection back to where it came from.
#include "echo_server.hpp"

int main(int argc, char *argv[])
{
    const echo::program tcp_server = {
        "TCP echo server. SIGINT ends it and prints its latency table on stderr.",
        echo::server,
        [](const echo::options &opts) { echo::echo_server(opts).run(); },
    };
    return echo::run(tcp_server, argc, argv);
}
