// The client side of an echo: sends a message, waits for it to come back, and again.
#ifndef ECHO_PING_PONG_HPP
#define ECHO_PING_PONG_HPP

#include "app.hpp"
#include "recorder.hpp"

#include <dmtr/types.h>

#include <cstdint>
#include <vector>

namespace echo {

class ping_pong {
  public:
    // qd is a connected socket.
    ping_pong(const options &opts, int qd);
    ~ping_pong();
    ping_pong(const ping_pong &) = delete;
    ping_pong &operator=(const ping_pong &) = delete;

    // Makes the round trips, or those until SIGINT or SIGTERM, and prints the table. Throws if other bytes come back than were sent.
    void run();

  private:
    bool exchange(uint64_t number, uint64_t *took);
    static bool completed(int error);
    void verify(const dmtr_sgarray_t &part);

    const options &opts_;
    const int qd_;
    recorder rtt_;
    std::vector<char> message_;
    size_t received_ = 0; // bytes of the message that came back so far

    enum { POP, PUSH, TOKENS };
    dmtr_qtoken_t tokens_[TOKENS];
};

} // namespace echo

#endif
