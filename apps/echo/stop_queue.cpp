#include "stop_queue.hpp"

#include "app.hpp"

#include <dmtr/libos.h>
#include <dmtr/wait.h>
#include <semaphore.h>
#include <signal.h>

#include <cerrno>
#include <cstring>

namespace echo {
namespace {

sem_t signalled;

extern "C" void on_signal(int)
{
    const int saved = errno;
    sem_post(&signalled); // one of the few calls that are safe here
    errno = saved;
}

// SA_ONSTACK: the signal may arrive on a thread that is inside the library, on a stack too small for a handler.
// SA_RESTART: system calls that it interrupts go on.
void set_handler(void (*handler)(int))
{
    struct sigaction action;
    std::memset(&action, 0, sizeof(action));
    action.sa_handler = handler;
    action.sa_flags = SA_ONSTACK | SA_RESTART;
    sigemptyset(&action.sa_mask);
    for (int signal : {SIGINT, SIGTERM})
        if (sigaction(signal, &action, nullptr) != 0)
            check(errno, "sigaction");
}

} // namespace

stop_queue::stop_queue() : closing_(false)
{
    check(dmtr_queue(&qd_), "dmtr_queue");
    check(dmtr_pop(&token_, qd_), "dmtr_pop");
    sem_init(&signalled, 0, 0);
    helper_ = std::thread(&stop_queue::forward_signals, this);
    set_handler(on_signal);
}

stop_queue::~stop_queue()
{
    set_handler(SIG_DFL);
    closing_ = true;
    sem_post(&signalled);
    helper_.join();
    dmtr_drop(token_);
    dmtr_close(qd_);
    sem_destroy(&signalled);
}

void stop_queue::forward_signals()
{
    for (;;) {
        while (sem_wait(&signalled) != 0 && errno == EINTR)
            continue;
        if (closing_)
            return;
        dmtr_sgarray_t nothing;
        std::memset(&nothing, 0, sizeof(nothing));
        nothing.sga_numsegs = 1; // of length 0
        dmtr_qtoken_t push = 0;
        if (dmtr_push(&push, qd_, &nothing) == 0)
            dmtr_wait(nullptr, push);
    }
}

} // namespace echo
