/* Stands in for TAPIR's header of that name: where the replicas of a group are. */
#ifndef STANDIN_CONFIGURATION_H
#define STANDIN_CONFIGURATION_H

#include <string>
#include <vector>

using std::string;

namespace transport {

struct ReplicaAddress {
    string host, port;
};

class Configuration {
public:
    Configuration(int tolerated, const std::vector<ReplicaAddress> &addresses)
        : n(static_cast<int>(addresses.size())), f(tolerated), replicas(addresses)
    {
    }
    ReplicaAddress replica(int index) const { return replicas.at(index); }
    int QuorumSize() const { return f + 1; }

    int n, f;

private:
    std::vector<ReplicaAddress> replicas;
};

} // namespace transport

#endif
