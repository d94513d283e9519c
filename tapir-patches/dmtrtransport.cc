/* See dmtrtransport.h, and README.md for how it works. */
#define DMTR_API 2020
#include "dmtrtransport.h"

#include "lib/message.h"

#include <dmtr/ext.h>
#include <dmtr/latency.h>

#include <limits.h>
#include <netdb.h>
#include <signal.h>
#include <string.h>

#include <algorithm>

const size_t DmtrTransport::MAX_WAITING, DmtrTransport::MAX_WAITING_BYTES;

namespace {

const uint64_t MS = 1000000; /* ns */

std::atomic<int> stops(0);                       /* transports that have to stop and have not yet */
std::atomic<DmtrTransport *> signalled(nullptr); /* which one signals stop */
struct sigaction oldInt, oldTerm;

void OnSignal(int)
{
    DmtrTransport *transport = signalled;
    if (transport != nullptr)
        transport->Stop();
}

DmtrTransportAddress Resolve(const transport::ReplicaAddress &replica)
{
    struct addrinfo hints, *found;
    memset(&hints, 0, sizeof hints);
    hints.ai_family = AF_INET;
    hints.ai_socktype = SOCK_STREAM;
    int err = getaddrinfo(replica.host.c_str(), replica.port.c_str(), &hints, &found);
    if (err != 0)
        Panic("%s:%s: %s", replica.host.c_str(), replica.port.c_str(), gai_strerror(err));
    DmtrTransportAddress address(*reinterpret_cast<sockaddr_in *>(found->ai_addr));
    freeaddrinfo(found);
    return address;
}

} // namespace

DmtrTransport::DmtrTransport(double, double, int dscp, bool handleSignals)
    : runner(std::thread::id()), stopping(false), sleepsUntil(0), handlesSignals(handleSignals), lastTimer(0), letterBytes(0), network(dscp)
{
    if (handlesSignals)
        TakeSignals();
}

DmtrTransport::~DmtrTransport()
{
    DmtrTransport *self = this;
    if (handlesSignals && signalled.compare_exchange_strong(self, nullptr)) {
        sigaction(SIGINT, &oldInt, nullptr);
        sigaction(SIGTERM, &oldTerm, nullptr);
    }
    EndStop();
    TakeLetters(); /* a listener must be closed */
}

void DmtrTransport::TakeSignals()
{
    struct sigaction action, *oldest = signalled.exchange(this) == nullptr ? &oldInt : nullptr;
    memset(&action, 0, sizeof action);
    action.sa_handler = OnSignal;
    action.sa_flags = SA_RESTART;
    sigaction(SIGINT, &action, oldest);
    sigaction(SIGTERM, &action, oldest != nullptr ? &oldTerm : nullptr);
}

void DmtrTransport::Register(TransportReceiver *receiver, const transport::Configuration &config, int replicaIdx)
{
    Group group;
    for (int i = 0; i < config.n; i++)
        group.replicas.push_back(Resolve(config.replica(i)));
    group.index = replicaIdx;
    DmtrTransportAddress own(replicaIdx < 0 ? DmtrTransportAddress(sockaddr_in()) : group.replicas.at(replicaIdx));
    receiver->SetAddress(own.clone());
    {
        std::lock_guard<std::mutex> lock(mutex);
        for (const DmtrTransportAddress &replica : group.replicas)
            replicaNumbers.insert(replica.Number());
        groups[receiver] = group;
    }
    if (replicaIdx >= 0)
        Leave(Letter{receiver, own, DmtrPacket(), network.Listen(own)});
}

const DmtrTransport::Group &DmtrTransport::GroupOf(TransportReceiver *receiver)
{
    std::lock_guard<std::mutex> lock(mutex);
    auto found = groups.find(receiver);
    if (found == groups.end())
        Panic("a receiver that is not registered sends");
    return found->second; /* it neither moves nor changes */
}

bool DmtrTransport::SendMessage(TransportReceiver *src, const TransportAddress &dst, const Message &m)
{
    const DmtrTransportAddress &to = dynamic_cast<const DmtrTransportAddress &>(dst);
    if (OnRunThread())
        return scratch.Fill(m) ? Send(src, to, scratch) : network.Drop();
    DmtrPacket packet;
    return packet.Fill(m) ? Post(src, to, std::move(packet)) : network.Drop();
}

bool DmtrTransport::SendMessageToReplica(TransportReceiver *src, int replicaIdx, const Message &m)
{
    return SendMessage(src, GroupOf(src).replicas.at(replicaIdx), m);
}

bool DmtrTransport::SendMessageToAll(TransportReceiver *src, const Message &m)
{
    const Group &group = GroupOf(src);
    const bool here = OnRunThread();
    bool any = false;
    DmtrPacket own, &packet = here ? scratch : own;
    if (!packet.Fill(m))
        return network.Drop();
    for (int i = 0; i < static_cast<int>(group.replicas.size()); i++)
        if (i != group.index && (here ? Send(src, group.replicas[i], packet) : Post(src, group.replicas[i], packet.Copy())))
            any = true;
    return any;
}

