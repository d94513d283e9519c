// SIGINT and SIGTERM as a token, for programs that wait for everything in one dmtr_wait_any().
#ifndef ECHO_STOP_QUEUE_HPP
#define ECHO_STOP_QUEUE_HPP

#include <dmtr/types.h>

#include <atomic>
#include <thread>

namespace echo {

// No call of libdmtr may be made from a signal handler. So the handler posts a semaphore, a helper thread waits for that and pushes
// on a memory queue, and the program has a pop of this queue in its wait_any array. At most one object at a time.
class stop_queue {
  public:
    stop_queue();
    ~stop_queue();
    stop_queue(const stop_queue &) = delete;
    stop_queue &operator=(const stop_queue &) = delete;

    // Completes when the program is told to stop. Belongs to this object, which drops it in the end.
    dmtr_qtoken_t token() const { return token_; }

    // Whether a result is that of token().
    bool is_stop(const dmtr_qresult_t &result) const { return result.qr_qd == qd_; }

  private:
    void forward_signals();

    int qd_ = 0;
    dmtr_qtoken_t token_ = 0;
    std::atomic<bool> closing_;
    std::thread helper_;
};

} // namespace echo

#endif
