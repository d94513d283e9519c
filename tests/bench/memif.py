"""Figures of the libOS dpdk between two processes that DPDK's memif joins, beside the raw link and the kernel."""
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from figures import SIZE, c_rtt, column, interleaved, rtt_lines
from procs import BIN, CLIENT_CPU, ROOT, SERVER_CPU, Server, Skipped, run
from table import compare

ADDRESS = "10.0.0.1"
CONFIG = """libos: dpdk
network:
  address: {address}/24
dpdk:
  eal_init: [--no-huge, --no-pci, "--vdev=net_memif0,role={role},socket={socket},socket-abstract=no"]
"""


# Round trips before those that count: about a third of a second for each. A host under a virtual machine may need that long to
# give both CPUs a core of their own.
WARMUP = {"memif": 200_000, "raw link": 600_000, "kernel": 40_000}


def warm(plan, name):
    return replace(plan, warmup=WARMUP[name])


def need_dpdk():
    if not (BIN / "memif_raw").exists() or not (ROOT / "build" / "lib" / "libdmtr-dpdk.so").exists():
        raise Skipped("DPDK is missing (Debian: libdpdk-dev)")
    if SERVER_CPU == CLIENT_CPU:
        raise Skipped("both ends spin, which needs two CPUs")


@contextmanager
def link():
    """The place of a memif socket, and configurations of server and client."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for role, address in (("server", ADDRESS), ("client", "10.0.0.2")):
            (place / role).write_text(CONFIG.format(address=address, role=role, socket=place / "memif"))
        yield place


def dmtr_rtt(proto, plan, wait="spin"):
    with link() as place, Server(f"{proto}_server", "--ip", ADDRESS, "--port", 0, "--cpu", SERVER_CPU,
                                 wait=wait, config=place / "server") as server:
        result = run(f"{proto}_client", "--ip", ADDRESS, "--port", server.port, "--cpu", CLIENT_CPU, "--json", "--size", SIZE,
                     "--iterations", plan.iterations, "--warmup", plan.warmup, wait=wait, config=place / "client")
        return result["recorders"]["rtt"]


def raw_rtt(plan, least=0):
    with link() as place, Server("memif_raw", "server", place / "memif", SERVER_CPU):
        return run("memif_raw", "client", place / "memif", CLIENT_CPU, SIZE, plan.iterations, plan.warmup, least)["recorders"]["rtt"]


def memif_echo(plan):
    """Echo of 64 bytes over memif, both ends spinning, against the raw link and against the kernel.

    What interrupts the cores of this machine, so many times a second, hits the more round trips the longer they are. So there is also
    the raw link at the pace of TCP: its tail is what the machine adds.
    """
    need_dpdk()
    pace = []

    def tcp():
        result = dmtr_rtt("tcp", warm(plan, "memif"))
        pace[:] = [int(result["p50"])]
        return result

    raw = interleaved(plan, plan.few_rounds, {
        "tcp": tcp,
        "raw link at its pace": lambda: raw_rtt(warm(plan, "memif"), *pace),
        "udp": lambda: dmtr_rtt("udp", warm(plan, "memif")),
        "raw link": lambda: raw_rtt(warm(plan, "raw link")),
        "kernel": lambda: c_rtt("tcp", warm(plan, "kernel")),
    })
    lines = rtt_lines("TCP echo 64 B over memif, against the raw link", raw["tcp"], raw["raw link"], 5)
    lines += rtt_lines("  against the kernel, C loop", raw["tcp"], raw["kernel"], 1 / 6)
    lines += rtt_lines("UDP echo 64 B over memif, against the raw link", raw["udp"], raw["raw link"], 4)
    for name, bar in (("tcp", 3), ("udp", None), ("raw link", None), ("raw link at its pace", None)):
        lines.append(compare(f"memif, {name}: p99.9 against its own p50", "ns", column(raw[name], "p99.9"), column(raw[name], "p50"), bar=bar))
    return lines, raw


def dmtr_bulk(plan, config=True):
    with link() as place:
        address = ADDRESS if config else "127.0.0.1"
        def settings(role):
            return {"wait": "spin", "config": place / role if config else None}
        with Server("bulk", "server", address, SERVER_CPU, **settings("server")) as server:
            return run("bulk", "client", address, CLIENT_CPU, server.port, 65536, plan.load_seconds, **settings("client"))


def raw_bulk(plan):
    with link() as place, Server("memif_raw", "sink", place / "memif", SERVER_CPU):
        return run("memif_raw", "source", place / "memif", CLIENT_CPU, 1514, plan.load_seconds)


def memif_bulk(plan):
    """One TCP connection with messages of 64 KiB over memif at MTU 1500, against the raw link and against the kernel's loopback."""
    need_dpdk()
    raw = interleaved(plan, plan.few_rounds, {
        "tcp": lambda: dmtr_bulk(plan),
        "raw link": lambda: raw_bulk(plan),
        "kernel": lambda: dmtr_bulk(plan, config=False),
    })
    rates = {name: column(results, "gbit_per_s") for name, results in raw.items()}
    lines = [compare("64 KiB messages over memif, against the raw link", "Gbit/s", rates["tcp"], rates["raw link"],
                     bar=10, at_least=True, judged="ours"),
             compare("  against posix over loopback", "Gbit/s", rates["tcp"], rates["kernel"])]
    return lines, raw


def many_rtt(plan, connections):
    with link() as place, Server("tcp_server", "--ip", ADDRESS, "--port", 0, "--cpu", SERVER_CPU, wait="spin", config=place / "server") as server:
        result = run("many", ADDRESS, CLIENT_CPU, server.port, SIZE, connections, max(2, plan.iterations // connections),
                     wait="spin", config=place / "client")
        return result["recorders"]["rtt"]


def memif_many(plan):
    """Echo of 64 bytes over memif on each of 10,000 connections in turn, against one."""
    need_dpdk()
    raw = interleaved(plan, 2, {"10000": lambda: many_rtt(plan, 10000), "one": lambda: many_rtt(plan, 1)})
    return rtt_lines("TCP echo on each of 10,000 connections, against one", raw["10000"], raw["one"]), raw


FIGURES = (memif_echo, memif_bulk, memif_many)
