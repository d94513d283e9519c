#!/usr/bin/env python3
"""limits.py: a server that libdmtr gives few queues (limits.queues). It does not start with too few, and says why. With some, clients
beyond them wait, the log says so now and then, and the server goes on without a load."""
import os
import socket
import tempfile
import time
from pathlib import Path

from resp import Client, Server, wait_for

FULL = "Accepting client connection: "


def limited(folder, queues):
    config = Path(folder) / f"{queues}.yaml"
    config.write_text(f"limits: {{queues: {queues}}}\n")
    server = Server(folder, "--save", "", "--unixsocket", f"{folder}/sock")
    server.env = {**server.env, "DMTR_CONFIG": str(config)}
    return server


def too_few(folder, queues):
    with limited(folder, queues) as server:
        try:
            server.run()
            raise SystemExit(f"{queues} queues: it started")
        except AssertionError:
            status = server.process.wait(10)
        log = server.log.read_text()
        assert status == 1 and "Too many open files" in log and "BUG REPORT" not in log, (status, log)
        server.log.unlink()


def cpu_seconds(server):
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def over_unix_socket(path):
    """The kernel's descriptors need no queue each."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(5)
        s.connect(path)
        s.sendall(b"PING\r\n")
        assert s.recv(100) == b"+PONG\r\n"


def full(folder):
    with limited(folder, 8) as server:
        first = server.start()
        served = [first]
        waiting = []
        while len(served) < 100:
            k = Client(server.port, timeout=0.5)
            k.send("PING")
            try:
                assert k.reply() == b"PONG"
            except TimeoutError:
                waiting.append(k)
                break
            served.append(k)
        assert 2 <= len(served) <= 8 and waiting, len(served)
        before, lines = cpu_seconds(server), server.log.read_text().count(FULL)
        assert lines > 0
        for _ in range(10):
            assert all(k.do("PING") == b"PONG" for k in served)
            time.sleep(0.1)
        lines = server.log.read_text().count(FULL) - lines
        assert lines <= 20, f"{lines} lines a second in the log"
        assert cpu_seconds(server) - before < 0.5
        over_unix_socket(f"{folder}/sock")
        served.pop().close()
        waiting[0].close()
        waiting[0] = Client(server.port)
        for k in served[1:]:
            k.close()
        assert waiting[0].do("PING") == b"PONG"
        assert first.do("BGSAVE").startswith(b"Background saving")
        wait_for(lambda: "rdb_bgsave_in_progress:0" in first.do("INFO", "persistence").decode())
        assert "rdb_last_bgsave_status:ok" in first.do("INFO", "persistence").decode()


def main():
    with tempfile.TemporaryDirectory() as folder:
        for queues in (1, 2):
            too_few(folder, queues)
        print("too few queues ok")
        full(folder)
        print("no queue left ok")


if __name__ == "__main__":
    main()
