// The TCP echo server: one thread, one loop, any number of connections.
#ifndef ECHO_ECHO_SERVER_HPP
#define ECHO_ECHO_SERVER_HPP

#include "app.hpp"
#include "recorder.hpp"

#include <dmtr/types.h>

#include <memory>
#include <string>
#include <vector>

namespace echo {

class echo_server {
  public:
    // Listens at once. With a log_qd, a file queue, each message goes there first, and is answered when it is there.
    explicit echo_server(const options &opts, int log_qd = 0);
    ~echo_server();
    echo_server(const echo_server &) = delete;
    echo_server &operator=(const echo_server &) = delete;

    // Serves until SIGINT or SIGTERM, then prints the tables.
    void run();

  private:
    struct connection;

    void handle(int slot, int error, dmtr_qresult_t &result);
    void accepted(int slot, int error, int qd);
    void popped(int slot, int error, const dmtr_sgarray_t &message);
    void pushed(int slot, int error, bool to_log);
    void start_pop(int slot);
    void start_push(int slot, int qd);
    void start_accept();
    void add(dmtr_qtoken_t token, std::shared_ptr<connection> owner);
    void remove(int slot);
    void hang_up(int slot);

    const options &opts_;
    const int log_qd_;
    int listener_ = 0;
    bool accepting_ = false;
    uint64_t log_errors_ = 0;
    recorder echo_; // from the pop of a message until its push to the client is complete
    recorder log_;  // until its push to the log is

    // Every operation under way has a slot: its token, and the connection it belongs to (none for the accept). The tokens are apart
    // because dmtr_wait_any() takes them as one array.
    std::vector<dmtr_qtoken_t> tokens_;
    std::vector<std::shared_ptr<connection>> owners_;
};

} // namespace echo

#endif
