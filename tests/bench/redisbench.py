"""Figures of Redis: patched, on libdmtr, beside Debian's redis-server. Both are measured with redis-benchmark: Debian's, or where the
client is on libdmtr, too, the patched one with --dmtr."""
import csv
import io
import itertools
import random
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

from figures import interleaved
from memif import ADDRESS, link, need_dpdk
from procs import CLIENT_CPU, LIMIT, ROOT, SERVER_CPU, Failed, Skipped, environment
from table import compare

sys.path.append(str(ROOT / "redis-patches" / "checks"))
from resp import REDIS, Server  # noqa: E402

# How many servers of each kind stay up: how fast one is depends on where its memory lies, for as long as it lives.
ALIKE = 3

DMTR, DEBIAN = REDIS / "dmtr" / "src", REDIS / "debian" / "usr" / "bin"


def need_redis():
    if not (DMTR / "redis-server").exists() or not (DEBIAN / "redis-server").exists():
        raise Skipped("Redis has not been built: make redis")
    if SERVER_CPU == CLIENT_CPU:
        raise Skipped("server and client need a CPU each")


def settings(binaries, **dmtr):
    """The environment of Debian's programs, or of the patched ones."""
    env = environment(**dmtr)
    paths = [ROOT / "build" / "lib"] if binaries == DMTR else sorted((REDIS / "debian" / "usr" / "lib").glob("*-linux-gnu"))
    env["LD_LIBRARY_PATH"] = ":".join(map(str, paths))
    return env


@contextmanager
def redis_server(binaries, **dmtr):
    """A redis-server pinned to its CPU."""
    with tempfile.TemporaryDirectory() as folder, Server(folder, "--save", "", "--bind", "*", "--protected-mode", "no",
                                                         binary=binaries / "redis-server", env=settings(binaries, **dmtr),
                                                         under=("taskset", "-c", str(SERVER_CPU))) as server:
        try:
            server.run()
        except AssertionError as e:
            raise Failed(f"redis-server did not start: {e}") from None
        yield server


def resident_kib(server):
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def benchmark(binaries, port, *args, host="127.0.0.1", **dmtr):
    """{test: its line of redis-benchmark's CSV}"""
    argv = ["taskset", "-c", str(CLIENT_CPU), str(binaries / "redis-benchmark"), "-h", host, "-p", str(port), "--csv", "-t", "set,get",
            *(["--dmtr"] if binaries == DMTR else []), *map(str, args)]
    try:
        done = subprocess.run(argv, env=settings(binaries, **dmtr), capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        raise Failed(f"redis-benchmark took more than {LIMIT} s") from None
    found = {row["test"]: row for row in csv.DictReader(io.StringIO(done.stdout)) if row.get("rps")}
    if done.returncode != 0 or not {"SET", "GET"} <= found.keys():
        raise Failed(f"redis-benchmark failed ({done.returncode}): {(done.stdout + done.stderr).strip()[-500:]}")
    return found


def measured(binaries, *args, client=DEBIAN, wait=None):
    with redis_server(binaries, **({"wait": wait} if binaries == DMTR else {})) as server:
        return benchmark(client, server.port, *args, **({"wait": wait} if client == DMTR else {}))


def measured_memif(*args):
    with link() as place, redis_server(DMTR, wait="spin", config=place / "server") as server:
        return benchmark(DMTR, server.port, *args, host=ADDRESS, wait="spin", config=place / "client")


def rates(results, test):
    return [float(r[test]["rps"]) for r in results]


def lines_of(title, ours, baseline, bar):
    return [compare(f"{title}, {test}", "requests/s", rates(ours, test), rates(baseline, test), bar=bar, at_least=True) for test in ("SET", "GET")]


def in_random_order(seconds, servers, *args):
    """Short rounds on servers that stay up, until the time is over. Each round is one run for each name, in random order, on the next of
    its servers: {name: [result of round 1, ...]}."""
    results = {name: [] for name in servers}
    end = time.monotonic() + seconds
    for i in itertools.count():
        if i >= ALIKE and time.monotonic() > end:
            return results
        for name in random.sample(list(servers), len(servers)):
            of_name = servers[name]
            results[name].append(benchmark(DEBIAN, of_name[i % len(of_name)].port, *args))


def redis_posix(plan):
    """Redis on posix, unmodified clients: 50 of them, and 50 that pipeline 16 requests."""
    need_redis()
    lines, all_raw = [], {}
    with ExitStack() as stack:
        servers = {name: [stack.enter_context(redis_server(binaries)) for _ in range(ALIKE)]
                   for name, binaries in (("dmtr", DMTR), ("vanilla", DEBIAN))}
        for title, more in (("50 clients", ("-n", plan.iterations // 5)), ("50 clients, -P 16", ("-n", 2 * plan.iterations, "-P", 16))):
            raw = in_random_order(plan.seconds_per_figure / 2, servers, *more)
            lines += lines_of(f"Redis on posix, {title}", raw["dmtr"], raw["vanilla"], 1)
            all_raw[title] = raw
    return lines, all_raw


def redis_one(plan):
    """Redis with one client: on posix with both ends spinning, and over memif, against vanilla over loopback."""
    need_redis()
    need_dpdk()
    raw = interleaved(plan, plan.few_rounds, {
        "posix": lambda: measured(DMTR, "-c", 1, "-n", 2 * plan.iterations, client=DMTR, wait="spin"),
        "memif": lambda: measured_memif("-c", 1, "-n", 6 * plan.iterations),
        "vanilla": lambda: measured(DEBIAN, "-c", 1, "-n", plan.iterations),
    })
    lines = lines_of("Redis on posix, 1 client, spin", raw["posix"], raw["vanilla"], 3)
    for test in ("SET", "GET"):
        p50 = {name: [1000 * float(r[test]["p50_latency_ms"]) for r in results] for name, results in raw.items()}
        lines.append(compare(f"Redis over memif, 1 client, {test}: p50", "us", p50["memif"], p50["vanilla"], bar=1 / 6))
    return lines, raw


def redis_memif(plan):
    """Redis with 50 connections over memif, against vanilla over loopback."""
    need_redis()
    need_dpdk()
    raw = interleaved(plan, plan.few_rounds, {
        "memif": lambda: measured_memif("-n", 10 * plan.iterations),
        "vanilla": lambda: measured(DEBIAN, "-n", 4 * plan.iterations),
    })
    return lines_of("Redis over memif, 50 connections", raw["memif"], raw["vanilla"], 2.5), raw


def redis_memory(plan):
    """Resident memory of Redis after 10 million requests for 100,000 keys."""
    need_redis()

    def after(binaries):
        with redis_server(binaries) as server:
            benchmark(DEBIAN, server.port, "-n", 100 * plan.iterations, "-P", 64, "-r", 100_000)
            return resident_kib(server)
    raw = interleaved(plan, 2, {"dmtr": lambda: after(DMTR), "vanilla": lambda: after(DEBIAN)})
    return [compare(f"Redis on posix, resident after {200 * plan.iterations / 1e6:.0f} million requests", "KiB", raw["dmtr"], raw["vanilla"],
                    bar=1.05)], raw


FIGURES = (redis_posix, redis_one, redis_memif, redis_memory)
