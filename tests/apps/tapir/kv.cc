#include "kv.h"

#include "test.h"

#include <algorithm>
#include <random>

#include <time.h>

namespace kv {

static const uint64_t REMEMBERED = 1000;
static const int KEYS = 4; /* of each client */

uint64_t NowNs()
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<uint64_t>(t.tv_sec) * 1000000000 + static_cast<uint64_t>(t.tv_nsec);
}

bool Seen::Again(uint64_t number, uint64_t what)
{
    bool again = !numbers[number].insert(what).second;
    while (numbers.begin()->first + REMEMBERED < numbers.rbegin()->first)
        numbers.erase(numbers.begin());
    return again;
}

Replica::Replica(Transport *t, const transport::Configuration &config, int i, bool recover)
    : transport(t), others(config.n - 1), index(i), life(std::random_device()() | static_cast<uint64_t>(std::random_device()()) << 32),
      ready(!recover)
{
    transport->Register(this, config, index);
    if (recover)
        Ask();
}

Replica::~Replica()
{
    transport->CancelTimer(timer);
}

void Replica::Ask()
{
    transport->SendMessageToAll(this, StateRequest());
    timer = transport->Timer(20, [this]() { Ask(); });
}

void Replica::ReceiveMessage(const TransportAddress &remote, const string &type, const string &data)
{
    if (type == "kv.Request") {
        CHECK(request.ParseFromString(data));
        Answer(remote);
    } else if (type == "kv.StateRequest") {
        Tell(remote);
    } else if (type == "kv.StateReply") {
        CHECK(state.ParseFromString(data));
        Learn();
    } else {
        fprintf(stderr, "a message of the type '%s'\n", type.c_str());
        exit(1);
    }
}

void Replica::Answer(const TransportAddress &remote)
{
    reply.set_again(clients[request.client()].Again(request.number(), request.attempt()));
    Entry &entry = store[request.entry().key()];
    if (request.put() && request.entry().version() > entry.version())
        entry = request.entry();
    if (!ready)
        return;
    reply.set_number(request.number());
    reply.set_attempt(request.attempt());
    reply.set_replica(static_cast<uint32_t>(index));
    reply.set_life(life);
    reply.mutable_entry()->set_version(entry.version());
    if (!request.put())
        *reply.mutable_entry()->mutable_value() = entry.value();
    else
        reply.mutable_entry()->clear_value();
    transport->SendMessage(this, remote, reply);
}

void Replica::Tell(const TransportAddress &remote)
{
    state.Clear();
    state.set_replica(static_cast<uint32_t>(index));
    for (auto &item : store)
        *state.add_entries() = item.second;
    transport->SendMessage(this, remote, state);
    state.Clear();
}

void Replica::Learn()
{
    told.insert(state.replica());
    for (const Entry &entry : state.entries()) {
        Entry &known = store[entry.key()];
        if (entry.version() > known.version())
            known = entry;
    }
    if (static_cast<int>(told.size()) < others || ready)
        return;
    ready = true;
    transport->CancelTimer(timer);
}

Client::Client(Transport *t, const transport::Configuration &config, uint64_t i, const Plan &p)
    : lives(config.n), transport(t), n(config.n), quorum(config.QuorumSize()), id(i), plan(p), seen(config.n)
{
    transport->Register(this, config, -1);
}

Client::~Client()
{
    transport->CancelTimer(timer);
}

void Client::Start()
{
    if (!busy)
        Next();
}

/* Writes, and then reads what was written. */
void Client::Next()
{
    uint64_t number = request.number() + 1;
    busy = true;
    answered.clear();
    newest = 0;
    request.set_client(id);
    request.set_number(number);
    request.set_attempt(1);
    request.set_put(number % 2 == 1);
    Entry *entry = request.mutable_entry();
    if (request.put()) {
        written = number;
        entry->set_key(std::to_string(id) + "." + std::to_string(number / 2 % KEYS));
        entry->set_version(number);
        entry->mutable_value()->assign(plan.valueBytes, static_cast<char>(number));
    } else {
        entry->clear_value();
    }
    began = NowNs();
    transport->SendMessageToAll(this, request);
    timer = transport->Timer(plan.retryMs, [this]() { Retry(); });
}

void Client::Retry()
{
    retries++;
    request.set_attempt(request.attempt() + 1);
    for (int i = 0; i < n; i++)
        if (answered.count(static_cast<uint32_t>(i)) == 0)
            transport->SendMessageToReplica(this, i, request);
    timer = transport->Timer(plan.retryMs, [this]() { Retry(); });
}

void Client::ReceiveMessage(const TransportAddress &, const string &type, const string &data)
{
    CHECK(type == "kv.Reply" && reply.ParseFromString(data));
    CHECK(reply.replica() < static_cast<uint32_t>(n) && reply.number() <= request.number());
    CHECK(!reply.again());
    CHECK(!seen[reply.replica()].Again(reply.number(), reply.attempt() ^ reply.life() << 8));
    lives[reply.replica()].insert(reply.life());
    if (!busy || reply.number() != request.number() || !answered.insert(reply.replica()).second)
        return;
    if (reply.entry().version() > newest) {
        newest = reply.entry().version();
        if (!request.put()) {
            const string &value = reply.entry().value();
            CHECK_EQ(value.size(), plan.valueBytes);
            CHECK(value == string(value.size(), static_cast<char>(newest)));
        }
    }
    if (static_cast<int>(answered.size()) == quorum)
        Finish();
}

void Client::Finish()
{
    busy = false;
    transport->CancelTimer(timer);
    if (plan.record != nullptr && plan.record())
        latencies.push_back(NowNs() - began);
    CHECK_EQ(newest, written);
    done++;
    if (done == plan.requests && plan.finished)
        plan.finished();
    if (done < plan.requests && !stopped)
        Next();
}

} // namespace kv
