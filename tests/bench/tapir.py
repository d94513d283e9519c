"""Figures of TAPIR's transport on libdmtr: a replicated key-value store, see tests/apps/tapir, beside the same over epoll in C++."""
import socket
from contextlib import ExitStack

from figures import column, interleaved
from procs import BIN, CLIENT_CPU, SERVER_CPU, Server, Skipped, run
from table import compare

TWO_CPUS = ("taskset", "-c", f"{SERVER_CPU},{CLIENT_CPU}")


def need_two():
    if not (BIN / "tapir_kv").exists():
        raise Skipped("protobuf is missing (Debian: libprotobuf-dev, protobuf-compiler)")
    if SERVER_CPU == CLIENT_CPU:
        raise Skipped("two CPUs are needed")


def free_ports(count):
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]


def measured(transport, replicas, clients, seconds, wait=None, pinned=False):
    """What clients in one process see of so many replicas, all on two CPUs, or pinned with one CPU for either side."""
    ports = free_ports(replicas)
    before = () if pinned else TWO_CPUS
    cpus = (SERVER_CPU, CLIENT_CPU) if pinned else (-1, -1)
    with ExitStack() as stack:
        for i in range(replicas):
            stack.enter_context(Server("tapir_kv", "replica", transport, cpus[0], i, *ports, before=before, wait=wait))
        return run("tapir_kv", "client", transport, cpus[1], clients, seconds, *ports, before=before, wait=wait)


def tapir_crowd(plan):
    """Three replicas and their clients on two CPUs: adaptive waits against epoll, and against spinning."""
    need_two()
    seconds, lines, all_raw = 2 * plan.load_seconds, [], {}
    for clients in (1, 8, 32):
        raw = all_raw[clients] = interleaved(plan, plan.few_rounds, {
            "dmtr": lambda: measured("dmtr", 3, clients, seconds, "adaptive"),
            "epoll": lambda: measured("epoll", 3, clients, seconds),
            "spin": lambda: measured("dmtr", 3, clients, seconds, "spin"),
        })
        rates = {name: column(results, "requests_per_s") for name, results in raw.items()}
        title = f"3 replicas and {clients} client{'s' if clients > 1 else ''} on 2 CPUs"
        lines += [compare(f"{title}, against epoll", "requests/s", rates["dmtr"], rates["epoll"], bar=0.9, at_least=True),
                  compare("  against spinning", "requests/s", rates["dmtr"], rates["spin"], bar=20, at_least=True)]
    return lines, all_raw


def tapir_alone(plan):
    """One replica and one client with a CPU each, spinning, against epoll."""
    need_two()
    seconds = 2 * plan.load_seconds
    raw = interleaved(plan, plan.few_rounds, {
        "dmtr": lambda: measured("dmtr", 1, 1, seconds, "spin", pinned=True),
        "epoll": lambda: measured("epoll", 1, 1, seconds, pinned=True),
    })
    return [compare(f"1 replica, 1 client, spin, {p}", "ns", column(raw["dmtr"], p), column(raw["epoll"], p), bar=0.35 if p == "p50" else None)
            for p in ("p50", "p99")], raw


FIGURES = (tapir_crowd, tapir_alone)
