#!/usr/bin/env python3
"""Makes capi/default.pgo, by which Go's compiler knows the ways through the library that are hot: echoes and bulk over memif and over
the kernel. Run it by `make pgo` on a machine with two free CPUs, after larger changes of the data path."""
import gzip
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import figures
import memif
import procs
from run import Plan

LIB = procs.ROOT / "build" / "profile" / "lib"
RESULT = procs.ROOT / "capi" / "default.pgo"


def main():
    if not procs.build():
        return 1
    memif.need_dpdk()
    shim = LIB / "libdmtr-dpdk.so"
    if not shim.exists():
        shim.symlink_to(procs.ROOT / "build" / "lib" / shim.name)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DMTR_PROFILE"] = folder
        os.environ["LD_LIBRARY_PATH"] = str(LIB)
        plan = Plan(iterations=4_000_000, load_seconds=5)
        kernel = Plan(iterations=600_000, load_seconds=5)
        for measure in (lambda: memif.dmtr_rtt("tcp", plan), lambda: memif.dmtr_rtt("udp", plan), lambda: memif.dmtr_bulk(plan),
                        lambda: figures.dmtr_rtt("tcp", kernel), lambda: figures.dmtr_rtt("udp", kernel)):
            print(measure(), flush=True)
        profiles = sorted(str(p) for p in Path(folder).iterdir())
        merged = subprocess.run(["go", "tool", "pprof", "-proto", "-symbolize=none", *profiles], capture_output=True, check=True).stdout
    # The names of this machine's files have no place in the tree; as many bytes take theirs, so that the format stays.
    plain = gzip.decompress(merged)
    for place in (str(procs.ROOT), folder):
        plain = plain.replace(place.encode(), b"-" * len(place.encode()))
    RESULT.write_bytes(gzip.compress(plain, mtime=0))
    print(f"{len(profiles)} profiles -> {RESULT.relative_to(procs.ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
