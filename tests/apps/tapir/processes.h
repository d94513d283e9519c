/* What the programs share: configurations of replicas, and replicas as processes of their own, started from the same program. */
#ifndef TESTS_TAPIR_PROCESSES_H
#define TESTS_TAPIR_PROCESSES_H

#include "dmtrtransport.h"
#include "kv.h"
#include "test.h"

#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <string>
#include <vector>

extern char **environ;

/* n free ports, or those named. */
inline transport::Configuration Replicas(const char *host, const std::vector<string> &ports)
{
    std::vector<transport::ReplicaAddress> addresses;
    for (const string &port : ports)
        addresses.push_back(transport::ReplicaAddress{host, port});
    return transport::Configuration(static_cast<int>(ports.size() - 1) / 2, addresses);
}

inline std::vector<string> FreePorts(int n)
{
    std::vector<string> ports;
    std::vector<int> fds;
    for (int i = 0; i < n; i++) {
        sockaddr_in addr = test_loopback(0);
        socklen_t size = sizeof addr;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(fd >= 0 && bind(fd, reinterpret_cast<sockaddr *>(&addr), sizeof addr) == 0);
        CHECK(getsockname(fd, reinterpret_cast<sockaddr *>(&addr), &size) == 0);
        ports.push_back(std::to_string(ntohs(addr.sin_port)));
        fds.push_back(fd);
    }
    for (int fd : fds)
        close(fd);
    return ports;
}

/* The main() of a process that StartReplica() has started; others return. */
inline void MaybeReplica(int argc, char **argv)
{
    if (argc < 4 || strcmp(argv[1], "replica") != 0)
        return;
    CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
    DmtrTransport transport;
    kv::Replica replica(&transport, Replicas("127.0.0.1", std::vector<string>(argv + 4, argv + argc)), atoi(argv[2]), *argv[3] == 'r');
    transport.Run();
    exit(0);
}

/* Starts a replica as a process. One that takes the place of another has to recover. */
inline pid_t StartReplica(const std::vector<string> &ports, int index, bool recover)
{
    string number = std::to_string(index);
    std::vector<char *> argv = {const_cast<char *>("/proc/self/exe"), const_cast<char *>("replica"), const_cast<char *>(number.c_str()),
                                const_cast<char *>(recover ? "recover" : "new")};
    pid_t pid;
    for (const string &port : ports)
        argv.push_back(const_cast<char *>(port.c_str()));
    argv.push_back(nullptr);
    CHECK(posix_spawn(&pid, "/proc/self/exe", nullptr, nullptr, argv.data(), environ) == 0);
    return pid;
}

/* Sends it a signal, and waits for its end: by that signal, or by exit(0) if that is expected. */
inline void EndReplica(pid_t pid, int signal)
{
    int status;
    CHECK(kill(pid, signal) == 0);
    CHECK(waitpid(pid, &status, 0) == pid);
    if (signal == SIGKILL ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL : WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return;
    fprintf(stderr, "a replica ended with status %#x\n", static_cast<unsigned>(status));
    exit(1);
}

#endif
