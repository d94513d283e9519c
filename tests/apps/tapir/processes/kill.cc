/*
 * Replicas are processes, and one after the other is killed under load and started again: clients go on with the others, and have its
 * answers again when it is back. No request is lost or answered twice, see kv.h. An argument says how many times.
 */
#include "../processes.h"

static const int CLIENTS = 8;
static const uint64_t REQUESTS = 200; /* of all clients, with all replicas and with one less */

struct Load {
    explicit Load(const transport::Configuration &config)
    {
        plan.retryMs = 20;
        for (int i = 0; i < CLIENTS; i++) {
            clients.emplace_back(new kv::Client(&transport, config, static_cast<uint64_t>(i), plan));
            clients.back()->Start();
        }
    }

    /* Lets clients work until a condition holds. */
    void Until(const std::function<bool(void)> &holds)
    {
        std::function<void(void)> look = [&]() {
            if (holds())
                transport.Stop();
            else
                transport.Timer(1, look);
        };
        transport.Timer(0, look);
        transport.Run();
    }

    uint64_t Done() const
    {
        uint64_t done = 0;
        for (auto &client : clients)
            done += client->done;
        return done;
    }

    /* How often has a replica been started, as all clients know by now? */
    size_t Lives(int replica) const
    {
        size_t lives = SIZE_MAX;
        for (auto &client : clients)
            lives = std::min(lives, client->lives[replica].size());
        return lives;
    }

    DmtrTransport transport;
    kv::Plan plan;
    std::vector<std::unique_ptr<kv::Client>> clients;
};

int main(int argc, char **argv)
{
    MaybeReplica(argc, argv);
    test_watchdog();
    const int kills = argc > 1 ? atoi(argv[1]) : 5;
    std::vector<string> ports = FreePorts(3);
    std::vector<size_t> lives(3, 1);
    std::vector<pid_t> pids;
    for (int i = 0; i < 3; i++)
        pids.push_back(StartReplica(ports, i, false));
    Load load(Replicas("127.0.0.1", ports));
    for (int i = 0; i < kills; i++) {
        int victim = i % 3;
        uint64_t done = load.Done();
        load.Until([&]() { return load.Done() >= done + REQUESTS && load.Lives(victim) == lives[victim]; });
        EndReplica(pids[victim], SIGKILL);
        load.Until([&]() { return load.Done() >= done + 2 * REQUESTS; });
        pids[victim] = StartReplica(ports, victim, true);
        lives[victim]++;
        load.Until([&]() { return load.Lives(victim) == lives[victim]; });
    }
    size_t working = CLIENTS;
    for (auto &client : load.clients)
        client->Stop();
    uint64_t done = load.Done();
    load.Until([&]() { return load.Done() == done || --working == 0; });
    for (pid_t pid : pids)
        EndReplica(pid, SIGTERM);
    printf("%d kills, %llu requests\n", kills, static_cast<unsigned long long>(load.Done()));
    return 0;
}
