/* The baseline of bench-tapir: the same interface, plainly, over epoll and TCP of the system. For one thread; Stop() for any. */
#ifndef TESTS_TAPIR_EPOLLTRANSPORT_H
#define TESTS_TAPIR_EPOLLTRANSPORT_H

#include "dmtrnetwork.h"

#include "lib/configuration.h"
#include "lib/transport.h"

#include <map>
#include <set>
#include <unordered_map>
#include <vector>

class EpollTransport : public Transport {
public:
    EpollTransport();
    ~EpollTransport() override;
    void Register(TransportReceiver *receiver, const transport::Configuration &config, int replicaIdx) override;
    bool SendMessage(TransportReceiver *src, const TransportAddress &dst, const Message &m) override;
    bool SendMessageToReplica(TransportReceiver *src, int replicaIdx, const Message &m) override;
    bool SendMessageToAll(TransportReceiver *src, const Message &m) override;
    int Timer(uint64_t ms, timer_callback_t cb) override;
    bool CancelTimer(int id) override;
    void CancelAllTimers() override;
    void Run();
    void Stop(); /* also from signal handlers */

private:
    struct Connection {
        int fd;
        TransportReceiver *receiver;
        DmtrTransportAddress peer;
        bool listens, broken;
        std::string in, out;
        size_t taken; /* of in */
    };
    struct Group {
        std::vector<DmtrTransportAddress> replicas;
        int index;
    };
    typedef std::pair<TransportReceiver *, uint64_t> Key;
    struct KeyHash {
        size_t operator()(const Key &k) const { return std::hash<void *>()(k.first) ^ std::hash<uint64_t>()(k.second * 0x9e3779b97f4a7c15u); }
    };

    Connection *Add(int fd, TransportReceiver *receiver, const DmtrTransportAddress &peer, bool listens);
    Connection *Connect(TransportReceiver *receiver, const DmtrTransportAddress &peer);
    bool Send(TransportReceiver *src, const DmtrTransportAddress &dst, const DmtrPacket &packet);
    void Write(Connection *c, const char *bytes, size_t size);
    void Accept(Connection *listener);
    void Read(Connection *c);
    void Remove(Connection *c);
    void FireTimers();
    int Timeout() const;

    int set, stop;
    volatile bool stopping = false;
    std::map<TransportReceiver *, Group> groups;
    std::unordered_map<Key, Connection *, KeyHash> connections;
    std::set<Connection *> all;
    std::vector<Connection *> dead;
    std::map<std::pair<uint64_t, int>, timer_callback_t> timers;
    std::unordered_map<int, uint64_t> timerTimes;
    int lastTimer = 0;
    DmtrPacket scratch;
    std::string type, data;
};

#endif
