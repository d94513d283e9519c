#!/usr/bin/env python3
"""kill.py [ROUNDS]: the server is killed (SIGKILL) at random moments under load with `appendfsync always`, without and with `dmtr-aof`.
After each restart every write that was acknowledged has to be there, and each key may be at most one write ahead of that."""
import random
import sys
import tempfile
import threading
import time

from resp import Client, Server

WRITERS = 8
OPTIONS = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")


def write(port, key, first, acknowledged, stop):
    """Counts a key up until the server is gone. Values are long now and then, so that pushes do not always fit."""
    try:
        c = Client(port)
        n = first
        while not stop.is_set():
            n += 1
            if c.do("SET", key, b"%d:" % n + b"x" * random.choice((0, 10, 100_000))) != b"OK":
                return
            acknowledged[key] = n
    except (ConnectionError, OSError):
        pass


def value(c, key):
    v = c.do("GET", key)
    return 0 if v is None else int(v.split(b":")[0])


def run(rounds, *options):
    with tempfile.TemporaryDirectory() as folder, Server(folder, *OPTIONS, *options) as server:
        acknowledged = {f"key{i}": 0 for i in range(WRITERS)}
        for r in range(rounds):
            c = server.start()
            for key, n in acknowledged.items():
                have = value(c, key)
                assert n <= have <= n + 1, f"round {r}: {key} is {have}, {n} was acknowledged"
                acknowledged[key] = have
            before = sum(acknowledged.values())
            stop = threading.Event()
            threads = [threading.Thread(target=write, args=(server.port, k, n, acknowledged, stop)) for k, n in acknowledged.items()]
            for t in threads:
                t.start()
            time.sleep(random.uniform(0.05, 0.4))
            if r % 10 == 5:
                c.do("BGREWRITEAOF")
            server.kill()
            stop.set()
            for t in threads:
                t.join()
            assert sum(acknowledged.values()) > before, "nothing was written"
        return sum(acknowledged.values())


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    for aof in ("no", "yes"):
        n = run(rounds, "--dmtr-aof", aof)
        print(f"dmtr-aof {aof}: {rounds} kills, {n} acknowledged writes, all there")


if __name__ == "__main__":
    main()
