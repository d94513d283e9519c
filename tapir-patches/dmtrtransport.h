/*
 * DmtrTransport: TAPIR's transport interface on the queue API of libdmtr. README.md says how to put it into TAPIR.
 *
 * A replica listens on the TCP address that the configuration names; connections are made when something is sent, one for each
 * pair of receiver and replica, and replies go back by the connection on which the message came. Messages may be lost, as with UDP,
 * and only when a connection is: they are never delivered twice, and those of one connection in order.
 *
 * Run() does all the work, on the thread that calls it: callbacks run there, too. All other calls may be made from any thread, from
 * callbacks as well, and do not block; Stop() also from signal handlers. Receivers must live for as long as Run() does.
 * dmtr_init() is called if the program has not done so. There may be several transports, each with a thread for Run().
 */
#ifndef DMTRTRANSPORT_H
#define DMTRTRANSPORT_H

#include "dmtrnetwork.h"

#include "lib/configuration.h"
#include "lib/transport.h"

#include <atomic>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

class DmtrTransport : public Transport {
public:
    /*
     * The arguments are those of TAPIR's own transports. The first two, which make faults, are not used; dscp marks the packets sent;
     * with handleSignals SIGINT and SIGTERM call Stop() on the transport that was made last.
     */
    explicit DmtrTransport(double dropRate = 0.0, double reorderRate = 0.0, int dscp = 0, bool handleSignals = true);

    /* Closes all connections; what has not left yet is lost. Run() must have returned. */
    ~DmtrTransport() override;

    DmtrTransport(const DmtrTransport &) = delete;
    DmtrTransport &operator=(const DmtrTransport &) = delete;

    /* Names are resolved here, which may block. Ends the program (Panic) if that, or listening, fails. */
    void Register(TransportReceiver *receiver, const transport::Configuration &config, int replicaIdx) override;

    /*
     * Send a message; true if it is on its way, or waits for a connection. False, and it is dropped, if too much waits for that peer
     * already (MAX_WAITING, MAX_WAITING_BYTES), it is over the library's limit on messages, or it is a reply and the connection is gone.
     * On other threads than that of Run() this is found out later, and the answer is true. SendMessageToAll() leaves out the
     * sender, and goes on with the others after such a failure: it is false only if no replica is left to get the message.
     */
    bool SendMessage(TransportReceiver *src, const TransportAddress &dst, const Message &m) override;
    bool SendMessageToReplica(TransportReceiver *src, int replicaIdx, const Message &m) override;
    bool SendMessageToAll(TransportReceiver *src, const Message &m) override;

    /*
     * Calls cb after so many milliseconds, once; timers that are due at the same time in the order in which they were set. Numbers are
     * positive, and not used again before 2^31 others. CancelTimer() is false if cb has been called, or is about to be.
     */
    int Timer(uint64_t ms, timer_callback_t cb) override;
    bool CancelTimer(int id) override;
    void CancelAllTimers() override;

    /* Returns once Stop() is called; if that was before, at once. May be called again. */
    void Run();

    /*
     * Ends Run(). It uses dmtr_stop(): waits of the program's own, on other threads, may give EINTR meanwhile. No callback begins
     * after it; one that runs on another thread goes on to its end.
     */
    void Stop();

    /* Messages that were given to this transport and dropped, or were under way on connections that were lost. */
    uint64_t Dropped() const { return network.Dropped(); }

    static const size_t MAX_WAITING = 65536;            /* messages per connection that have not left yet */
    static const size_t MAX_WAITING_BYTES = 256u << 20; /* and their bytes; one message may be larger */

private:
    /* What a receiver was registered with. */
    struct Group {
        std::vector<DmtrTransportAddress> replicas;
        int index;
    };

    /* What another thread leaves for that of Run(): a packet, or a queue that listens. */
    struct Letter {
        TransportReceiver *src;
        DmtrTransportAddress dst;
        DmtrPacket packet;
        int listener;
    };

    const Group &GroupOf(TransportReceiver *receiver);
    bool OnRunThread() const { return runner == std::this_thread::get_id(); }
    bool Send(TransportReceiver *src, const DmtrTransportAddress &dst, const DmtrPacket &packet);
    bool Post(TransportReceiver *src, const DmtrTransportAddress &dst, DmtrPacket packet);
    void Leave(Letter letter);
    void TakeLetters();
    void Wake(uint64_t before);
    void FireTimers();
    uint64_t NextEvent();
    void EndStop();
    void TakeSignals();

    std::atomic<std::thread::id> runner;
    std::atomic<bool> stopping;
    std::atomic<uint64_t> sleepsUntil; /* what Run() waits for, if it does; a thread with an earlier event has to wake it */
    const bool handlesSignals;

    std::mutex mutex; /* guards what is from here to letterBytes */
    std::map<TransportReceiver *, Group> groups;
    std::set<uint64_t> replicaNumbers;
    std::map<std::pair<uint64_t, int>, timer_callback_t> timers; /* by time and number */
    std::unordered_map<int, uint64_t> timerTimes;
    int lastTimer;
    std::vector<Letter> letters;
    size_t letterBytes;

    DmtrNetwork network;
    DmtrPacket scratch; /* of the thread of Run() */
};

#endif
