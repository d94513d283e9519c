/* See dmtrnetwork.h, and README.md for how it works. */
#define DMTR_API 2020
#include "dmtrnetwork.h"
#include "dmtrtransport.h"

#include "lib/message.h"

#include <dmtr/ext.h>
#include <dmtr/latency.h>
#include <dmtr/libos.h>
#include <dmtr/option.h>
#include <dmtr/sga.h>
#include <dmtr/wait.h>

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <string.h>

#include <google/protobuf/message.h>

#include <algorithm>
#include <deque>

namespace {

const uint64_t MS = 1000000; /* ns */
const uint64_t FIRST_BACKOFF = 5 * MS, LONGEST_BACKOFF = 500 * MS;
const uint64_t CONNECT_TIMEOUT = 3000 * MS; /* the system's is minutes */
const uint64_t ACCEPT_PAUSE = 10 * MS;      /* after an error, such as too many open queues */
const uint32_t USER_TIMEOUT_MS = 10000;     /* after which a peer that acknowledges nothing is given up */
const uint32_t KEEPALIVE_S = 10, KEEPALIVE_INTERVAL_S = 2, KEEPALIVE_PROBES = 5;
const int BACKLOG = 1024;
const size_t LARGE = 64 << 10; /* memory that is not kept for the next message */
const size_t TYPE_LENGTH = 4;

void Must(int err, const char *what)
{
    if (err != 0)
        Panic("%s: %s", what, strerror(err));
}

} // namespace

sockaddr_in DmtrTransportAddress::Socket() const
{
    sockaddr_in addr;
    memset(&addr, 0, sizeof addr);
    addr.sin_family = AF_INET;
    addr.sin_addr.s_addr = htonl(static_cast<uint32_t>(number >> 16));
    addr.sin_port = htons(static_cast<uint16_t>(number));
    return addr;
}

bool DmtrPacket::Fill(const ::google::protobuf::Message &m)
{
    const auto &name = m.GetDescriptor()->full_name();
    size_t body = m.ByteSizeLong();
    size = TYPE_LENGTH + name.size() + body;
    if (size > INT_MAX)
        return false;
    if (size > room || room > LARGE) {
        bytes.reset(new char[size]);
        room = size;
    }
    uint32_t length = htonl(static_cast<uint32_t>(name.size()));
    memcpy(bytes.get(), &length, TYPE_LENGTH);
    memcpy(bytes.get() + TYPE_LENGTH, name.data(), name.size());
    m.SerializeWithCachedSizesToArray(reinterpret_cast<uint8_t *>(bytes.get()) + TYPE_LENGTH + name.size());
    return true;
}

/*
 * A connection, a listener, or the bell. Connections to replicas stay when they are lost, IDLE, and are made anew when there is
 * something to send; others go.
 */
struct DmtrNetwork::Connection {
    enum State { IDLE, CONNECTING, UP, LISTENING, BELL, DEAD };

    Connection(State s, TransportReceiver *r, const DmtrTransportAddress &a) : state(s), receiver(r), peer(a) {}

    State state;
    TransportReceiver *receiver; /* to which messages go */
    DmtrTransportAddress peer;
    bool outgoing = false;
    int qd = 0;
    int slots[2] = {-1, -1}; /* by Direction, where in tokens there is one of this connection */
    std::deque<std::pair<dmtr_qtoken_t, size_t>> pushes; /* that have not completed, and their sizes */
    std::deque<DmtrPacket> waiting;                          /* for the connection to be made */
    size_t bytes = 0;                                    /* of both */
    unsigned failures = 0;                               /* to connect, since a message came last */
    uint64_t time = 0;                                   /* IDLE: none is made before; and see Later() */
};

/* What a wait reported and has not been handled yet. */
struct DmtrNetwork::Batch {
    enum { MOST = 64 };
    int next = 0, count = 0;
    dmtr_qresult_t results[MOST];
    int errs[MOST], places[MOST];
    std::pair<Connection *, Direction> owners[MOST];
};

/* Makes a TCP queue; 0 if there is none to be had. Not every libOS has all options. */
int DmtrNetwork::Socket()
{
    int qd = 0;
    if (dmtr_socket(&qd, AF_INET, SOCK_STREAM, 0) != 0)
        return 0;
    dmtr_set_option(qd, DMTR_OPT_FRAMING, DMTR_FRAMING_MESSAGE);
    dmtr_set_option(qd, DMTR_OPT_KEEPALIVE_S, KEEPALIVE_S);
    dmtr_set_option(qd, DMTR_OPT_KEEPALIVE_INTERVAL_S, KEEPALIVE_INTERVAL_S);
    dmtr_set_option(qd, DMTR_OPT_KEEPALIVE_PROBES, KEEPALIVE_PROBES);
    dmtr_set_option(qd, DMTR_OPT_USER_TIMEOUT_MS, USER_TIMEOUT_MS);
    if (dscp != 0)
        dmtr_set_option(qd, DMTR_OPT_DSCP, static_cast<uint32_t>(dscp));
    return qd;
}

