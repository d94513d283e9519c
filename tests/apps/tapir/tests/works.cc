/* Three replicas and their clients in one process, with small and large values: each request is done once, reads see writes, nothing is dropped. */
#include "../processes.h"

static const int CLIENTS = 5;

static void exercise(size_t bytes, uint64_t requests)
{
    struct in_addr own;
    own.s_addr = htonl(test_own_ip());
    transport::Configuration config = Replicas(inet_ntoa(own), FreePorts(3));
    DmtrTransport transport;
    kv::Plan plan;
    int left = CLIENTS;
    std::vector<std::unique_ptr<kv::Replica>> replicas;
    std::vector<std::unique_ptr<kv::Client>> clients;
    plan.valueBytes = bytes;
    plan.requests = requests;
    plan.retryMs = 5000;
    plan.finished = [&]() {
        if (--left == 0)
            transport.Stop();
    };
    for (int i = 0; i < config.n; i++)
        replicas.emplace_back(new kv::Replica(&transport, config, i, false));
    for (int i = 0; i < CLIENTS; i++) {
        clients.emplace_back(new kv::Client(&transport, config, static_cast<uint64_t>(i), plan));
        clients.back()->Start();
    }
    transport.Run();
    for (auto &client : clients) {
        CHECK_EQ(client->done, requests);
        CHECK_EQ(client->retries, 0);
    }
    CHECK_EQ(transport.Dropped(), 0);
}

int main(void)
{
    test_init();
    exercise(64, test_scaled(2000));
    exercise(0, test_scaled(100));
    exercise(1 << 20, test_scaled(20));
    return 0;
}
