#!/usr/bin/env python3
"""leaks.py SERVER [CLIENTS]: clients.py against a server under valgrind, which may neither touch memory that is not its own nor lose any.
SERVER has to be built with MALLOC=libc."""
import re
import subprocess
import sys
import tempfile

import clients
from resp import ROOT, Server

VALGRIND = ("valgrind", f"--suppressions={ROOT}/tests/net/valgrind.supp", "--leak-check=full", "--vgdb=yes", "--fair-sched=yes",
            "--num-callers=30")


def main():
    n = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    with tempfile.TemporaryDirectory() as folder, Server(folder, "--save", "", "--maxclients", str(n + 100), binary=sys.argv[1],
                                                         under=VALGRIND) as server:
        c = server.start(within=120)
        for check in (clients.gone, clients.killed, clients.output_limit):
            check(server.port, c)
        clients.many(server.port, c, n)
        # The server is asked while it lives: valgrind does not always get the threads of Go to end.
        leaks, errors = ask(server, "leak_check", "full", "definiteleak", "any"), ask(server, "v.info", "n_errs_found")
        print(server.log.read_text(errors="replace") if "n_errs_found 0 " not in errors else "", leaks, errors)
        lost = re.search(r"definitely lost: ([\d,]+) bytes", leaks)
        assert "n_errs_found 0 " in errors, "valgrind has found errors"
        assert "All heap blocks were freed" in leaks or lost and lost[1] == "0", "memory is lost"


def ask(server, *command):
    return subprocess.run(["vgdb", f"--pid={server.process.pid}", *command], capture_output=True, text=True, timeout=120).stdout


if __name__ == "__main__":
    main()
