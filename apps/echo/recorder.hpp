// A latency recorder of libdmtr, which keeps the single samples too if the results are wanted as JSON or as a file.
#ifndef ECHO_RECORDER_HPP
#define ECHO_RECORDER_HPP

#include "app.hpp"

#include <dmtr/latency.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace echo {

class recorder {
  public:
    recorder(const char *name, const options &opts);
    ~recorder();
    recorder(const recorder &) = delete;
    recorder &operator=(const recorder &) = delete;

    void record(uint64_t ns)
    {
        dmtr_record_latency(latency_, ns);
        if (keep_samples_)
            samples_.push_back(ns);
    }

    const std::string &name() const { return name_; }
    const std::vector<uint64_t> &samples() const { return samples_; }
    void dump(std::FILE *to) const;

  private:
    std::string name_;
    bool keep_samples_;
    dmtr_latency_t *latency_ = nullptr;
    std::vector<uint64_t> samples_;
};

// Prints the tables of all recorders, and what else the options ask for.
void report(const options &opts, std::FILE *tables, const std::vector<const recorder *> &recorders);

} // namespace echo

#endif