bool DmtrTransport::Send(TransportReceiver *src, const DmtrTransportAddress &dst, const DmtrPacket &packet)
{
    DmtrNetwork::Connection *c = network.Find(src, dst);
    if (c == nullptr) {
        std::lock_guard<std::mutex> lock(mutex);
        if (replicaNumbers.count(dst.Number()) == 0)
            return network.Drop();
        c = network.Open(src, dst);
    }
    return network.Send(c, packet);
}

/* Hands a packet over to the thread of Run(). */
bool DmtrTransport::Post(TransportReceiver *src, const DmtrTransportAddress &dst, DmtrPacket packet)
{
    {
        std::lock_guard<std::mutex> lock(mutex);
        if (letters.size() >= MAX_WAITING || (letterBytes > 0 && letterBytes + packet.size > MAX_WAITING_BYTES))
            return network.Drop();
    }
    Leave(Letter{src, dst, std::move(packet), 0});
    return true;
}

void DmtrTransport::Leave(Letter letter)
{
    {
        std::lock_guard<std::mutex> lock(mutex);
        letterBytes += letter.packet.size;
        letters.push_back(std::move(letter));
    }
    Wake(0);
}

void DmtrTransport::TakeLetters()
{
    std::vector<Letter> taken;
    {
        std::lock_guard<std::mutex> lock(mutex);
        if (letters.empty())
            return;
        taken.swap(letters);
        letterBytes = 0;
    }
    for (Letter &letter : taken) {
        if (letter.listener == 0)
            Send(letter.src, letter.dst, letter.packet);
        else
            network.Serve(letter.listener, letter.src, letter.dst);
    }
}

/* Wakes Run() if it sleeps until later than that. */
void DmtrTransport::Wake(uint64_t before)
{
    uint64_t until = sleepsUntil;
    while (until > before && !sleepsUntil.compare_exchange_weak(until, 0)) {
    }
    if (until > before)
        network.Ring();
}

void DmtrTransport::Run()
{
    runner = std::this_thread::get_id();
    while (!stopping) {
        network.Deliver(stopping);
        TakeLetters();
        FireTimers();
        network.RunDue();
        if (!stopping)
            network.Wait(NextEvent());
        sleepsUntil = 0;
    }
    runner = std::thread::id();
    EndStop();
}

/* When there will be something to do, if nothing comes before. From now on Wake() wakes. */
uint64_t DmtrTransport::NextEvent()
{
    uint64_t next = network.NextDue();
    std::lock_guard<std::mutex> lock(mutex);
    if (!letters.empty())
        return 0;
    if (!timers.empty())
        next = std::min(next, timers.begin()->first.first);
    sleepsUntil = next;
    return next;
}

void DmtrTransport::Stop()
{
    if (stopping.exchange(true))
        return;
    stops++;
    dmtr_stop();
}

void DmtrTransport::EndStop()
{
    if (!stopping.exchange(false))
        return;
    if (--stops == 0)
        dmtr_resume();
    if (stops > 0) /* meanwhile */
        dmtr_stop();
}

int DmtrTransport::Timer(uint64_t ms, timer_callback_t cb)
{
    uint64_t now = dmtr_now_ns(), time = ms < (UINT64_MAX - 1 - now) / MS ? now + ms * MS : UINT64_MAX - 1;
    int id;
    {
        std::lock_guard<std::mutex> lock(mutex);
        do
            lastTimer = lastTimer < INT_MAX ? lastTimer + 1 : 1;
        while (!timerTimes.insert(std::make_pair(lastTimer, time)).second);
        id = lastTimer;
        timers.insert(std::make_pair(std::make_pair(time, id), std::move(cb)));
    }
    if (!OnRunThread())
        Wake(time);
    return id;
}

bool DmtrTransport::CancelTimer(int id)
{
    timer_callback_t cancelled; /* destroyed without the lock: what it owns may call this transport */
    std::lock_guard<std::mutex> lock(mutex);
    auto found = timerTimes.find(id);
    if (found == timerTimes.end())
        return false;
    auto timer = timers.find(std::make_pair(found->second, id));
    cancelled.swap(timer->second);
    timers.erase(timer);
    timerTimes.erase(found);
    return true;
}

void DmtrTransport::CancelAllTimers()
{
    std::map<std::pair<uint64_t, int>, timer_callback_t> cancelled;
    std::lock_guard<std::mutex> lock(mutex);
    cancelled.swap(timers);
    timerTimes.clear();
}

/* Calls what is due. Timers set meanwhile have their turn after the next look at the network. */
void DmtrTransport::FireTimers()
{
    std::unique_lock<std::mutex> lock(mutex);
    if (timers.empty())
        return;
    uint64_t now = dmtr_now_ns();
    for (size_t left = timers.size(); left > 0 && !stopping && !timers.empty() && timers.begin()->first.first <= now; left--) {
        auto first = timers.begin();
        timer_callback_t cb = std::move(first->second);
        timerTimes.erase(first->first.second);
        timers.erase(first);
        lock.unlock();
        cb();
        cb = nullptr;
        lock.lock();
    }
}
