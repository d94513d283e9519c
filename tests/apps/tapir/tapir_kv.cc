/*
 * The exercise as processes, for bench-tapir.
 *   tapir_kv replica dmtr|epoll CPU INDEX PORT...
 *   tapir_kv client dmtr|epoll CPU CLIENTS SECONDS PORT...    prints requests per second and latencies, as JSON
 * Replicas are on 127.0.0.1; their number follows from that of the ports. CPU -1: any.
 */
#include "epolltransport.h"
#include "processes.h"

#include <sched.h>
#include <sys/resource.h>

#include <algorithm>

static const double WARMUP = 0.3; /* of the time */

static std::function<void(void)> stop;
static bool recording;

static void on_signal(int)
{
    stop();
}

static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    CHECK(cpu < 0 || sched_setaffinity(0, sizeof set, &set) == 0);
}

template <typename T> static int replica(int index, const std::vector<string> &ports)
{
    T transport;
    kv::Replica receiver(&transport, Replicas("127.0.0.1", ports), index, false);
    stop = [&]() { transport.Stop(); };
    signal(SIGTERM, on_signal);
    fprintf(stderr, "listening on 127.0.0.1:%s\n", ports.at(index).c_str());
    transport.Run();
    return 0;
}

static double percentile(const std::vector<uint64_t> &sorted, double part)
{
    return sorted.empty() ? 0 : static_cast<double>(sorted[std::min(sorted.size() - 1, static_cast<size_t>(part * static_cast<double>(sorted.size())))]);
}

template <typename T> static int client(int count, double seconds, const std::vector<string> &ports)
{
    T transport;
    transport::Configuration config = Replicas("127.0.0.1", ports);
    kv::Plan plan;
    std::vector<std::unique_ptr<kv::Client>> clients;
    std::vector<uint64_t> latencies;
    uint64_t began = 0, retries = 0;
    plan.retryMs = 2000;
    plan.record = []() { return recording; };
    for (int i = 0; i < count; i++) {
        clients.emplace_back(new kv::Client(&transport, config, static_cast<uint64_t>(i), plan));
        clients.back()->Start();
    }
    transport.Timer(static_cast<uint64_t>(seconds * WARMUP * 1000), [&]() {
        recording = true;
        began = kv::NowNs();
    });
    transport.Timer(static_cast<uint64_t>(seconds * 1000), [&]() { transport.Stop(); });
    transport.Run();
    double took = static_cast<double>(kv::NowNs() - began) / 1e9;
    for (auto &c : clients) {
        latencies.insert(latencies.end(), c->latencies.begin(), c->latencies.end());
        retries += c->retries;
    }
    std::sort(latencies.begin(), latencies.end());
    printf("{\"requests_per_s\": %.1f, \"retries\": %llu, \"p50\": %.0f, \"p99\": %.0f}\n", static_cast<double>(latencies.size()) / took,
           static_cast<unsigned long long>(retries), percentile(latencies, 0.5), percentile(latencies, 0.99));
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 6) {
        fprintf(stderr, "usage: see tapir_kv.cc\n");
        return 2;
    }
    const bool serves = strcmp(argv[1], "replica") == 0, dmtr = strcmp(argv[2], "dmtr") == 0;
    pin(atoi(argv[3]));
    std::vector<string> ports(argv + (serves ? 5 : 6), argv + argc);
    if (serves)
        return dmtr ? replica<DmtrTransport>(atoi(argv[4]), ports) : replica<EpollTransport>(atoi(argv[4]), ports);
    return dmtr ? client<DmtrTransport>(atoi(argv[4]), atof(argv[5]), ports) : client<EpollTransport>(atoi(argv[4]), atof(argv[5]), ports);
}
