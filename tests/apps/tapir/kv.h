/*
 * A replicated key-value store over the Transport interface, to exercise DmtrTransport as TAPIR does. A client sends each request to
 * all replicas, is content with f + 1 answers, and asks those again that have not answered when a timer says so. Each client writes its
 * own keys only, one request at a time, so it knows what it must read: a write that was lost shows. A replica that restarts
 * has forgotten everything; it asks all others what they know before it answers clients.
 */
#ifndef TESTS_TAPIR_KV_H
#define TESTS_TAPIR_KV_H

#include "kv.pb.h"

#include "lib/configuration.h"
#include "lib/transport.h"

#include <map>
#include <set>
#include <unordered_map>
#include <vector>

namespace kv {

uint64_t NowNs();

/* Attempts that have come from one sender: tells those that come twice. Remembers the last thousand numbers. */
class Seen {
public:
    bool Again(uint64_t number, uint64_t what);

private:
    std::map<uint64_t, std::set<uint64_t>> numbers;
};

class Replica : public TransportReceiver {
public:
    Replica(Transport *transport, const transport::Configuration &config, int index, bool recover);
    ~Replica() override;
    void ReceiveMessage(const TransportAddress &remote, const string &type, const string &data) override;

private:
    void Answer(const TransportAddress &remote);
    void Tell(const TransportAddress &remote);
    void Learn();
    void Ask();

    Transport *const transport;
    const int others, index;
    const uint64_t life;
    bool ready;
    int timer = 0;
    std::set<uint32_t> told; /* the others that have told what they know */
    std::unordered_map<string, Entry> store;
    std::unordered_map<uint64_t, Seen> clients;
    Request request;
    Reply reply;
    StateReply state;
};

/* What clients do, and what became of it. */
struct Plan {
    size_t valueBytes = 64;
    uint64_t requests = UINT64_MAX; /* of each client */
    uint64_t retryMs = 50;
    bool (*record)() = nullptr;           /* whether latencies are to be kept now */
    std::function<void(void)> finished;   /* a client has done all its requests */
};

class Client : public TransportReceiver {
public:
    Client(Transport *transport, const transport::Configuration &config, uint64_t id, const Plan &plan);
    ~Client() override;

    /* Begins with the requests: on the thread of Run(), or before it. One that is stopped finishes its request. */
    void Start();
    void Stop() { stopped = true; }
    void ReceiveMessage(const TransportAddress &remote, const string &type, const string &data) override;

    uint64_t done = 0, retries = 0;
    std::vector<std::set<uint64_t>> lives; /* those that have answered, by replica */
    std::vector<uint64_t> latencies;       /* ns */
    bool stopped = false;

private:
    void Next();
    void Retry();
    void Finish();

    Transport *const transport;
    const int n, quorum;
    const uint64_t id;
    const Plan &plan;
    int timer = 0;
    uint64_t began = 0, newest = 0, written = 0;
    std::set<uint32_t> answered;
    std::vector<Seen> seen;
    Request request;
    Reply reply;
    bool busy = false;
};

} // namespace kv

#endif
