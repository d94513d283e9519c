// The TCP echo server that appends every message to a file before it answers: network and storage in one loop.
#include "echo_server.hpp"

#include <dmtr/libos.h>
#include <fcntl.h>

namespace {

void serve(const echo::options &opts)
{
    int log_qd = 0;
    echo::check(dmtr_open2(&log_qd, opts.file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_DSYNC, 0644), opts.file.c_str());
    echo::echo_server(opts, log_qd).run();
    echo::check(dmtr_close(log_qd), "dmtr_close");
}

} // namespace

int main(int argc, char *argv[])
{
    const echo::program log_server = {
        "TCP echo server that answers a message when it is in a file, where no crash takes it. SIGINT ends it and prints its latency tables on stderr.",
        echo::server | echo::with_file, serve,
    };
    return echo::run(log_server, argc, argv);
}
