/* DmtrTransport by itself: timers, Stop(), messages from other threads, peers that come back, do not read, or send nonsense, and limits. */
#include "../processes.h"

#include <algorithm>
#include <thread>

struct Peer : public TransportReceiver {
    void ReceiveMessage(const TransportAddress &remote, const string &type, const string &data) override
    {
        CHECK(type == "kv.Entry" && entry.ParseFromString(data));
        from.reset(remote.clone());
        got++;
        if (then)
            then();
    }

    kv::Entry entry;
    std::unique_ptr<TransportAddress> from;
    int got = 0;
    std::function<void(void)> then;
};

static kv::Entry message(uint64_t version, size_t bytes = 0)
{
    kv::Entry entry;
    entry.set_version(version);
    entry.set_value(string(bytes, 'x'));
    return entry;
}

static string own_host()
{
    struct in_addr own;
    own.s_addr = htonl(test_own_ip());
    return inet_ntoa(own);
}

/* A network of one replica. */
static transport::Configuration one(const string &port)
{
    return Replicas(own_host().c_str(), {port});
}

/* Runs until the condition holds, as seen from a callback. */
static void run_until(DmtrTransport *t, const std::function<bool(void)> &holds)
{
    std::function<void(void)> look = [&]() {
        if (holds())
            t->Stop();
        else
            t->Timer(1, look);
    };
    t->Timer(0, look);
    t->Run();
}

static void run_for(DmtrTransport *t, uint64_t ms)
{
    t->Timer(ms, [=]() { t->Stop(); });
    t->Run();
}

/* Whether a comes before b, and both are there. */
static bool before(const std::vector<int> &order, int a, int b)
{
    auto at = std::find(order.begin(), order.end(), a), after = std::find(order.begin(), order.end(), b);
    return at < after && after != order.end();
}

static void timers()
{
    DmtrTransport t;
    std::vector<int> order;
    uint64_t began = kv::NowNs(), took = 0;
    int zeros = 0, late = t.Timer(400, [&]() { order.push_back(40); }), never = t.Timer(200, []() { CHECK(false); });
    CHECK(late > 0 && never > late);
    t.Timer(300, [&]() {
        order.push_back(30);
        took = kv::NowNs() - began;
        CHECK(!t.CancelTimer(never));
    });
    t.Timer(100, [&]() {
        order.push_back(10);
        CHECK(t.CancelTimer(never));
        CHECK(!t.CancelTimer(never));
        t.Timer(0, [&]() { order.push_back(11); });
        t.Timer(0, [&]() { order.push_back(12); });
    });
    t.Timer(UINT64_MAX, []() { CHECK(false); });
    std::function<void(void)> zero = [&]() {
        if (++zeros < 1000)
            t.Timer(0, zero);
    };
    t.Timer(0, zero);
    run_until(&t, [&]() { return order.size() == 5 && zeros == 1000; });
    CHECK(before(order, 10, 30) && before(order, 30, 40));
    CHECK(before(order, 10, 11) && before(order, 11, 12));
    CHECK(took >= 300000000);
    CHECK(!t.CancelTimer(late));
    CHECK(!t.CancelTimer(-1));
    for (int i = 0; i < 10; i++)
        t.Timer(1, []() { CHECK(false); });
    t.CancelAllTimers();
    run_for(&t, 5);
}

static void stops()
{
    DmtrTransport t, other(0, 0, 0, false);
    uint64_t began = kv::NowNs();
    std::thread background([&]() { other.Run(); });
    t.Stop();
    t.Run();
    for (int i = 0; i < 100; i++) { /* asleep, spinning, or before Run() */
        std::thread stopper([&]() {
            usleep(i < 50 ? static_cast<useconds_t>(i) : 2000);
            t.Stop();
        });
        t.Run();
        stopper.join();
    }
    t.Timer(5, []() { kill(getpid(), SIGTERM); });
    t.Run();
    std::thread killer([]() {
        usleep(5000);
        kill(getpid(), SIGINT);
    });
    t.Run();
    killer.join();
    other.Stop();
    background.join();
    CHECK(kv::NowNs() - began < 20000000000u);
}

