// What all echo programs share: options, start-up, and errors as exceptions.
#ifndef ECHO_APP_HPP
#define ECHO_APP_HPP

#include <netinet/in.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace echo {

struct options {
    std::string ip = "127.0.0.1";
    uint16_t port = 12345;
    size_t size = 64;            // client: bytes per message
    uint64_t iterations = 10000; // client: round trips, 0 = until SIGINT
    uint64_t warmup = 0;         // client: round trips before those that count
    unsigned idle = 0;           // TCP client: further connections that stay idle
    std::string file;            // log server: where the messages go
    std::string samples;         // file for every single sample
    bool json = false;

    bool keep_samples() const { return json || !samples.empty(); }
    sockaddr_in address() const;
};

// Options that not every program has.
enum feature { server = 0, client = 1, with_idle = 2, with_file = 4 };

// What sets one program apart from the others.
struct program {
    const char *summary; // for --help
    int features;
    void (*body)(const options &);
};

// Reads the command line, starts libdmtr, runs the body, and returns the exit status for main(). After SIGINT or SIGTERM no wait
// blocks any more: those that would give EINTR.
int run(const program &what, int argc, char *argv[]);

// Throws std::system_error unless error, the errno value a dmtr call returned, is 0.
void check(int error, const char *what);

// Prints where a server is to be found, as a line "listening on IP:PORT" on stderr.
void announce(int qd);

} // namespace echo

#endif
