#!/usr/bin/env python3
"""together.py: redis-cli and redis-benchmark with --dmtr and unmodified ones, and replicas of both kinds, work at the same time with one
server on one port: the patched one, and then vanilla Redis."""
import subprocess
import tempfile
import time

from resp import REDIS, Client, Server

VANILLA, DMTR = REDIS / "vanilla" / "src", REDIS / "dmtr" / "src"


def tool(server, binary, *args):
    """Starts a redis-cli or redis-benchmark against the server."""
    return subprocess.Popen([str(binary), "-p", str(server.port), *args], env=server.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def benchmark(binary, *args):
    return binary / "redis-benchmark", *args, "-q", "-n", "20000", "-r", "5000", "-t", "set,get,lpush,lrange_100,mset"


def done(process):
    out = process.communicate(timeout=120)[0].decode(errors="replace")
    assert process.returncode == 0, out
    return out


def digest(server):
    c = Client(server.port)
    try:
        return c.do("DEBUG", "DIGEST")
    finally:
        c.close()


def replicate(source, replica, diskless):
    c = Client(replica.port)
    assert c.do("CONFIG", "SET", "repl-diskless-load", "on-empty-db" if diskless else "disabled") == b"OK"
    assert c.do("REPLICAOF", "127.0.0.1", source.port) == b"OK"
    c.close()


def in_step(source, replica):
    c, end = Client(source.port), time.monotonic() + 60
    while c.do("WAIT", 1, 1000) < 1 or digest(source) != digest(replica):
        assert time.monotonic() < end, replica.log.read_text(errors="replace")[-2000:]
        time.sleep(0.1)
    c.close()


def run(source, replicas):
    """Load on source while each of the replicas joins."""
    load = [tool(source, *benchmark(VANILLA)), tool(source, *benchmark(DMTR, "--dmtr"))]
    for i, r in enumerate(replicas):
        time.sleep(0.3)
        replicate(source, r, diskless=i % 2 == 0)
    for binary, args in ((VANILLA, ()), (DMTR, ()), (DMTR, ("--dmtr",))):
        assert done(tool(source, binary / "redis-cli", *args, "SET", "a", "b")) == "OK\n"
        assert done(tool(source, binary / "redis-cli", *args, "GET", "a")) == "b\n"
    for p in load:
        assert "requests per second" in done(p)
    for r in replicas:
        in_step(source, r)


def main():
    options = ("--save", "", "--enable-debug-command", "yes", "--repl-diskless-sync-delay", "0")
    for binary in (DMTR, VANILLA):
        servers = []
        with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b, tempfile.TemporaryDirectory() as c:
            try:
                for folder, which in ((a, binary), (b, VANILLA), (c, DMTR)):
                    servers.append(Server(folder, *options, binary=which / "redis-server"))
                    servers[-1].start().close()
                run(servers[0], servers[1:])
            finally:
                for s in servers:
                    s.__exit__()
        print("source", "dmtr" if binary is DMTR else "vanilla", "ok")


if __name__ == "__main__":
    main()
