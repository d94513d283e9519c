"""Goodput over a link that loses frames: between the stack of libOS raw and Linux's TCP, beside Linux to Linux."""
import dataclasses
import json
import shutil
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

from figures import column, interleaved
from procs import BIN, CLIENT_CPU, ROOT, SERVER_CPU, Failed, Server, Skipped, run
from table import compare

DELAY = "2ms"  # each way
LOSSES = (0.01, 0.05)  # each way
SIZE = 65536
ADDRESSES = {"client": "10.7.0.1", "server": "10.7.0.2"}
CONFIG = """libos: raw
network:
  address: {address}/24
raw:
  device: packet
  interface: link
"""


def need_link():
    """Builds the link; skips where it cannot be made."""
    missing = [tool for tool in ("unshare", "nsenter", "ip") if not shutil.which(tool)]
    if missing:
        raise Skipped(f"{', '.join(missing)} missing (Debian: util-linux, iproute2)")
    if not Path("/dev/net/tun").exists():
        raise Skipped("no /dev/net/tun")
    if subprocess.run(["unshare", "-n", "true"], capture_output=True, timeout=10).returncode != 0:
        raise Skipped("network namespaces need CAP_SYS_ADMIN")
    if "cubic" not in congestion_controls():
        raise Skipped("this kernel has no CUBIC")
    built = subprocess.run(["go", "build", "-o", BIN / "impair", "./libos/internal/inet/link/impair"],
                           cwd=ROOT, capture_output=True, text=True, timeout=120)
    if built.returncode != 0:
        raise Failed("impair: " + built.stderr.strip()[-500:])


def congestion_controls():
    return Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split()


def namespace(stack):
    """The path of a new network namespace, which is there until the stack is left."""
    holder = stack.enter_context(subprocess.Popen(["unshare", "-n", "cat"], stdin=subprocess.PIPE))
    path, own = Path(f"/proc/{holder.pid}/ns/net"), Path("/proc/self/ns/net").readlink()
    for _ in range(500):
        if holder.poll() is not None:
            break
        if path.readlink() != own:
            return path
        time.sleep(0.01)
    raise Failed("unshare makes no network namespace")


def ip(path, *args):
    done = subprocess.run(["nsenter", f"--net={path}", "ip", *args], capture_output=True, text=True, timeout=10)
    if done.returncode != 0:
        raise Failed(f"ip {' '.join(args)}: {done.stderr.strip()[-500:]}")


def program(kind, path, end, place):
    """How a program is started at one end: its command line begins with "before", the rest are settings.

    kind is "raw", or the congestion control of the kernel's TCP, which a program on libOS posix uses. What the machine uses by
    default may be another, and a namespace cannot change that; a route can."""
    how = {"before": ["nsenter", f"--net={path}"], "wait": "adaptive", "config": place / end}
    if kind == "raw":
        how["config"].write_text(CONFIG.format(address=ADDRESSES[end]))
        return how
    how["config"].write_text("libos: posix\n")
    ip(path, "addr", "add", f"{ADDRESSES[end]}/24", "dev", "link")
    ip(path, "route", "change", "10.7.0.0/24", "dev", "link", "src", ADDRESSES[end], "congctl", kind)
    return how


@contextmanager
def lossy(client, server, loss, seed):
    """How to start programs at the two ends of a link, and, once it is gone, what it lost."""
    lost = {}
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        paths = {end: namespace(stack) for end in ADDRESSES}
        link = stack.enter_context(Server("impair", "-a", paths["client"], "-b", paths["server"],
                                          "-loss", loss, "-delay", DELAY, "-seed", seed))
        yield program(client, paths["client"], "client", place), program(server, paths["server"], "server", place), lost
    lost.update(json.loads(link.said.splitlines()[-1]))


def rate(client, server, loss, seed, seconds):
    """Mbit/s of one connection through which the client sends."""
    with lossy(client, server, loss, seed) as (near, far, lost):
        with Server("bulk", "server", ADDRESSES["server"], SERVER_CPU, **far) as sink:
            result = run("bulk", "client", ADDRESSES["server"], CLIENT_CPU, sink.port, SIZE, seconds, **near)
    return {"mbit_per_s": result["gbit_per_s"] * 1000, "link": lost}


def goodput(plan):
    """One TCP connection over a link with 1 % and 5 % loss and 2 ms each way: libOS raw to and from Linux, beside Linux to Linux."""
    need_link()
    lines, raw = [], {}
    for loss in LOSSES:
        seeds = {}

        def between(client, server, seconds=plan.lossy_seconds):
            def once():
                seed = seeds[client, server] = seeds.get((client, server), 0) + 1
                return rate(client, server, loss, seed, seconds)
            return once
        variants = {"to Linux": between("raw", "cubic"), "Linux": between("cubic", "cubic"), "from Linux": between("cubic", "raw")}
        if "bbr" in congestion_controls():
            variants["Linux, BBR"] = between("bbr", "bbr", 1)
        results = interleaved(dataclasses.replace(plan, seconds_per_figure=2 * plan.seconds_per_figure), plan.few_rounds, variants)
        rates = {name: column(values, "mbit_per_s") for name, values in results.items()}
        title = f"{loss:.0%} loss, {DELAY} each way: "
        lines += [compare(title + "raw to Linux, against Linux to Linux", "Mbit/s", rates["to Linux"], rates["Linux"], bar=0.8, at_least=True),
                  compare("  Linux to raw", "Mbit/s", rates["from Linux"], rates["Linux"], bar=0.8, at_least=True)]
        if "Linux, BBR" in rates:
            lines.append(compare("  raw to Linux, against Linux with BBR", "Mbit/s", rates["to Linux"], rates["Linux, BBR"]))
        raw[f"{loss:.0%}"] = results
    return lines, raw


FIGURES = (goodput,)
