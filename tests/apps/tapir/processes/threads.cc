/*
 * How a TAPIR client uses threads: one is in Run(), others send, set and cancel timers, and wait for answers; while transports are made
 * with threads of their own, connect, stop and go. An argument says for how many seconds.
 */
#include "../processes.h"

#include <condition_variable>
#include <mutex>
#include <thread>

static const int ASKERS = 3;

/* Sends a request from its own thread and waits until two replicas have answered. */
struct Asker : public TransportReceiver {
    Asker(Transport *t, const transport::Configuration &config, uint64_t id) : transport(t)
    {
        request.set_client(id);
        request.mutable_entry()->set_key(std::to_string(id));
        transport->Register(this, config, -1);
    }

    void ReceiveMessage(const TransportAddress &, const string &type, const string &data) override
    {
        kv::Reply reply;
        CHECK(type == "kv.Reply" && reply.ParseFromString(data) && !reply.again());
        std::lock_guard<std::mutex> lock(mutex);
        if (reply.number() == number && ++answers == 2)
            enough.notify_one();
    }

    void Ask(bool by_timer)
    {
        std::unique_lock<std::mutex> lock(mutex);
        answers = 0;
        request.set_number(++number);
        request.set_put(true);
        request.mutable_entry()->set_version(number);
        lock.unlock();
        if (by_timer)
            transport->Timer(0, [this]() { CHECK(transport->SendMessageToAll(this, request)); });
        else
            CHECK(transport->SendMessageToAll(this, request));
        int timer = transport->Timer(10000, []() { CHECK(false); });
        lock.lock();
        enough.wait(lock, [this]() { return answers >= 2; });
        lock.unlock();
        CHECK(transport->CancelTimer(timer));
    }

    Transport *const transport;
    std::mutex mutex;
    std::condition_variable enough;
    kv::Request request;
    uint64_t number = 0;
    int answers = 0;
};

int main(int argc, char **argv)
{
    const double limit = argc > 1 ? atof(argv[1]) : 2;
    if (getenv("DMTR_TEST_SECONDS") == nullptr)
        setenv("DMTR_TEST_SECONDS", std::to_string(static_cast<int>(limit) + TEST_SECONDS).c_str(), 1);
    test_init();
    transport::Configuration config = Replicas("127.0.0.1", FreePorts(3));
    DmtrTransport there, here;
    std::vector<std::unique_ptr<kv::Replica>> replicas;
    for (int i = 0; i < config.n; i++)
        replicas.emplace_back(new kv::Replica(&there, config, i, false));
    std::thread serving([&]() { there.Run(); }), running([&]() { here.Run(); });
    const uint64_t end = kv::NowNs() + static_cast<uint64_t>(limit * 1e9);
    std::atomic<uint64_t> asked(0);
    std::vector<std::unique_ptr<Asker>> receivers;
    std::vector<std::thread> askers;
    for (int i = 0; i < ASKERS; i++) {
        receivers.emplace_back(new Asker(&here, config, static_cast<uint64_t>(i)));
        Asker *asker = receivers.back().get();
        askers.emplace_back([&asked, asker, end]() {
            for (uint64_t n = 0; kv::NowNs() < end; n++, asked++)
                asker->Ask(n % 2 == 0);
        });
    }
    int guests = 0;
    for (; kv::NowNs() < end; guests++) {
        DmtrTransport transport(0, 0, 0, false);
        Asker guest(&transport, config, 1000 + static_cast<uint64_t>(guests));
        std::thread thread([&]() { transport.Run(); });
        guest.Ask(guests % 2 == 0);
        transport.Stop();
        thread.join();
    }
    for (std::thread &thread : askers)
        thread.join();
    here.Stop();
    there.Stop();
    running.join();
    serving.join();
    CHECK_EQ(here.Dropped(), 0);
    CHECK(asked > 0 && guests > 0);
    printf("%llu requests, %d transports in %.0f s\n", static_cast<unsigned long long>(asked), guests, limit);
    return 0;
}
