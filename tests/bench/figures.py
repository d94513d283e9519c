"""What is measured: one function per figure. Each returns lines for the table and raw values, round by round."""
import re
import socket
import statistics
import subprocess
import time
from contextlib import ExitStack

from procs import CLIENT_CPU, ROOT, SERVER_CPU, Failed, Server, run
from table import Line, compare

SIZE = 64
PERCENTILES = ("p50", "p99", "p99.9", "p99.99")


def interleaved(plan, rounds, variants):
    """Runs the variants in turn, so many rounds: {name: [result of round 1, ...]}. Every other round goes backwards.

    On a machine that is so busy that this takes too long, there are fewer rounds."""
    results = {name: [] for name in variants}
    end = time.monotonic() + plan.seconds_per_figure
    for i in range(rounds):
        if i >= 2 and time.monotonic() > end:
            break
        for name in (list(variants) if i % 2 == 0 else reversed(list(variants))):
            results[name].append(variants[name]())
    return results


def column(results, key):
    return [result[key] for result in results]


def dmtr_rtt(proto, plan, wait="spin", framing=None, idle=0):
    with Server(f"{proto}_server", "--port", 0, "--cpu", SERVER_CPU, wait=wait, framing=framing) as server:
        extra = ["--idle", idle] if idle else []
        result = run(f"{proto}_client", "--port", server.port, "--cpu", CLIENT_CPU, "--json", "--size", SIZE,
                     "--iterations", plan.iterations, "--warmup", plan.warmup, *extra, wait=wait, framing=framing)
        return result["recorders"]["rtt"]


def c_rtt(proto, plan, wait="spin"):
    with Server("echo_loop", "server", proto, wait, SERVER_CPU) as server:
        result = run("echo_loop", "client", proto, wait, CLIENT_CPU, server.port, SIZE, plan.iterations, plan.warmup)
        return result["recorders"]["rtt"]


def rtt_lines(title, ours, baseline, bar=None, percentiles=PERCENTILES):
    """A line per percentile; the bar is for the median."""
    return [compare(f"{title} {p}", "ns", column(ours, p), column(baseline, p), bar=bar if p == "p50" else None)
            for p in percentiles]


def echo_rtt(plan):
    """Echo of 64 bytes, both ends spinning, against a C loop of non-blocking send and recv."""
    raw = interleaved(plan, plan.rounds, {
        "tcp message": lambda: dmtr_rtt("tcp", plan),
        "tcp C loop": lambda: c_rtt("tcp", plan),
        "tcp stream": lambda: dmtr_rtt("tcp", plan, framing="stream"),
        "udp message": lambda: dmtr_rtt("udp", plan),
        "udp C loop": lambda: c_rtt("udp", plan),
        "udp bare": lambda: dmtr_rtt("udp", plan, framing="stream"),
    })
    lines = rtt_lines("TCP echo 64 B, spin", raw["tcp message"], raw["tcp C loop"], 1.10)
    lines += rtt_lines("  with stream framing", raw["tcp stream"], raw["tcp C loop"])
    lines += rtt_lines("UDP echo 64 B, spin", raw["udp message"], raw["udp C loop"], 1.10)
    lines += rtt_lines("  with bare payloads", raw["udp bare"], raw["udp C loop"])
    return lines, raw


def idle_connections(plan):
    """The TCP echo with further connections whose tokens are in the server's wait_any array, against none."""
    def with_idle(count):
        return lambda: dmtr_rtt("tcp", plan, idle=count)
    raw = interleaved(plan, plan.few_rounds, {f"{n} idle": with_idle(n) for n in (0, 1000, 10000)})
    lines = []
    for name in ("1000 idle", "10000 idle"):
        lines += rtt_lines(f"TCP echo, {name}, against none", raw[name], raw["0 idle"], 1.3)
    return lines, raw


def single_calls(plan):
    """Memory queue, poll of a completed token, latency recorder, lock."""
    raw = interleaved(plan, plan.few_rounds, {"micro": lambda: run("micro", SERVER_CPU)})
    titles = {"memory_queue": ("memory queue push + wait + pop + wait (mutex and ring in C)", 400),
              "poll_completed": ("dmtr_poll of a completed token (copy of a result in C)", 15),
              "record_latency": ("dmtr_record_latency (a store in C)", 20),
              "lock": ("the lock around a call, uncontended (pthread mutex)", 10)}
    lines = []
    for key, (title, bar) in titles.items():
        values = column(raw["micro"], key)
        lines.append(compare(title, "ns", column(values, "ours"), column(values, "baseline"), bar=bar, judged="ours"))
    return lines, raw


