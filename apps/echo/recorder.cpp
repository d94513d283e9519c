#include "recorder.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <stdexcept>

namespace echo {
namespace {

nlohmann::ordered_json summary(std::vector<uint64_t> samples)
{
    nlohmann::ordered_json out = {{"count", samples.size()}};
    if (samples.empty())
        return out;
    std::sort(samples.begin(), samples.end());
    const auto percentile = [&](double p) { // nearest rank
        const double rank = std::ceil(p / 100 * static_cast<double>(samples.size()));
        return samples[static_cast<size_t>(std::max(rank, 1.0)) - 1];
    };
    out["min"] = samples.front();
    out["mean"] = std::accumulate(samples.begin(), samples.end(), 0.0) / static_cast<double>(samples.size());
    out["p50"] = percentile(50);
    out["p99"] = percentile(99);
    out["p99.9"] = percentile(99.9);
    out["p99.99"] = percentile(99.99);
    out["max"] = samples.back();
    return out;
}

void write_samples(const std::string &path, const std::vector<const recorder *> &recorders)
{
    std::ofstream file(path);
    for (const recorder *each : recorders)
        for (uint64_t ns : each->samples())
            file << each->name() << ',' << ns << '\n';
    file.close();
    if (!file)
        throw std::runtime_error("cannot write " + path);
}

} // namespace

recorder::recorder(const char *name, const options &opts) : name_(name), keep_samples_(opts.keep_samples())
{
    check(dmtr_new_latency(&latency_, name), "dmtr_new_latency");
    if (keep_samples_) {
        // Touches the memory now, so that no page fault falls into a measurement.
        samples_.resize(std::min<uint64_t>(opts.iterations, 1u << 24));
        samples_.clear();
    }
}

recorder::~recorder()
{
    dmtr_delete_latency(&latency_);
}

void recorder::dump(std::FILE *to) const
{
    check(dmtr_dump_latency(to, latency_), "dmtr_dump_latency");
}

void report(const options &opts, std::FILE *tables, const std::vector<const recorder *> &recorders)
{
    for (const recorder *each : recorders)
        each->dump(opts.json ? stderr : tables);
    if (opts.json) {
        nlohmann::ordered_json out;
        for (const recorder *each : recorders)
            out["recorders"][each->name()] = summary(each->samples());
        std::cout << out << std::endl;
    }
    if (!opts.samples.empty())
        write_samples(opts.samples, recorders);
}

} // namespace echo
