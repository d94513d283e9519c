#!/usr/bin/env python3
"""Measures libdmtr beside plain C on the same machine and prints one table; raw results and a plot go to build/bench."""
import argparse
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import figures
import goodput
import memif
import procs
import rdma
import redisbench
import table
import tapir

FIGURES = figures.FIGURES + memif.FIGURES + goodput.FIGURES + rdma.FIGURES + redisbench.FIGURES + tapir.FIGURES

OUT = procs.ROOT / "build" / "bench"


@dataclass
class Plan:
    """How much to measure."""
    rounds: int = 9
    few_rounds: int = 5
    iterations: int = 50000
    warmup: int = 2000
    load_seconds: float = 1.0
    idle_seconds: float = 5.0
    lossy_seconds: float = 4.0
    seconds_per_figure: float = 60


QUICK = Plan(rounds=3, few_rounds=2, iterations=15000, load_seconds=0.4, idle_seconds=2, lossy_seconds=1, seconds_per_figure=10)


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: about a minute, and less exact")
    parser.add_argument("--strict", action="store_true", help="exit status 1 if a bar is missed or a figure fails")
    parser.add_argument("--only", metavar="NAME", action="append", choices=[f.__name__ for f in FIGURES],
                        help="measure this figure only; may be given again: %(choices)s")
    return parser.parse_args()


def machine():
    model = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{os.cpu_count()} x {model[0] if model else platform.machine()}, {platform.system()} {platform.release()}"


def plot(results):
    """Draws with the first Python that has matplotlib: this one, or the system's, which has Debian's packages."""
    png = OUT / "bench.png"
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            done = subprocess.run([python, str(Path(__file__).with_name("plot.py")), str(results), str(png)], capture_output=True, text=True)
        except FileNotFoundError:
            continue
        if done.returncode == 0:
            return f"plot: {png.relative_to(procs.ROOT)}"
        if "No module named 'matplotlib'" not in done.stderr:
            return "plot failed: " + done.stderr.strip().splitlines()[-1]
    return "plot skipped: matplotlib is missing (Debian: python3-matplotlib)"


def main():
    args = parse()
    plan = QUICK if args.quick else Plan()
    if not procs.build():
        return 1
    procs.raise_descriptor_limit()
    OUT.mkdir(parents=True, exist_ok=True)
    lines, raw, failures = [], {}, []
    start = time.monotonic()
    for figure in FIGURES:
        if args.only and figure.__name__ not in args.only:
            continue
        print(f"... {figure.__doc__}", file=sys.stderr)
        try:
            new, raw[figure.__name__] = figure(plan)
            lines += new
        except procs.Skipped as e:
            print(f"    skipped: {e}", file=sys.stderr)
        except procs.Failed as e:
            failures.append(f"{figure.__name__}: {e}")

    print(f"{machine()}; server on CPU {procs.SERVER_CPU}, client on CPU {procs.CLIENT_CPU}; load average {os.getloadavg()[0]:.1f}")
    print("Values are medians of rounds, ratios medians of the rounds' ratios.")
    table.show(lines)
    for failure in failures:
        print(f"FAILED  {failure}")
    results = OUT / "results.json"
    results.write_text(json.dumps({
        "machine": machine(), "plan": asdict(plan), "failures": failures, "raw": raw,
        "lines": [{**asdict(line), "verdict": line.verdict} for line in lines],
    }, indent=1))
    if lines:
        table.write_csv(OUT / "results.csv", lines)
        print(f"raw results: {results.relative_to(procs.ROOT)}, results.csv; {plot(results)}")
    missed = [line for line in lines if line.verdict == "MISSED"]
    print(f"{len(lines)} figures, {len(missed)} bars missed, {len(failures)} failed, {time.monotonic() - start:.0f} s")
    return 1 if args.strict and (missed or failures) else 0


if __name__ == "__main__":
    sys.exit(main())