def allocations(_plan):
    """Allocations of the Go side per push with its wait and pop with its wait, as the Go tests count them."""
    lines, raw = [], {}
    for what, test, libos in (("memory queue, TCP, UDP", "TestConformance/NoAllocations", "posix"), ("file", "TestFileAllocs", "posix"),
                              ("RDMA on a device in memory", "TestConformance/NoAllocations", "rdma")):
        done = subprocess.run(["go", "test", "-count=1", "-v", "-run", f"^{test}$", f"./libos/{libos}"],
                              cwd=ROOT, capture_output=True, text=True, timeout=120)
        name = test.split("/")[-1]
        counts = [float(n) for n in re.findall(r"Should be zero, but was ([\d.]+)", done.stdout)]
        if not counts and (done.returncode != 0 or not re.search(f"--- PASS: .*{name}", done.stdout)):
            raise Failed(f"go test {test}: " + (done.stdout + done.stderr).strip()[-500:])
        raw[what] = max(counts, default=0.0)
        lines.append(Line(f"allocations per push + wait and pop + wait, {what}", raw[what], "", bar=0, judged="ours"))
    return lines, raw


def idle_server(plan):
    """CPU of an adaptive server that has 100 connections and nothing to do."""
    with Server("tcp_server", "--port", 0, wait="adaptive") as server, ExitStack() as stack:
        for _ in range(100):
            conn = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            conn.sendall(b"hello")
            if conn.recv(16) != b"hello":
                raise Failed("tcp_server: no echo")
        time.sleep(0.3)
        before = server.cpu_seconds()
        time.sleep(plan.idle_seconds)
        percent = 100 * (server.cpu_seconds() - before) / plan.idle_seconds
    line = Line("idle adaptive server, 100 connections", percent, "% of a core", bar=1, judged="ours")
    return [line], {"percent": percent}


def throughput(plan, servers, connections, cpu):
    """Messages per second that all servers together return to one load program."""
    with ExitStack() as stack:
        ports = [stack.enter_context(server).port for server in servers]
        return run("load", cpu, plan.load_seconds, SIZE, connections, *ports)["messages_per_s"]


def many_pollers(plan):
    """Three adaptive servers on the CPUs that also run the load, against one; the load is the same."""
    def servers(count):
        return lambda: throughput(plan, [Server("tcp_server", "--port", 0, wait="adaptive") for _ in range(count)], 3, -1)
    def plain():
        return throughput(plan, [Server("epoll_server", -1) for _ in range(3)], 3, -1)
    raw = interleaved(plan, plan.few_rounds, {"three": servers(3), "one": servers(1), "three in C": plain})
    lines = [compare("3 adaptive servers, 3 connections, against 1", "messages/s", raw["three"], raw["one"], bar=0.5, at_least=True),
             compare("  against 3 epoll servers in C", "messages/s", raw["three"], raw["three in C"])]
    return lines, raw


def blocking_rtt(plan):
    """Echo with both ends sleeping in the kernel, against epoll_wait and recv in C."""
    raw = interleaved(plan, plan.few_rounds, {
        "dmtr": lambda: dmtr_rtt("tcp", plan, wait="block"),
        "C loop": lambda: c_rtt("tcp", plan, wait="block"),
    })
    return rtt_lines("TCP echo 64 B, block", raw["dmtr"], raw["C loop"]), raw


def busy_server(plan):
    """Throughput with 50 connections, server and load on a CPU each, against an epoll server in C."""
    def ours(wait):
        return lambda: throughput(plan, [Server("tcp_server", "--port", 0, "--cpu", SERVER_CPU, wait=wait)], 50, CLIENT_CPU)
    raw = interleaved(plan, plan.few_rounds, {
        "adaptive": ours("adaptive"),
        "spin": ours("spin"),
        "epoll": lambda: throughput(plan, [Server("epoll_server", SERVER_CPU)], 50, CLIENT_CPU),
    })
    lines = [compare(f"50 connections, {wait} server (epoll server in C)", "messages/s", raw[wait], raw["epoll"])
             for wait in ("adaptive", "spin")]
    return lines, raw


FIGURES = (echo_rtt, idle_connections, single_calls, allocations, idle_server, many_pollers, blocking_rtt, busy_server)
