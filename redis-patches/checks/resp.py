"""What the checks share: a server of theirs, and a client that speaks RESP over a socket of the kernel."""
import os
import socket
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REDIS = ROOT / "build" / "redis"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(condition, seconds=20):
    """Returns what the condition says once it is true."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, condition
        time.sleep(0.05)
    return result


class Client:
    """One connection. Replies come as int, bytes, None, list; errors as Error."""

    def __init__(self, port, timeout=30, receive_buffer=None):
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(timeout)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.sock.makefile("rb")

    def send(self, *words):
        parts = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        self.sock.sendall(b"".join([b"*%d\r\n" % len(parts)] + [b"$%d\r\n%s\r\n" % (len(p), p) for p in parts]))

    def reply(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server has closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b"-":
            return Error(rest.decode())
        if kind == b":":
            return int(rest)
        n = int(rest)
        if n < 0:
            return None
        if kind == b"*":
            return [self.reply() for _ in range(n)]
        data = self.file.read(n + 2)
        if len(data) != n + 2:
            raise ConnectionError("the server has closed the connection")
        return data[:-2]

    def do(self, *words):
        self.send(*words)
        return self.reply()

    def close(self):
        self.file.close()
        self.sock.close()


class Error(str):
    """An error reply."""


class Server:
    """A redis-server with the options given, until the end of the with block. env is its whole environment."""

    def __init__(self, folder, *options, binary=None, env=None, under=()):
        self.port = free_port()
        self.folder = folder
        self.command = [*under, str(binary or REDIS / "dmtr" / "src" / "redis-server"), "--port", str(self.port), "--dir", str(folder), *options]
        self.env = env or {**os.environ, "LD_LIBRARY_PATH": str(ROOT / "build" / "lib")}
        self.log = Path(folder) / "log"

    def run(self, within=30):
        """Starts it, and returns when it accepts connections."""
        with open(self.log, "ab") as log:
            before = log.tell()
            self.process = subprocess.Popen(self.command, env=self.env, stdout=log, stderr=log)
        end = time.monotonic() + within
        while b"Ready to accept connections" not in (said := self.log.read_bytes()[before:]):
            assert self.process.poll() is None and time.monotonic() < end, said[-2000:].decode(errors="replace")
            time.sleep(0.02)

    def start(self, within=30):
        """run, and a connection."""
        self.run(within)
        return Client(self.port)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()
