/*
 * The connections of a DmtrTransport, on the queue API of libdmtr. All but Listen(), Ring() and Dropped() is for one thread, that of Run().
 */
#ifndef DMTRNETWORK_H
#define DMTRNETWORK_H

#include "lib/transport.h"

#include <netinet/in.h>

#include <atomic>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

/* Where a receiver is: an IPv4 address and a port. */
class DmtrTransportAddress : public TransportAddress {
public:
    explicit DmtrTransportAddress(const sockaddr_in &addr)
        : number(static_cast<uint64_t>(ntohl(addr.sin_addr.s_addr)) << 16 | ntohs(addr.sin_port))
    {
    }
    DmtrTransportAddress *clone() const override { return new DmtrTransportAddress(*this); }
    sockaddr_in Socket() const;

    /* Both in one number, by which addresses are compared. */
    uint64_t Number() const { return number; }

private:
    uint64_t number;
};

inline bool operator==(const DmtrTransportAddress &a, const DmtrTransportAddress &b) { return a.Number() == b.Number(); }
inline bool operator!=(const DmtrTransportAddress &a, const DmtrTransportAddress &b) { return a.Number() != b.Number(); }
inline bool operator<(const DmtrTransportAddress &a, const DmtrTransportAddress &b) { return a.Number() < b.Number(); }

/* A message as it goes over the wire: the length of its type's name (32 bits, network order), the name, the message. */
struct DmtrPacket {
    std::unique_ptr<char[]> bytes;
    size_t size = 0;

    /* Takes the place of what was in it before. False if the message is larger than any limit can be. */
    bool Fill(const ::google::protobuf::Message &m);
    DmtrPacket Copy() const;

private:
    size_t room = 0;
};

class DmtrNetwork {
public:
    struct Connection;

    /* Starts the library if the program has not. Ends the program (Panic) if that fails. dscp: of the packets sent. */
    explicit DmtrNetwork(int dscp);

    /* Closes everything. */
    ~DmtrNetwork();

    DmtrNetwork(const DmtrNetwork &) = delete;
    DmtrNetwork &operator=(const DmtrNetwork &) = delete;

    /* A queue that listens there. Ends the program (Panic) if there is none to be had. */
    int Listen(const DmtrTransportAddress &addr);

    /* Gives the messages of connections to a listening queue to a receiver. */
    void Serve(int qd, TransportReceiver *receiver, const DmtrTransportAddress &addr);

    /* The connection of a receiver with a peer; NULL if there is none. It may be used until the next Wait(). */
    Connection *Find(TransportReceiver *receiver, const DmtrTransportAddress &peer) const;

    /* Makes one with a replica, for good: it is established when there is something to send, and anew if it was lost. */
    Connection *Open(TransportReceiver *receiver, const DmtrTransportAddress &peer);

    /* False if the packet was dropped, see DmtrTransport::SendMessage(). The bytes are the caller's on return. */
    bool Send(Connection *c, const DmtrPacket &packet);

    /* Blocks until something has happened, until that time (dmtr_now_ns()), or until dmtr_stop() or Ring() is called. */
    void Wait(uint64_t until);

    /* Delivers what the last Wait() has brought, and goes on with the next call where it stopped. */
    void Deliver(const std::atomic<bool> &stopping);

    /* Ends a Wait(), or the next one. */
    void Ring();

    /* Does what is due by now; NextDue() is when the next is. */
    void RunDue();
    uint64_t NextDue() const;

    bool Drop(size_t packets = 1);
    uint64_t Dropped() const { return dropped; }

private:
    struct Batch;
    enum Direction { READ, WRITE };
    typedef std::pair<TransportReceiver *, uint64_t> Key;
    struct KeyHash {
        size_t operator()(const Key &k) const { return std::hash<void *>()(k.first) ^ std::hash<uint64_t>()(k.second * 0x9e3779b97f4a7c15u); }
    };

    int Socket();
    void Connect(Connection *c);
    void Connected(Connection *c, int err);
    void Accept(Connection *listener);
    void Accepted(Connection *listener, int qd, const sockaddr_in &peer);
    bool Push(Connection *c, const DmtrPacket &packet);
    void Pushed(Connection *c, int err);
    void Pop(Connection *c);
    void Popped(Connection *c, const char *bytes, size_t size);
    void Lose(Connection *c);
    void Shut(Connection *c);
    void Later(Connection *c, uint64_t ns);
    void Watch(Connection *c, Direction d, uint64_t token);
    void Unwatch(Connection *c, Direction d);
    void Claim();
    void Handle(int i);

    const int dscp;
    std::atomic<uint64_t> dropped;
    std::unordered_map<Key, Connection *, KeyHash> connections;
    std::vector<Connection *> listeners;
    std::vector<Connection *> due;  /* have something to do at a time of their own */
    std::vector<Connection *> dead; /* to be deleted when no result of a wait can mean them */
    Connection *bell;               /* a memory queue */
    std::vector<uint64_t> tokens;
    std::vector<std::pair<Connection *, Direction>> owners; /* of the tokens */
    std::unique_ptr<Batch> batch;
    std::string type, data; /* of the message being delivered */
};

#endif