DmtrPacket DmtrPacket::Copy() const
{
    DmtrPacket copy;
    copy.bytes.reset(new char[size]);
    copy.size = copy.room = size;
    memcpy(copy.bytes.get(), bytes.get(), size);
    return copy;
}

bool DmtrNetwork::Drop(size_t packets)
{
    dropped += packets;
    return false;
}

DmtrNetwork::DmtrNetwork(int codepoint)
    : dscp(codepoint), dropped(0), bell(new Connection(Connection::BELL, nullptr, DmtrTransportAddress(sockaddr_in()))), batch(new Batch)
{
    int err = dmtr_init(0, nullptr);
    if (err != EPERM) /* the program has */
        Must(err, "dmtr_init");
    Must(dmtr_queue(&bell->qd), "dmtr_queue");
    Pop(bell);
}

DmtrNetwork::~DmtrNetwork()
{
    for (; batch->next < batch->count; batch->next++) {
        dmtr_qresult_t &result = batch->results[batch->next];
        if (batch->errs[batch->next] == 0 && result.qr_opcode == DMTR_OPC_POP)
            dmtr_sgafree(&result.qr_value.sga);
        else if (batch->errs[batch->next] == 0 && result.qr_opcode == DMTR_OPC_ACCEPT)
            dmtr_close(result.qr_value.ares.qd);
    }
    for (auto &entry : connections)
        dead.push_back(entry.second);
    dead.insert(dead.end(), listeners.begin(), listeners.end());
    dead.push_back(bell);
    for (Connection *c : dead) {
        Shut(c);
        delete c;
    }
}

int DmtrNetwork::Listen(const DmtrTransportAddress &address)
{
    sockaddr_in addr = address.Socket();
    int qd = Socket();
    Must(dmtr_bind(qd, reinterpret_cast<sockaddr *>(&addr), sizeof addr), "dmtr_bind");
    Must(dmtr_listen(qd, BACKLOG), "dmtr_listen");
    return qd;
}

void DmtrNetwork::Serve(int qd, TransportReceiver *receiver, const DmtrTransportAddress &addr)
{
    Connection *listener = new Connection(Connection::LISTENING, receiver, addr);
    listener->qd = qd;
    listeners.push_back(listener);
    Accept(listener);
}

DmtrNetwork::Connection *DmtrNetwork::Find(TransportReceiver *receiver, const DmtrTransportAddress &peer) const
{
    auto found = connections.find(Key(receiver, peer.Number()));
    return found != connections.end() ? found->second : nullptr;
}

DmtrNetwork::Connection *DmtrNetwork::Open(TransportReceiver *receiver, const DmtrTransportAddress &peer)
{
    Connection *c = new Connection(Connection::IDLE, receiver, peer);
    c->outgoing = true;
    connections[Key(receiver, peer.Number())] = c;
    return c;
}

bool DmtrNetwork::Send(Connection *c, const DmtrPacket &packet)
{
    if (c->pushes.size() + c->waiting.size() >= DmtrTransport::MAX_WAITING ||
        (c->bytes > 0 && c->bytes + packet.size > DmtrTransport::MAX_WAITING_BYTES))
        return Drop();
    if (c->state == Connection::UP)
        return Push(c, packet);
    c->waiting.push_back(packet.Copy());
    c->bytes += packet.size;
    if (c->state == Connection::IDLE && c->waiting.size() == 1)
        Later(c, 0);
    return true;
}

void DmtrNetwork::Ring()
{
    dmtr_sgarray_t sga;
    dmtr_qtoken_t token;
    memset(&sga, 0, sizeof sga);
    sga.sga_numsegs = 1;
    if (dmtr_push(&token, bell->qd, &sga) == 0)
        dmtr_wait(nullptr, token);
}

/* The library keeps a copy of what the network does not take at once. */
bool DmtrNetwork::Push(Connection *c, const DmtrPacket &packet)
{
    dmtr_sgarray_t sga;
    dmtr_qtoken_t token;
    dmtr_qresult_t result;
    memset(&sga, 0, sizeof sga);
    sga.sga_numsegs = 1;
    sga.sga_segs[0].sgaseg_buf = packet.bytes.get();
    sga.sga_segs[0].sgaseg_len = static_cast<uint32_t>(packet.size);
    int err = dmtr_push(&token, c->qd, &sga);
    if (err != 0)
        return Drop(); /* EMSGSIZE, ENOBUFS; if the connection is gone, its pop tells */
    if (c->pushes.empty()) {
        err = dmtr_wait_timeout(&result, token, 0);
        if (err == 0)
            return true;
        if (result.qr_opcode != DMTR_OPC_INVALID) {
            Drop();
            Lose(c);
            return false;
        }
    }
    c->pushes.push_back(std::make_pair(token, packet.size));
    c->bytes += packet.size;
    if (c->pushes.size() == 1)
        Watch(c, WRITE, token);
    if (dmtr_own(token) != 0) {
        Lose(c);
        return false;
    }
    return true;
}

