#!/usr/bin/env python3
"""daemon.py: the server as a daemon. It leaves the terminal, writes its pid file, saves and rewrites by forked children, takes hardly any
CPU while nobody asks for anything, and after a restart, by SHUTDOWN and by SIGKILL, everything is there."""
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from resp import Client, Server, wait_for

IDLE_S = 2
IDLE_CPU_S = 0.1 # of them; the kernel counts in hundredths


def start(server):
    """Starts it, and returns its pid."""
    began = subprocess.run(server.command, env=server.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
    assert began.returncode == 0, began
    pid_file = Path(server.folder) / "pid"
    wait_for(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"))
    return int(pid_file.read_text())


def answer(server, pid):
    """Returns a connection to it."""
    c = wait_for(lambda: connect(server.port))
    wait_for(lambda: c.do("PING") == b"PONG") # or LOADING
    assert f"process_id:{pid}\r\n" in c.do("INFO", "server").decode()
    assert os.getsid(pid) == pid != os.getsid(0), "not a session of its own"
    return c


def connect(port):
    try:
        return Client(port)
    except ConnectionError:
        return None


def cpu(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def child(c, command, running, status):
    """Has a child do its work."""
    info = lambda: c.do("INFO", "persistence").decode()
    c.do(command)
    wait_for(lambda: f"{running}:0\r\n" in info())
    assert f"{status}:ok\r\n" in info(), info()


def gone(pid):
    wait_for(lambda: not Path(f"/proc/{pid}").exists() or Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z")


def expect(c, n):
    assert c.do("DBSIZE") == n
    assert c.do("GET", f"key{n - 1}") == b"x" * (n - 1)


def run(folder, *options):
    server = Server(folder, "--daemonize", "yes", "--pidfile", f"{folder}/pid", "--logfile", f"{folder}/log", "--save", "",
                    "--appendonly", "yes", *options)
    server.env["DMTR_WAIT"] = "adaptive"
    pid = start(server)
    try:
        c = answer(server, pid)
        n = 1000
        for i in range(n):
            assert c.do("SET", f"key{i}", "x" * i) == b"OK"
        child(c, "BGSAVE", "rdb_bgsave_in_progress", "rdb_last_bgsave_status")
        assert (Path(folder) / "dump.rdb").read_bytes()[:5] == b"REDIS"
        child(c, "BGREWRITEAOF", "aof_rewrite_in_progress", "aof_last_bgrewrite_status")
        assert c.do("SET", f"key{n}", "x" * n) == b"OK" # into the file that is new now
        before = cpu(pid)
        time.sleep(IDLE_S)
        idle = cpu(pid) - before
        assert idle <= IDLE_CPU_S, f"{idle} s of CPU in {IDLE_S} s of idleness"

        c.send("SHUTDOWN")
        gone(pid)
        assert not (Path(folder) / "pid").exists()
        pid = start(server)
        c = answer(server, pid)
        expect(c, n + 1)
        assert c.do("SET", f"key{n + 1}", "x" * (n + 1)) == b"OK"
        os.kill(pid, signal.SIGKILL)
        gone(pid)
        (Path(folder) / "pid").unlink()
        pid = start(server)
        expect(answer(server, pid), n + 2)
    finally:
        if Path(f"/proc/{pid}").exists():
            os.kill(pid, signal.SIGKILL)
    return idle


def main():
    for aof in ("no", "yes"):
        with tempfile.TemporaryDirectory() as folder:
            print(f"dmtr-aof {aof}: ok, {run(folder, '--dmtr-aof', aof):.2f} s of CPU in {IDLE_S} s of idleness")


if __name__ == "__main__":
    main()