/* Messages that have come when Stop() is called are delivered by the next Run(). */
static void nothing_is_forgotten()
{
    transport::Configuration config = one(FreePorts(1)[0]);
    DmtrTransport t;
    Peer replica, client;
    t.Register(&replica, config, 0);
    t.Register(&client, config, -1);
    for (uint64_t i = 1; i <= 100; i++)
        CHECK(t.SendMessageToReplica(&client, 0, message(i)));
    replica.then = [&]() {
        CHECK_EQ(replica.entry.version(), replica.got);
        t.Stop();
    };
    for (int i = 1; i <= 100; i++) {
        t.Run();
        CHECK_EQ(replica.got, i);
    }
    CHECK_EQ(t.Dropped(), 0);
}

static void from_other_threads()
{
    enum { THREADS = 4, EACH = 500 };
    transport::Configuration config = one(FreePorts(1)[0]);
    DmtrTransport t;
    Peer replica, client;
    std::vector<std::thread> threads;
    std::atomic<int> fired(0);
    t.Register(&replica, config, 0);
    t.Register(&client, config, -1);
    for (int i = 0; i < THREADS; i++) {
        threads.emplace_back([&]() {
            for (uint64_t k = 0; k < EACH; k++) {
                CHECK(k % 2 == 0 ? t.SendMessageToReplica(&client, 0, message(k)) : t.SendMessageToAll(&client, message(k)));
                t.Timer(k % 3, [&]() { fired++; });
                int id = t.Timer(60000, []() { CHECK(false); });
                CHECK(t.CancelTimer(id));
                if (k % 64 == 0)
                    usleep(500);
            }
        });
    }
    run_until(&t, [&]() { return replica.got == THREADS * EACH && fired == THREADS * EACH; });
    for (std::thread &thread : threads)
        thread.join();
    CHECK_EQ(t.Dropped(), 0);
}

/* A replica goes and comes back: what is sent in between is lost, what is sent then arrives. Replies to clients that have gone are dropped. */
static void come_back()
{
    transport::Configuration config = one(FreePorts(1)[0]);
    DmtrTransport t;
    Peer client;
    uint64_t version = 0;
    t.Register(&client, config, -1);
    for (int life = 0; life < 5; life++) {
        DmtrTransport there(0, 0, 0, false);
        Peer replica;
        there.Register(&replica, config, 0);
        replica.then = [&]() { there.SendMessage(&replica, *replica.from, message(replica.entry.version())); };
        std::thread thread([&]() { there.Run(); });
        std::function<void(void)> ask = [&]() { t.SendMessageToReplica(&client, 0, message(++version)); };
        int before = client.got;
        run_until(&t, [&]() {
            ask();
            return client.got > before + 3;
        });
        there.Stop();
        thread.join();
    }
    uint64_t dropped = t.Dropped();
    run_until(&t, [&]() { return !t.SendMessageToReplica(&client, 0, message(1)) || t.Dropped() > dropped; });

    DmtrTransport there;
    Peer replica;
    int answers = 0;
    there.Register(&replica, config, 0);
    {
        DmtrTransport brief;
        Peer guest;
        brief.Register(&guest, config, -1);
        brief.SendMessageToReplica(&guest, 0, message(1));
        std::thread thread([&]() { brief.Run(); });
        run_until(&there, [&]() { return replica.got == 1; });
        brief.Stop();
        thread.join();
    }
    run_until(&there, [&]() { return !there.SendMessage(&replica, *replica.from, message(1)) || ++answers > 10000; });
    CHECK(answers <= 10000);
}

