#include "epolltransport.h"

#include "kv.h"
#include "test.h"

#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>

static const size_t PIECE = 64 << 10;

EpollTransport::EpollTransport() : set(epoll_create1(EPOLL_CLOEXEC)), stop(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))
{
    struct epoll_event event = {EPOLLIN, {nullptr}};
    CHECK(set >= 0 && stop >= 0 && epoll_ctl(set, EPOLL_CTL_ADD, stop, &event) == 0);
}

EpollTransport::~EpollTransport()
{
    for (Connection *c : all) {
        close(c->fd);
        delete c;
    }
    for (Connection *c : dead)
        delete c;
    close(stop);
    close(set);
}

EpollTransport::Connection *EpollTransport::Add(int fd, TransportReceiver *receiver, const DmtrTransportAddress &peer, bool listens)
{
    Connection *c = new Connection{fd, receiver, peer, listens, false, "", "", 0};
    struct epoll_event event = {EPOLLIN | (listens ? 0u : EPOLLOUT | EPOLLET), {c}};
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    CHECK(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0);
    all.insert(c);
    if (!listens)
        connections[Key(receiver, peer.Number())] = c;
    return c;
}

void EpollTransport::Register(TransportReceiver *receiver, const transport::Configuration &config, int replicaIdx)
{
    Group group;
    for (int i = 0; i < config.n; i++) {
        sockaddr_in addr = test_address(0, static_cast<uint16_t>(atoi(config.replica(i).port.c_str())));
        CHECK(inet_aton(config.replica(i).host.c_str(), &addr.sin_addr) == 1);
        group.replicas.push_back(DmtrTransportAddress(addr));
    }
    group.index = replicaIdx;
    groups[receiver] = group;
    DmtrTransportAddress own = replicaIdx < 0 ? DmtrTransportAddress(sockaddr_in()) : group.replicas[replicaIdx];
    receiver->SetAddress(own.clone());
    if (replicaIdx < 0)
        return;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    sockaddr_in addr = own.Socket();
    CHECK(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
    CHECK(bind(fd, reinterpret_cast<sockaddr *>(&addr), sizeof addr) == 0 && listen(fd, 1024) == 0);
    Add(fd, receiver, own, true);
}

EpollTransport::Connection *EpollTransport::Connect(TransportReceiver *receiver, const DmtrTransportAddress &peer)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_in addr = peer.Socket();
    CHECK(fd >= 0);
    if (connect(fd, reinterpret_cast<sockaddr *>(&addr), sizeof addr) == 0 || errno == EINPROGRESS)
        return Add(fd, receiver, peer, false);
    close(fd);
    return nullptr;
}

bool EpollTransport::SendMessage(TransportReceiver *src, const TransportAddress &dst, const Message &m)
{
    return scratch.Fill(m) && Send(src, dynamic_cast<const DmtrTransportAddress &>(dst), scratch);
}

bool EpollTransport::SendMessageToReplica(TransportReceiver *src, int replicaIdx, const Message &m)
{
    return SendMessage(src, groups[src].replicas.at(replicaIdx), m);
}

bool EpollTransport::SendMessageToAll(TransportReceiver *src, const Message &m)
{
    const Group &group = groups[src];
    bool any = false;
    scratch.Fill(m);
    for (int i = 0; i < static_cast<int>(group.replicas.size()); i++)
        if (i != group.index && Send(src, group.replicas[i], scratch))
            any = true;
    return any;
}

bool EpollTransport::Send(TransportReceiver *src, const DmtrTransportAddress &dst, const DmtrPacket &packet)
{
    auto found = connections.find(Key(src, dst.Number()));
    Connection *c = found != connections.end() ? found->second : Connect(src, dst);
    if (c == nullptr)
        return false;
    char buf[4096];
    uint32_t size = static_cast<uint32_t>(packet.size);
    if (size + sizeof size <= sizeof buf) { /* in one piece */
        memcpy(buf, &size, sizeof size);
        memcpy(buf + sizeof size, packet.bytes.get(), size);
        Write(c, buf, size + sizeof size);
    } else {
        Write(c, reinterpret_cast<char *>(&size), sizeof size);
        Write(c, packet.bytes.get(), size);
    }
    return !c->broken;
}

