#!/usr/bin/env python3
"""aof.py: append-only files with `dmtr-aof yes`. Servers with and without it, and vanilla Redis, go on with each other's files; it is
switched on and off while the server runs; disks are full. Both with io_uring and without. Then the units of Redis' suite that are about
such files, with the option in all servers; but integration/aof-race, which fails with vanilla Redis and is not on the suite's own list."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from resp import REDIS, Error, Server, free_port, wait_for

UNITS = ("integration/aof", "integration/aof-multi-part", "unit/aofrw")
AOF = ("--save", "", "--appendonly", "yes", "--aof-load-truncated", "no", "--auto-aof-rewrite-percentage", "0", "--enable-debug-command", "yes")
VANILLA = REDIS / "vanilla" / "src" / "redis-server"
DISK = 4 << 20


def queues(server):
    """How many queues there are for append-only files. Beside each is the kernel's descriptor."""
    folder = Path(f"/proc/{server.process.pid}/fd")
    files = [f for f in map(os.readlink, folder.iterdir()) if ".incr.aof" in f]
    assert len(files) in (1, 2) and len(set(files)) == 1, files
    return len(files) - 1


def settled(server, c):
    """Waits for the end of a rewrite, and returns queues()."""
    wait_for(lambda: re.search("aof_rewrite_in_progress:0.*aof_rewrite_scheduled:0.*aof_last_bgrewrite_status:ok", c.do("INFO", "persistence").decode(), re.S))
    wait_for(lambda: len([f for f in Path(f"/proc/{server.process.pid}/fd").iterdir() if ".aof" in os.readlink(f)]) <= 2) # closed in the background
    return queues(server)


def crossing(env):
    """Each server finds what those before it have written, and writes to the same file. One value is more than one push may be."""
    sizes = (0, 10, 100_000, 70 << 20)
    with tempfile.TemporaryDirectory() as folder:
        n = 0
        for option in (("--dmtr-aof", "yes"), ("--dmtr-aof", "no"), (), ("--dmtr-aof", "yes"), ("--dmtr-aof", "yes")):
            with Server(folder, *AOF, "--appendfsync", "always", *option, env=env, binary=None if option else VANILLA) as server:
                c = server.start()
                assert queues(server) == (option[1:] == ("yes",))
                for i in range(n):
                    assert c.do("GET", f"key{i}") == b"%d:" % i + b"x" * sizes[i % len(sizes)], i
                for i in range(n, n + 2):
                    assert c.do("SET", f"key{i}", b"%d:" % i + b"x" * sizes[i % len(sizes)]) == b"OK"
                n += 2


def switching(env):
    def do(*words):
        assert c.do(*words) == b"OK", words

    with tempfile.TemporaryDirectory() as folder, Server(folder, *AOF, env=env) as server:
        c = server.start()
        counts = [queues(server)]
        for value in ("yes", "no", "yes"):
            do("CONFIG", "SET", "dmtr-aof", value) # counts from the next file on
            counts.append(queues(server))
            do("SET", f"{len(counts)}a", "x")
            c.do("BGREWRITEAOF")
            do("SET", f"{len(counts)}b", "x")
            counts.append(settled(server, c))
        assert counts == [0, 0, 1, 1, 0, 0, 1], counts
        for value in ("no", "yes", "no", "yes"):
            do("CONFIG", "SET", "appendonly", value)
            do("SET", f"{value}", "x")
        assert settled(server, c) == 1
        do("CONFIG", "SET", "appendfsync", "always")
        do("SET", "always", "x")
        do("DEBUG", "RELOAD")
        do("DEBUG", "LOADAOF")
        do("SET", "last", "x")
        before = c.do("DEBUG", "DIGEST")
        assert c.do("DBSIZE") == 10
        server.kill()
        assert server.start().do("DEBUG", "DIGEST") == before


@contextmanager
def small_disk():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", folder], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


def full(env, fsync):
    """A disk without room. With `always` the server ends, otherwise it refuses writes until there is room again."""
    with tempfile.TemporaryDirectory() as folder, small_disk() as disk, \
            Server(disk, *AOF, "--appendfsync", fsync, "--dmtr-aof", "yes", env=env) as server:
        server.log = Path(folder) / "log"
        c = server.start()
        assert c.do("SET", "key-1", "") == b"OK"
        c.do("BGREWRITEAOF") # goes on with a file that was opened otherwise than the first
        assert settled(server, c) == 1
        filler = disk / "filler"
        filler.write_bytes(bytes(DISK - 500_000))
        value, n = b"x" * 30_001, 0
        try:
            while (reply := c.do("SET", f"key{n}", value)) == b"OK":
                n += 1
                assert n < 10_000, "the disk does not fill"
        except ConnectionError:
            reply = "the server has ended"
        assert n > 10, n
        if fsync == "always":
            assert reply == "the server has ended" and server.process.wait() == 1
            assert b"Can't recover from AOF write error" in server.log.read_bytes()
            filler.unlink()
        else:
            assert isinstance(reply, Error) and reply.startswith("MISCONF Errors writing to the AOF file: No space left"), reply
            assert b"Short write while writing to the AOF file" in server.log.read_bytes()
            filler.unlink()
            wait_for(lambda: c.do("SET", f"key{n}", value) == b"OK")
            n += 1
            assert c.do("CONFIG", "SET", "appendfsync", "always") == b"OK" and c.do("SET", "last", "") == b"OK" # nothing is postponed
            server.kill()
        c = server.start()
        assert all(c.do("GET", f"key{i}") == value for i in range(n)) and c.do("EXISTS", "key-1", "last") == 1 + (fsync != "always")


def disks(env):
    """Runs full() where file systems may be mounted. False if there is no such place."""
    space = ["unshare", *([] if os.getuid() == 0 else ["-r"]), "-m"]
    if subprocess.run([*space, "true"], stderr=subprocess.DEVNULL).returncode != 0:
        return False
    subprocess.run([*space, sys.executable, __file__, "full"], env=env, check=True)
    return True


def suite(env):
    folder = REDIS / "tests" / "aof"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("tests", "utils"):
        shutil.copytree(REDIS / "vanilla" / name, folder / name, symlinks=True)
    shutil.copy(REDIS / "vanilla" / "runtest", folder)
    (folder / "tests" / "tmp").mkdir(exist_ok=True)
    (folder / "src").symlink_to(REDIS / "dmtr" / "src")
    with open(folder / "log", "wb") as log:
        ran = subprocess.run(["./runtest", "--config", "dmtr-aof", "yes", "--clients", "1", "--baseport", str(min(free_port(), 60000)),
                              *(w for u in UNITS for w in ("--single", u))], cwd=folder, env=env, stdout=log, stderr=log, timeout=600)
    said = (folder / "log").read_text(errors="replace")
    assert ran.returncode == 0 and "All tests passed without errors" in said, said[-3000:]
    return said.count("ok\x1b[0m]:") or said.count("[ok]:")


def main():
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        config.write_text("posix: {io_uring: false}\n")
        plain = Server(folder).env
        for name, env in (("io_uring", plain), ("no io_uring", {**plain, "DMTR_CONFIG": str(config)})):
            crossing(env)
            switching(env)
            print(f"{name}: ok" if disks(env) else f"{name}: ok, but for full disks: there is no file system to be mounted here")
    print(f"{suite(plain)} tests of the suite: ok")


if __name__ == "__main__":
    if sys.argv[1:] == ["full"]:
        for fsync in ("everysec", "always"):
            full(dict(os.environ), fsync)
    else:
        main()
