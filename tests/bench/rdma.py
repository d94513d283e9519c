"""Figures of the libOS rdma between two soft-RoCE devices in a guest (tests/vm), beside perftest in the same boot.

rdma.py NAME PLAN is the part in the guest: it prints the raw values of a figure as JSON.
"""
import json
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

from figures import SIZE, column, interleaved, rtt_lines
from procs import CLIENT_CPU, LIMIT, ROOT, SERVER_CPU, Failed, Server, Skipped, run
from table import compare

ADDRESS = "198.18.1.1"  # of rxe0, where servers are
BULK = (65536, 1 << 20)
BYTES_PER_SECOND = 40 << 20  # about what the device of the guest moves
CONNECTIONS = (1, 16, 64, 256)
GUEST_SHARE = 10  # so many times fewer round trips than elsewhere: the guest's processors are emulated


@contextmanager
def configurations():
    """Those of server and client."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for role, device in (("server", "rxe0"), ("client", "rxe1")):
            (place / role).write_text(f"libos: rdma\nrdma: {{device: {device}}}\n")
        yield place


@contextmanager
def echo_server():
    with configurations() as place, Server("tcp_server", "--ip", ADDRESS, "--port", 0, "--cpu", SERVER_CPU,
                                           wait="spin", config=place / "server") as server:
        yield server, {"wait": "spin", "config": place / "client"}


def dmtr_rtt(plan):
    with echo_server() as (server, settings):
        return run("tcp_client", "--ip", ADDRESS, "--port", server.port, "--cpu", CLIENT_CPU, "--json", "--size", SIZE,
                   "--iterations", plan.iterations // GUEST_SHARE, "--warmup", plan.warmup // GUEST_SHARE, **settings)["recorders"]["rtt"]


def dmtr_bulk(plan, size):
    with configurations() as place, Server("bulk", "server", ADDRESS, SERVER_CPU, wait="spin", config=place / "server") as server:
        return run("bulk", "client", ADDRESS, CLIENT_CPU, server.port, size, plan.load_seconds, wait="spin", config=place / "client")


def dmtr_many(plan, connections):
    with echo_server() as (server, settings):
        return run("many", ADDRESS, CLIENT_CPU, server.port, SIZE, connections, max(2, plan.iterations // GUEST_SHARE // connections),
                   **settings)["recorders"]["rtt"]


def perftest(program, size, count, *args):
    """What the client of a pair of perftest prints, without its heading."""
    words = [program, "-F", "-x", "1", "-s", str(size), "-n", str(count), *args]
    server = subprocess.Popen(["taskset", "-c", str(SERVER_CPU), *words, "-d", "rxe0"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        while server.poll() is None and not subprocess.run(["ss", "-Hltn"], capture_output=True).stdout:
            time.sleep(0.05)
        client = subprocess.run(["taskset", "-c", str(CLIENT_CPU), *words, "-d", "rxe1", ADDRESS], capture_output=True, text=True, timeout=LIMIT)
        server.wait(10)
    except subprocess.TimeoutExpired:
        raise Failed(f"{program} took too long") from None
    finally:
        server.kill()
        server.wait()
    if client.returncode != 0:
        raise Failed(f"{program} failed ({client.returncode}): {(client.stdout + client.stderr).strip()[-500:]}")
    return client.stdout


def last_line(text, heading):
    """The numbers below a heading."""
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.strip().startswith("#bytes") and heading in line)
    return [float(word) for word in lines[at + 1].split()]


def perftest_rtt(plan):
    """ib_send_lat tells half of each round trip, in µs: least, most, typical (the median), mean, deviation, 99 % and 99.9 %."""
    _, count, least, most, typical, mean, _, p99, p999 = last_line(perftest("ib_send_lat", SIZE, plan.iterations // GUEST_SHARE), "t_typical")
    halves = {"min": least, "max": most, "p50": typical, "mean": mean, "p99": p99, "p99.9": p999}
    return {"count": count, **{name: half * 2000 for name, half in halves.items()}}


def perftest_bulk(plan, size):
    """With a timeout of 1 s: by its own of 67 ms it sends again what only waits in its long queue."""
    _, _, _, average, _ = last_line(perftest("ib_send_bw", size, max(10, int(plan.load_seconds * BYTES_PER_SECOND) // size),
                                               "--report_gbits", "-u", "18"), "BW")
    return {"gbit_per_s": average}


def echo_rounds(plan):
    return interleaved(plan, plan.rounds, {"dmtr": lambda: dmtr_rtt(plan), "ib_send_lat": lambda: perftest_rtt(plan)})


def bulk_rounds(plan):
    variants = {}
    for size in BULK:
        variants[f"dmtr, {size}"] = lambda size=size: dmtr_bulk(plan, size)
        variants[f"ib_send_bw, {size}"] = lambda size=size: perftest_bulk(plan, size)
    return interleaved(plan, plan.rounds, variants)


def many_rounds(plan):
    return interleaved(plan, plan.few_rounds, {str(n): lambda n=n: dmtr_many(plan, n) for n in CONNECTIONS})


def guest(name, plan):
    """Raw values of a figure, from a guest."""
    if not (ROOT / "build" / "lib" / "libdmtr-rdma.so").exists():
        raise Skipped("RDMA is missing (Debian: libibverbs-dev, librdmacm-dev)")
    if not shutil.which("ib_send_lat"):
        raise Skipped("perftest is missing (Debian: perftest)")
    argv = [ROOT / "tests" / "vm" / "run", "--rdma", "--timeout", str(60 + 4 * plan.seconds_per_figure), "--",
            "/usr/bin/python3", __file__, name, json.dumps(asdict(plan))]
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode == 77:
        raise Skipped(done.stderr.strip()[-500:])
    if done.returncode != 0:
        raise Failed(f"guest ({done.returncode}): {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)


def rdma_echo(plan):
    """Echo of 64 bytes over soft-RoCE in a guest, both ends spinning, against ib_send_lat."""
    raw = guest("echo", plan)
    lines = rtt_lines("RDMA echo 64 B, against ib_send_lat", raw["dmtr"], raw["ib_send_lat"], 1.25, ("p50", "p99", "p99.9"))
    return lines, raw


def rdma_bulk(plan):
    """One RDMA connection with messages of 64 KiB and 1 MiB over soft-RoCE in a guest, against ib_send_bw."""
    raw = guest("bulk", plan)
    lines = []
    for size in BULK:
        lines.append(compare(f"RDMA messages of {size >> 10} KiB, against ib_send_bw", "Gbit/s", column(raw[f"dmtr, {size}"], "gbit_per_s"),
                             column(raw[f"ib_send_bw, {size}"], "gbit_per_s"), bar=0.85, at_least=True))
    return lines, raw


def rdma_many(plan):
    """Echo of 64 bytes over soft-RoCE in a guest on each of many connections in turn, against one."""
    raw = guest("many", plan)
    lines = []
    for n in CONNECTIONS[1:]:
        lines += rtt_lines(f"RDMA echo on each of {n} connections, against one", raw[str(n)], raw["1"], 1.3, ("p50", "p99", "p99.9"))
    return lines, raw


FIGURES = (rdma_echo, rdma_bulk, rdma_many)
ROUNDS = {"echo": echo_rounds, "bulk": bulk_rounds, "many": many_rounds}


if __name__ == "__main__":
    try:
        json.dump(ROUNDS[sys.argv[1]](SimpleNamespace(**json.loads(sys.argv[2]))), sys.stdout)
    except Failed as e:
        sys.exit(str(e))
