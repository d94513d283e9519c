// Sends every datagram back to where it came from.
#include "app.hpp"
#include "recorder.hpp"

#include <dmtr/libos.h>
#include <dmtr/sga.h>
#include <dmtr/wait.h>

#include <cerrno>

namespace {

// Takes one datagram and sends it back. Returns false once told to stop.
bool echo_one(int qd, echo::recorder &latency)
{
    dmtr_qtoken_t pop = 0;
    echo::check(dmtr_pop(&pop, qd), "dmtr_pop");
    dmtr_qresult_t popped = {};
    const int error = dmtr_wait(&popped, pop);
    if (error == EINTR)
        dmtr_drop(pop);
    if (error != 0)
        return error != EINTR; // a bad datagram, or word that an earlier answer found nobody: the socket goes on

    // The array has the sender's address in sga_addr, which is where the push sends it.
    const uint64_t start = dmtr_now_ns();
    dmtr_qtoken_t push = 0;
    if (dmtr_push(&push, qd, &popped.qr_value.sga) == 0) {
        if (dmtr_wait(nullptr, push) == 0)
            latency.record(dmtr_now_ns() - start);
        else
            dmtr_drop(push); // if it is still under way, it borrows what we free
    }
    dmtr_sgafree(&popped.qr_value.sga);
    return true;
}

void serve(const echo::options &opts)
{
    const sockaddr_in addr = opts.address();
    int qd = 0;
    echo::check(dmtr_socket(&qd, AF_INET, SOCK_DGRAM, 0), "dmtr_socket");
    echo::check(dmtr_bind(qd, reinterpret_cast<const sockaddr *>(&addr), sizeof(addr)), "dmtr_bind");

    echo::recorder latency("echo", opts); // from the pop of a datagram until its push is complete
    echo::announce(qd);
    while (echo_one(qd, latency))
        continue;
    echo::report(opts, stderr, {&latency});
    echo::check(dmtr_close(qd), "dmtr_close");
}

} // namespace

int main(int argc, char *argv[])
{
    const echo::program udp_server = {
        "UDP echo server. SIGINT ends it and prints its latency table on stderr.",
        echo::server, serve,
    };
    return echo::run(udp_server, argc, argv);
}
