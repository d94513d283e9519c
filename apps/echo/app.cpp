#include "app.hpp"

#include <CLI/CLI.hpp>
#include <arpa/inet.h>
#include <dmtr/ext.h>
#include <dmtr/libos.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <stdexcept>
#include <system_error>
#include <vector>

namespace echo {
namespace {

// Options that concern the start alone; no program looks at them later.
struct start_options {
    std::string config_path;
    std::string libos;
    std::string wait;
    std::string framing;
    int cpu = -1;
};

void add_common(CLI::App &app, options &opts, start_options &start)
{
    app.add_option("--ip", opts.ip, "IPv4 address of the server")->check(CLI::ValidIPV4)->capture_default_str();
    app.add_option("--port", opts.port, "Port of the server; a server given 0 takes a free one")->capture_default_str();
    app.add_option("-c,--config-path", start.config_path, "YAML file with settings of this program and of libdmtr");
    app.add_option("--libos", start.libos, "libOS to use, as DMTR_LIBOS");
    app.add_option("--wait", start.wait, "How to wait, as DMTR_WAIT")->check(CLI::IsMember({"adaptive", "spin", "block"}));
    app.add_option("--framing", start.framing, "Framing of messages, as DMTR_FRAMING")->check(CLI::IsMember({"auto", "message", "stream"}));
    app.add_option("--cpu", start.cpu, "Run on this CPU only")->check(CLI::NonNegativeNumber);
    app.add_flag("--json", opts.json, "Print the results on stdout as JSON; tables go to stderr");
    app.add_option("--samples", opts.samples, "Write every sample to this file, as lines \"recorder,nanoseconds\"");
}

void add_client(CLI::App &app, options &opts)
{
    app.add_option("-s,--size", opts.size, "Bytes per message")->check(CLI::PositiveNumber)->capture_default_str();
    app.add_option("-i,--iterations", opts.iterations, "Round trips; 0 goes on until SIGINT")->capture_default_str();
    app.add_option("--warmup", opts.warmup, "Round trips before those that count")->capture_default_str();
}

// The file to read settings from, by the same rules as dmtr_init(): the environment wins, ./config.yaml is the default.
std::string find_config(const std::string &option)
{
    const char *env = std::getenv("DMTR_CONFIG");
    if (env != nullptr && *env != '\0')
        return env;
    if (option.empty() && ::access("config.yaml", R_OK) == 0)
        return "config.yaml";
    return option;
}

// Takes address and port from the file, unless the command line has them.
void read_config(const CLI::App &app, const std::string &path, int features, options &opts)
{
    const YAML::Node root = YAML::LoadFile(path);
    const YAML::Node section = root[features & client ? "client" : "server"];
    if (!section)
        return;
    const YAML::Node node = section[features & client ? "connect_to" : "bind"];
    if (!node)
        return;
    if (node["host"] && app.count("--ip") == 0)
        opts.ip = node["host"].as<std::string>();
    if (node["port"] && app.count("--port") == 0)
        opts.port = node["port"].as<uint16_t>();
}

void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (::sched_setaffinity(0, sizeof(set), &set) != 0)
        check(errno, "--cpu");
}

// A server with thousands of connections needs more descriptors than the usual soft limit.
void raise_descriptor_limit()
{
    rlimit limit;
    if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        ::setrlimit(RLIMIT_NOFILE, &limit); // if it fails, the old limit will do for most uses
    }
}

// From now on waits give EINTR. One of the few calls that a handler may make at any moment.
extern "C" void on_signal(int) { dmtr_stop(); }

// Hands our settings on to the library. Its settings are read from the environment by dmtr_init(), so this comes first.
void start_library(const start_options &start, const char *name)
{
    if (!start.wait.empty())
        ::setenv("DMTR_WAIT", start.wait.c_str(), 1);
    if (!start.framing.empty())
        ::setenv("DMTR_FRAMING", start.framing.c_str(), 1);

    std::vector<std::string> words = {name};
    if (!start.config_path.empty())
        words.insert(words.end(), {"--config-path", start.config_path});
    if (!start.libos.empty())
        words.insert(words.end(), {"--libos", start.libos});
    std::vector<char *> argv;
    for (std::string &word : words)
        argv.push_back(&word[0]);
    argv.push_back(nullptr);
    check(dmtr_init(static_cast<int>(words.size()), argv.data()), "dmtr_init");
}

} // namespace

sockaddr_in options::address() const
{
    sockaddr_in addr;
    std::memset(&addr, 0, sizeof(addr));
    addr.sin_family = AF_INET;
    addr.sin_port = htons(port);
    if (::inet_pton(AF_INET, ip.c_str(), &addr.sin_addr) != 1)
        throw std::runtime_error("not an IPv4 address: " + ip);
    return addr;
}

void check(int error, const char *what)
{
    if (error != 0)
        throw std::system_error(error, std::generic_category(), what);
}

void announce(int qd)
{
    sockaddr_in addr;
    socklen_t size = sizeof(addr);
    check(dmtr_getsockname(qd, reinterpret_cast<sockaddr *>(&addr), &size), "dmtr_getsockname");
    char ip[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &addr.sin_addr, ip, sizeof(ip));
    std::fprintf(stderr, "listening on %s:%u\n", ip, static_cast<unsigned>(ntohs(addr.sin_port)));
}

int run(const program &what, int argc, char *argv[])
{
    CLI::App app(what.summary);
    options opts;
    start_options start;
    add_common(app, opts, start);
    if (what.features & client)
        add_client(app, opts);
    if (what.features & with_idle)
        app.add_option("--idle", opts.idle, "Further connections, opened first, that stay idle")->capture_default_str();
    if (what.features & with_file)
        app.add_option("--file", opts.file, "File that every message is appended to, before it is answered")->required();
    CLI11_PARSE(app, argc, argv);

    try {
        const std::string config = find_config(start.config_path);
        if (!config.empty())
            read_config(app, config, what.features, opts);
        if (start.cpu >= 0)
            pin(start.cpu);
        raise_descriptor_limit();
        start_library(start, argv[0]);
        std::signal(SIGINT, on_signal);
        std::signal(SIGTERM, on_signal);
        what.body(opts);
        return EXIT_SUCCESS;
    } catch (const std::exception &e) {
        std::cerr << argv[0] << ": " << e.what() << std::endl;
        return EXIT_FAILURE;
    }
}

} // namespace echo
