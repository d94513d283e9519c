#!/usr/bin/env python3
"""clients.py [CLIENTS]: what clients do to a server: values of a megabyte, thousands of connections, clients that go away in the middle of
a request or a reply, CLIENT KILL, and the limits on output buffers. The server has to give right answers, and to live."""
import hashlib
import os
import random
import resource
import socket
import struct
import sys
import tempfile
import time

from resp import Client, Error, Server, wait_for


def big_values(port, c):
    for n in (0, 1, 16_383, 16_384, 16_385, 1_000_000, 64 << 20):
        v = os.urandom(n)
        assert c.do("SET", "big", v) == b"OK"
        assert c.do("GET", "big") == v, n
    v = os.urandom(1_000_000)
    assert c.do("SET", "big", v) == b"OK"
    for _ in range(50): # pipelined, and read late
        c.send("GET", "big")
    time.sleep(0.2)
    for _ in range(50):
        assert hashlib.sha1(c.reply()).digest() == hashlib.sha1(v).digest()


def many(port, c, n):
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 2 * n + 100),) * 2)
    clients = [Client(port) for _ in range(n)]
    for i, k in enumerate(clients):
        k.send("SET", f"k{i}", i)
    for k in clients:
        assert k.reply() == b"OK"
    for i in random.sample(range(n), min(n, 2000)):
        assert clients[i].do("GET", f"k{i}") == b"%d" % i
    info = c.do("INFO", "clients").decode()
    assert f"connected_clients:{n + 1}\r\n" in info, info
    for k in clients:
        k.close()
    wait_for(lambda: "connected_clients:1\r\n" in c.do("INFO", "clients").decode())
    assert c.do("FLUSHALL") == b"OK"


def gone(port, c):
    v = b"x" * 1_000_000
    assert c.do("SET", "big", v) == b"OK"
    for i in range(300):
        k = Client(port)
        if i % 3 == 0: # within a request
            k.sock.sendall(b"*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$1000000\r\n" + v[:random.randrange(len(v))])
        elif i % 3 == 1: # with replies on their way
            for _ in range(20):
                k.send("GET", "big")
        else: # blocked
            k.send("BLPOP", "nothing", 0)
        if i % 2: # with a reset
            k.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        k.close()
    wait_for(lambda: "connected_clients:1\r\n" in c.do("INFO", "clients").decode())
    assert c.do("EXISTS", "half") == 0


def killed(port, c):
    clients = [Client(port) for _ in range(20)]
    ids = [k.do("CLIENT", "ID") for k in clients]
    clients[0].send("BLPOP", "nothing", 0)
    for i in ids[:10]:
        assert c.do("CLIENT", "KILL", "ID", i) == 1
    for k in clients[:10]:
        try:
            assert k.file.read(1) == b""
        except ConnectionError:
            pass
    for k in clients[10:]:
        assert k.do("PING") == b"PONG"
        k.close()
    me = Client(port)
    assert me.do("CLIENT", "KILL", "ID", me.do("CLIENT", "ID"), "SKIPME", "no") == 1 and me.file.read(1) == b""


def output_limit(port, c):
    assert c.do("CONFIG", "SET", "client-output-buffer-limit", "normal 10000000 0 0") == b"OK"
    assert c.do("SET", "big", b"x" * 1_000_000) == b"OK"
    k = Client(port)
    try:
        for _ in range(200): # and reads nothing
            k.send("GET", "big")
    except (ConnectionError, OSError):
        pass
    wait_for(lambda: "connected_clients:1\r\n" in c.do("INFO", "clients").decode())
    assert c.do("CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0") == b"OK"


def quit_gets_all(port, c):
    """A connection that the server closes when all is written still delivers what did not fit into the kernel's buffers. How much that
    holds is not known, so the length of the replies runs through all that may be."""
    v = os.urandom(200_000)
    assert c.do("SET", "big", v) == b"OK"
    for n in range(1, 50):
        k = Client(port, receive_buffer=65536)
        for _ in range(n):
            k.send("GET", "big")
        k.send("QUIT")
        time.sleep(0.1)
        for _ in range(n):
            assert k.reply() == v
        assert k.reply() == b"OK" and k.file.read(1) == b""
        k.close()


def main():
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as folder, Server(folder, "--save", "", "--maxclients", str(n + 100)) as server:
        c = server.start()
        for check in (big_values, gone, killed, output_limit, quit_gets_all):
            check(server.port, c)
            print(check.__name__, "ok")
        many(server.port, c, n)
        print(f"{n} clients ok")
        assert not isinstance(c.do("PING"), Error)
        assert c.do("CLIENT", "LIST").count(b"\n") == 1


if __name__ == "__main__":
    main()
