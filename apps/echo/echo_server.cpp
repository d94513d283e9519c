#include "echo_server.hpp"

#include <dmtr/libos.h>
#include <dmtr/sga.h>
#include <dmtr/wait.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

namespace echo {

// One client. At any time one operation is under way: a pop, or a push of the message popped last, to the log or to the client.
struct echo_server::connection {
    explicit connection(int queue) : qd(queue) { std::memset(&message, 0, sizeof(message)); }
    ~connection()
    {
        dmtr_sgafree(&message);
        dmtr_close(qd);
    }

    int qd;
    dmtr_sgarray_t message; // ours from pop until the push to the client is complete
    uint64_t popped_at = 0;
};

echo_server::echo_server(const options &opts, int log_qd)
    : opts_(opts), log_qd_(log_qd), echo_("echo", opts), log_("log", opts)
{
    const sockaddr_in addr = opts.address();
    check(dmtr_socket(&listener_, AF_INET, SOCK_STREAM, 0), "dmtr_socket");
    check(dmtr_bind(listener_, reinterpret_cast<const sockaddr *>(&addr), sizeof(addr)), "dmtr_bind");
    check(dmtr_listen(listener_, SOMAXCONN), "dmtr_listen");
    start_accept();
}

echo_server::~echo_server()
{
    // Tokens before queues: a push that is dropped no longer borrows the message that its connection frees.
    for (dmtr_qtoken_t token : tokens_)
        dmtr_drop(token);
    owners_.clear();
    dmtr_close(listener_);
}

void echo_server::run()
{
    announce(listener_);
    for (;;) {
        dmtr_qresult_t result = {};
        int slot = 0;
        const int error = dmtr_wait_any(&result, &slot, tokens_.data(), static_cast<int>(tokens_.size()));
        if (error == EINTR)
            break;
        handle(slot, error, result);
    }

    std::vector<const recorder *> recorders = {&echo_};
    if (log_qd_ != 0) {
        recorders.push_back(&log_);
        if (log_errors_ != 0)
            std::fprintf(stderr, "%llu messages could not be logged\n", static_cast<unsigned long long>(log_errors_));
    }
    report(opts_, stderr, recorders);
}

void echo_server::handle(int slot, int error, dmtr_qresult_t &result)
{
    switch (result.qr_opcode) {
    case DMTR_OPC_ACCEPT:
        accepted(slot, error, result.qr_value.ares.qd);
        break;
    case DMTR_OPC_POP:
        popped(slot, error, result.qr_value.sga);
        break;
    case DMTR_OPC_PUSH:
        pushed(slot, error, result.qr_qd == log_qd_);
        break;
    default: // no operation of ours: the wait itself failed
        check(error != 0 ? error : EPROTO, "dmtr_wait_any");
    }
}

void echo_server::accepted(int slot, int error, int qd)
{
    if (error == EMFILE || error == ENFILE || error == ENOMEM) {
        // The client stays in the backlog, so to accept at once would fail again, for ever. hang_up() takes it up.
        remove(slot);
        accepting_ = false;
        if (tokens_.empty()) // nobody there to hang up
            check(error, "dmtr_accept");
        return;
    }
    check(dmtr_accept(&tokens_[slot], listener_), "dmtr_accept");
    if (error == 0) {
        add(0, std::make_shared<connection>(qd));
        start_pop(static_cast<int>(tokens_.size()) - 1);
    }
}

void echo_server::popped(int slot, int error, const dmtr_sgarray_t &message)
{
    connection &conn = *owners_[slot];
    if (error != 0) { // the client closed, broke off or sent rubbish: no concern of the others
        hang_up(slot);
        return;
    }
    conn.popped_at = dmtr_now_ns();
    conn.message = message;
    start_push(slot, log_qd_ != 0 ? log_qd_ : conn.qd);
}

void echo_server::pushed(int slot, int error, bool to_log)
{
    connection &conn = *owners_[slot];
    if (error != 0) { // what is not in the log is not answered
        log_errors_ += to_log;
        hang_up(slot);
        return;
    }
    (to_log ? log_ : echo_).record(dmtr_now_ns() - conn.popped_at);
    if (to_log) {
        start_push(slot, conn.qd);
        return;
    }
    dmtr_sgafree(&conn.message);
    start_pop(slot);
}

void echo_server::start_push(int slot, int qd)
{
    if (dmtr_push(&tokens_[slot], qd, &owners_[slot]->message) == 0)
        return;
    log_errors_ += qd == log_qd_;
    hang_up(slot);
}

void echo_server::start_pop(int slot)
{
    if (dmtr_pop(&tokens_[slot], owners_[slot]->qd) != 0)
        hang_up(slot);
}

void echo_server::start_accept()
{
    dmtr_qtoken_t token = 0;
    check(dmtr_accept(&token, listener_), "dmtr_accept");
    add(token, nullptr);
    accepting_ = true;
}

void echo_server::add(dmtr_qtoken_t token, std::shared_ptr<connection> owner)
{
    tokens_.push_back(token);
    owners_.push_back(std::move(owner));
}

// The last slot takes the place of the one that goes, so no other moves. A connection closes with its last slot.
void echo_server::remove(int slot)
{
    std::swap(tokens_[slot], tokens_.back());
    std::swap(owners_[slot], owners_.back());
    tokens_.pop_back();
    owners_.pop_back();
}

void echo_server::hang_up(int slot)
{
    remove(slot);
    if (!accepting_)
        start_accept();
}

} // namespace echo