void DmtrNetwork::Pushed(Connection *c, int err)
{
    for (;;) {
        if (err != 0)
            return Lose(c);
        c->bytes -= c->pushes.front().second;
        c->pushes.pop_front();
        if (c->pushes.empty())
            return;
        dmtr_qresult_t result;
        err = dmtr_wait_timeout(&result, c->pushes.front().first, 0);
        if (err != 0 && result.qr_opcode == DMTR_OPC_INVALID)
            return Watch(c, WRITE, c->pushes.front().first);
    }
}

/* Has RunDue() look at a connection, not before it has waited for so long, and not before its own time. */
void DmtrNetwork::Later(Connection *c, uint64_t ns)
{
    if (ns > 0)
        c->time = dmtr_now_ns() + ns;
    if (std::find(due.begin(), due.end(), c) == due.end())
        due.push_back(c);
}

void DmtrNetwork::RunDue()
{
    if (due.empty())
        return;
    uint64_t now = dmtr_now_ns();
    std::vector<Connection *> ready;
    for (size_t i = 0; i < due.size();) {
        if (due[i]->time > now) {
            i++;
            continue;
        }
        ready.push_back(due[i]);
        due[i] = due.back();
        due.pop_back();
    }
    for (Connection *c : ready) {
        if (c->state == Connection::IDLE)
            Connect(c);
        else if (c->state == Connection::CONNECTING)
            Connected(c, ETIMEDOUT);
        else if (c->state == Connection::LISTENING)
            Accept(c);
    }
}

void DmtrNetwork::Connect(Connection *c)
{
    sockaddr_in addr = c->peer.Socket();
    dmtr_qtoken_t token;
    int err = ENOBUFS;
    c->state = Connection::CONNECTING;
    c->qd = Socket();
    if (c->qd != 0)
        err = dmtr_connect(&token, c->qd, reinterpret_cast<sockaddr *>(&addr), sizeof addr);
    if (err != 0)
        return Connected(c, err);
    Watch(c, READ, token);
    Later(c, CONNECT_TIMEOUT);
}

/* What waited for a connection that cannot be made is dropped: the protocol sends again what still matters then. */
void DmtrNetwork::Connected(Connection *c, int err)
{
    if (err != 0) {
        uint64_t pause = std::min(FIRST_BACKOFF << std::min(c->failures, 20u), LONGEST_BACKOFF);
        c->failures++;
        Lose(c);
        c->time = dmtr_now_ns() + pause;
        return;
    }
    std::deque<DmtrPacket> packets;
    packets.swap(c->waiting);
    c->bytes = 0;
    c->state = Connection::UP;
    due.erase(std::remove(due.begin(), due.end(), c), due.end());
    Pop(c);
    for (const DmtrPacket &packet : packets) {
        if (c->state == Connection::UP)
            Push(c, packet);
        else
            Drop();
    }
}

void DmtrNetwork::Accept(Connection *listener)
{
    dmtr_qtoken_t token;
    if (dmtr_accept(&token, listener->qd) == 0)
        Watch(listener, READ, token);
    else
        Later(listener, ACCEPT_PAUSE);
}

void DmtrNetwork::Accepted(Connection *listener, int qd, const sockaddr_in &peer)
{
    Connection *c = new Connection(Connection::UP, listener->receiver, DmtrTransportAddress(peer));
    Connection *&place = connections[Key(c->receiver, c->peer.Number())];
    Connection *stale = place; /* of a peer that has gone without a word, and now uses the same port */
    place = c;
    c->qd = qd;
    if (stale != nullptr) {
        Shut(stale);
        dead.push_back(stale);
    }
    Pop(c);
}

void DmtrNetwork::Pop(Connection *c)
{
    dmtr_qtoken_t token;
    if (dmtr_pop(&token, c->qd) == 0)
        Watch(c, READ, token);
    else if (c != bell)
        Lose(c);
}

/* Delivers a message. One that is not in our form ends its connection. */
void DmtrNetwork::Popped(Connection *c, const char *bytes, size_t size)
{
    uint32_t length = 0;
    if (size >= TYPE_LENGTH)
        memcpy(&length, bytes, TYPE_LENGTH);
    length = ntohl(length);
    if (length == 0 || length > size - TYPE_LENGTH)
        return Lose(c);
    type.assign(bytes + TYPE_LENGTH, length);
    data.assign(bytes + TYPE_LENGTH + length, size - TYPE_LENGTH - length);
    c->failures = 0;
    c->receiver->ReceiveMessage(c->peer, type, data);
    if (data.capacity() > LARGE)
        std::string().swap(data);
}