/* A peer that accepts and does not read: what waits for it is bounded, and nobody else has to wait. Its end drops all of it. */
static void does_not_read()
{
    const size_t size = 32 << 20;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in addr = test_plain(0);
    socklen_t length = sizeof addr;
    CHECK(bind(listener, reinterpret_cast<sockaddr *>(&addr), sizeof addr) == 0 && listen(listener, 5) == 0);
    CHECK(getsockname(listener, reinterpret_cast<sockaddr *>(&addr), &length) == 0);
    transport::Configuration config = Replicas(inet_ntoa(addr.sin_addr), {std::to_string(ntohs(addr.sin_port))});
    DmtrTransport t;
    Peer client;
    int sent = 0;
    uint64_t lost = 0;
    t.Register(&client, config, -1);
    run_until(&t, [&]() {
        if (t.Dropped() > lost) /* on a machine so slow that the connection was given up */
            sent = 0;
        lost = t.Dropped();
        return !t.SendMessageToReplica(&client, 0, message(1, size)) || ++sent < 0;
    });
    lost = t.Dropped();
    CHECK(static_cast<size_t>(sent) * size >= DmtrTransport::MAX_WAITING_BYTES - 2 * size);
    CHECK(static_cast<size_t>(sent) * size <= DmtrTransport::MAX_WAITING_BYTES + (64 << 20));
    int peer = accept(listener, nullptr, nullptr);
    CHECK(peer >= 0);
    close(peer);
    close(listener);
    run_until(&t, [&]() { return t.Dropped() >= lost + 4; });
}

/* One message of the wire: header, one segment. */
static string frame(const string &inner)
{
    uint32_t words[] = {htonl(DMTR_HEADER_MAGIC), htonl(static_cast<uint32_t>(inner.size()) + 4), htonl(1), htonl(static_cast<uint32_t>(inner.size()))};
    return string(reinterpret_cast<char *>(words), sizeof words) + inner;
}

static void nonsense()
{
    if (test_own_kind())
        return;
    string port = FreePorts(1)[0];
    DmtrTransport t;
    Peer replica;
    t.Register(&replica, one(port), 0);
    std::thread thread([&]() { t.Run(); });
    sockaddr_in addr = test_own(static_cast<uint16_t>(atoi(port.c_str())));
    string cases[] = {"GET / HTTP/1.1\r\n\r\n1234", frame("abc"), frame(string(4, 0)), frame(string("\0\0\0\x09kv.Entry", 12)),
                      frame("\xff\xff\xff\xffkv.Entry"), frame(string("\0\0\0\0kv.Entry", 12))};
    for (const string &bytes : cases) {
        char end;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(fd >= 0 && connect(fd, reinterpret_cast<sockaddr *>(&addr), sizeof addr) == 0);
        CHECK_EQ(send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL), bytes.size());
        CHECK(recv(fd, &end, 1, 0) <= 0);
        close(fd);
    }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    string good = frame(string("\0\0\0\x08kv.Entry", 12));
    CHECK(fd >= 0 && connect(fd, reinterpret_cast<sockaddr *>(&addr), sizeof addr) == 0);
    replica.then = [&]() { t.Stop(); };
    CHECK_EQ(send(fd, good.data(), good.size(), MSG_NOSIGNAL), good.size());
    thread.join();
    CHECK_EQ(replica.got, 1);
    close(fd);
}

/* Too large for the library: dropped, and the connection goes on. */
static void too_large()
{
    transport::Configuration config = one(FreePorts(1)[0]);
    DmtrTransport t;
    Peer replica, client;
    t.Register(&replica, config, 0);
    t.Register(&client, config, -1);
    CHECK(t.SendMessageToReplica(&client, 0, message(1)));
    run_until(&t, [&]() { return replica.got == 1; });
    t.Timer(0, [&]() {
        CHECK(!t.SendMessageToReplica(&client, 0, message(2, 65 << 20)));
        CHECK(t.SendMessageToReplica(&client, 0, message(3, 60 << 20)));
    });
    run_until(&t, [&]() { return replica.got == 2; });
    CHECK_EQ(replica.entry.version(), 3);
    CHECK_EQ(t.Dropped(), 1);
}

int main(void)
{
    test_init();
    timers();
    stops();
    nothing_is_forgotten();
    from_other_threads();
    come_back();
    if (!test_own_kind())
        does_not_read();
    nonsense();
    too_large();
    return 0;
}