void EpollTransport::Write(Connection *c, const char *bytes, size_t size)
{
    ssize_t sent = 0;
    if (c->out.empty()) {
        sent = send(c->fd, bytes, size, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != ENOTCONN)
            c->broken = true; /* reading tells */
        sent = std::max<ssize_t>(sent, 0);
    }
    c->out.append(bytes + sent, size - static_cast<size_t>(sent));
}

void EpollTransport::Accept(Connection *listener)
{
    sockaddr_in peer;
    socklen_t size = sizeof peer;
    int fd = accept4(listener->fd, reinterpret_cast<sockaddr *>(&peer), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        Add(fd, listener->receiver, DmtrTransportAddress(peer), false);
}

void EpollTransport::Read(Connection *c)
{
    char buf[PIECE];
    for (;;) {
        ssize_t n = recv(c->fd, buf, sizeof buf, 0);
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0)
            return Remove(c);
        c->in.append(buf, static_cast<size_t>(n));
        if (n < static_cast<ssize_t>(sizeof buf))
            break; /* edges: more makes a new one */
    }
    uint32_t size, length;
    while (c->in.size() - c->taken >= sizeof size && !stopping) {
        const char *at = c->in.data() + c->taken;
        memcpy(&size, at, sizeof size);
        if (c->in.size() - c->taken - sizeof size < size)
            break;
        memcpy(&length, at + sizeof size, sizeof length);
        length = ntohl(length);
        CHECK(length + sizeof length <= size);
        type.assign(at + 8, length);
        data.assign(at + 8 + length, size - sizeof length - length);
        c->taken += sizeof size + size;
        c->receiver->ReceiveMessage(c->peer, type, data);
    }
    c->in.erase(0, c->taken);
    c->taken = 0;
}

void EpollTransport::Remove(Connection *c)
{
    close(c->fd);
    auto found = connections.find(Key(c->receiver, c->peer.Number()));
    if (found != connections.end() && found->second == c)
        connections.erase(found);
    all.erase(c);
    dead.push_back(c);
}

void EpollTransport::Run()
{
    struct epoll_event events[64];
    while (!stopping) {
        int n = epoll_wait(set, events, 64, Timeout());
        for (int i = 0; i < n && !stopping; i++) {
            Connection *c = static_cast<Connection *>(events[i].data.ptr);
            if (c == nullptr)
                continue;
            if (c->listens) {
                Accept(c);
                continue;
            }
            if ((events[i].events & EPOLLOUT) != 0 && !c->out.empty()) {
                std::string rest;
                rest.swap(c->out);
                Write(c, rest.data(), rest.size());
            }
            if ((events[i].events & ~EPOLLOUT) != 0)
                Read(c);
        }
        for (Connection *c : dead)
            delete c;
        dead.clear();
        FireTimers();
    }
    stopping = false;
}

void EpollTransport::Stop()
{
    uint64_t one = 1;
    stopping = true;
    if (write(stop, &one, sizeof one) < 0)
        abort();
}

int EpollTransport::Timer(uint64_t ms, timer_callback_t cb)
{
    uint64_t time = kv::NowNs() + ms * 1000000;
    timerTimes[++lastTimer] = time;
    timers[std::make_pair(time, lastTimer)] = std::move(cb);
    return lastTimer;
}

bool EpollTransport::CancelTimer(int id)
{
    auto found = timerTimes.find(id);
    if (found == timerTimes.end())
        return false;
    timers.erase(std::make_pair(found->second, id));
    timerTimes.erase(found);
    return true;
}

void EpollTransport::CancelAllTimers()
{
    timers.clear();
    timerTimes.clear();
}

int EpollTransport::Timeout() const
{
    if (timers.empty())
        return -1;
    uint64_t now = kv::NowNs(), time = timers.begin()->first.first;
    return time <= now ? 0 : static_cast<int>((time - now + 999999) / 1000000);
}

void EpollTransport::FireTimers()
{
    uint64_t now = kv::NowNs();
    for (size_t left = timers.size(); left > 0 && !timers.empty() && timers.begin()->first.first <= now && !stopping; left--) {
        auto first = timers.begin();
        timer_callback_t cb = std::move(first->second);
        timerTimes.erase(first->first.second);
        timers.erase(first);
        cb();
    }
}