void DmtrNetwork::Lose(Connection *c)
{
    Shut(c);
    if (c->outgoing) {
        c->state = Connection::IDLE;
        c->time = 0;
        return;
    }
    connections.erase(Key(c->receiver, c->peer.Number()));
    dead.push_back(c);
}

/* Closes the queue and gives up all that is under way. */
void DmtrNetwork::Shut(Connection *c)
{
    if (c->slots[READ] >= 0) {
        dmtr_drop(tokens[c->slots[READ]]);
        Unwatch(c, READ);
    }
    if (c->slots[WRITE] >= 0)
        Unwatch(c, WRITE);
    for (auto &push : c->pushes)
        dmtr_drop(push.first);
    Drop(c->pushes.size() + c->waiting.size());
    c->pushes.clear();
    c->waiting.clear();
    c->bytes = 0;
    if (c->qd != 0)
        dmtr_close(c->qd);
    c->qd = 0;
    c->state = Connection::DEAD;
    due.erase(std::remove(due.begin(), due.end(), c), due.end());
}

void DmtrNetwork::Watch(Connection *c, Direction d, uint64_t token)
{
    c->slots[d] = static_cast<int>(tokens.size());
    tokens.push_back(token);
    owners.push_back(std::make_pair(c, d));
}

void DmtrNetwork::Unwatch(Connection *c, Direction d)
{
    int slot = c->slots[d];
    tokens[slot] = tokens.back();
    owners[slot] = owners.back();
    owners[slot].first->slots[owners[slot].second] = slot;
    tokens.pop_back();
    owners.pop_back();
    c->slots[d] = -1;
}

uint64_t DmtrNetwork::NextDue() const
{
    uint64_t next = DMTR_FOREVER;
    for (Connection *c : due)
        next = std::min(next, c->time);
    return next;
}

void DmtrNetwork::Wait(uint64_t until)
{
    for (Connection *c : dead)
        delete c;
    dead.clear();
    uint64_t now = until == DMTR_FOREVER || until == 0 ? 0 : dmtr_now_ns();
    uint64_t timeout = now == 0 ? until : until - std::min(until, now);
    batch->next = 0;
    batch->count = Batch::MOST;
    int err = dmtr_wait_some(batch->results, batch->errs, batch->places, &batch->count, tokens.data(), static_cast<int>(tokens.size()), timeout);
    if (err == 0)
        return Claim();
    batch->count = 0;
    if (err == EINTR) /* if another transport stops, it will soon have */
        sched_yield();
    else if (err != ETIMEDOUT)
        Must(err, "dmtr_wait_some");
}

void DmtrNetwork::Deliver(const std::atomic<bool> &stopping)
{
    while (batch->next < batch->count && !stopping)
        Handle(batch->next++);
}

/* The tokens that were reported are no more. */
void DmtrNetwork::Claim()
{
    for (int i = 0; i < batch->count; i++)
        batch->owners[i] = owners[batch->places[i]];
    for (int i = 0; i < batch->count; i++)
        Unwatch(batch->owners[i].first, batch->owners[i].second);
}

void DmtrNetwork::Handle(int i)
{
    Connection *c = batch->owners[i].first;
    dmtr_qresult_t &result = batch->results[i];
    int err = batch->errs[i];
    bool stale = c->qd != result.qr_qd; /* it was lost after the wait had reported this */
    if (result.qr_opcode == DMTR_OPC_POP) {
        if (c == bell)
            return Pop(c);
        if (err == 0 && !stale)
            Popped(c, static_cast<char *>(result.qr_value.sga.sga_segs[0].sgaseg_buf), result.qr_value.sga.sga_segs[0].sgaseg_len);
        if (err == 0)
            dmtr_sgafree(&result.qr_value.sga);
        if (c->qd != result.qr_qd)
            return;
        if (err == 0)
            Pop(c);
        else
            Lose(c);
    } else if (stale) {
        return;
    } else if (result.qr_opcode == DMTR_OPC_PUSH) {
        Pushed(c, err);
    } else if (result.qr_opcode == DMTR_OPC_ACCEPT) {
        if (err == 0)
            Accepted(c, result.qr_value.ares.qd, result.qr_value.ares.addr);
        if (err == 0)
            Accept(c);
        else
            Later(c, ACCEPT_PAUSE);
    } else if (result.qr_opcode == DMTR_OPC_CONNECT) {
        Connected(c, err);
    }
}

