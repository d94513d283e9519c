#include "ping_pong.hpp"

#include <dmtr/libos.h>
#include <dmtr/sga.h>
#include <dmtr/wait.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <stdexcept>

namespace echo {

ping_pong::ping_pong(const options &opts, int qd)
    : opts_(opts), qd_(qd), rtt_("rtt", opts), message_(opts.size), tokens_{0, 0}
{
    for (size_t i = 0; i < message_.size(); i++)
        message_[i] = static_cast<char>('a' + i % 26);
}

ping_pong::~ping_pong()
{
    dmtr_drop(tokens_[POP]); // if we stop amid a round trip
    dmtr_drop(tokens_[PUSH]);
}

void ping_pong::run()
{
    const uint64_t start = dmtr_now_ns();
    const uint64_t total = opts_.iterations == 0 ? UINT64_MAX : opts_.warmup + opts_.iterations;
    uint64_t number = 0;
    uint64_t took = 0;
    for (; number < total && exchange(number, &took); number++)
        if (number >= opts_.warmup)
            rtt_.record(took);
    const double seconds = static_cast<double>(dmtr_now_ns() - start) / 1e9;

    report(opts_, stdout, {&rtt_});
    std::fprintf(opts_.json ? stderr : stdout, "%llu round trips of %zu bytes in %.3f s\n",
                 static_cast<unsigned long long>(number), message_.size(), seconds);
}

// One round trip. Returns false if told to stop before it was complete.
bool ping_pong::exchange(uint64_t number, uint64_t *took)
{
    // Makes each message another one, so that a late or doubled answer is noticed.
    std::memcpy(message_.data(), &number, std::min(sizeof(number), message_.size()));
    dmtr_sgarray_t sga = {};
    sga.sga_numsegs = 1;
    sga.sga_segs[0].sgaseg_buf = message_.data();
    sga.sga_segs[0].sgaseg_len = static_cast<uint32_t>(message_.size());

    const uint64_t start = dmtr_now_ns();
    uint64_t end = start;
    check(dmtr_push(&tokens_[PUSH], qd_, &sga), "dmtr_push");
    check(dmtr_pop(&tokens_[POP], qd_), "dmtr_pop");
    int waiting = TOKENS; // less one when the push, whose token is the last, is complete

    // With stream framing the answer comes in parts, and the first may be there before the last byte is sent.
    for (received_ = 0; received_ < message_.size();) {
        dmtr_qresult_t result = {};
        if (!completed(dmtr_wait_any(&result, nullptr, tokens_, waiting)))
            return false;
        if (result.qr_opcode == DMTR_OPC_PUSH) {
            waiting--;
            continue;
        }
        end = dmtr_now_ns();
        verify(result.qr_value.sga);
        dmtr_sgafree(&result.qr_value.sga);
        if (received_ < message_.size())
            check(dmtr_pop(&tokens_[POP], qd_), "dmtr_pop");
    }
    *took = end - start;
    return waiting < TOKENS || completed(dmtr_wait(nullptr, tokens_[PUSH]));
}

// What a wait has said: false if told to stop.
bool ping_pong::completed(int error)
{
    if (error != EINTR)
        check(error, "connection");
    return error == 0;
}

void ping_pong::verify(const dmtr_sgarray_t &part)
{
    for (uint32_t i = 0; i < part.sga_numsegs; i++) {
        const dmtr_sgaseg_t &segment = part.sga_segs[i];
        if (segment.sgaseg_len > message_.size() - received_ ||
            std::memcmp(segment.sgaseg_buf, &message_[received_], segment.sgaseg_len) != 0)
            throw std::runtime_error("other bytes came back than were sent");
        received_ += segment.sgaseg_len;
    }
}

} // namespace echo
