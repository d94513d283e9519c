#!/usr/bin/env bash
# Shows libdmtr at work: an echo server and a client talk over loopback, then both print their latency tables.
# DMTR_LIBOS and the other variables of the library choose how. Needs `make` to have built build/bin.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly bin=build/bin size=64 iterations=20000
server=
work=$(mktemp -d)

stop_server() { # SIGNAL: sends it, kills the server if it is still there after 3 s, and returns its exit status
    [[ -n $server ]] || return 0
    kill -s "$1" "$server" 2>/dev/null || true
    for ((i = 0; i < 30; i++)); do
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$server" 2>/dev/null || true
    local status=0
    wait "$server" 2>/dev/null || status=$?
    server=
    return "$status"
}

cleanup() {
    stop_server TERM || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    echo "demo: $1" >&2
    cat "$work/server" >&2
    exit 1
}

: >"$work/server"
[[ -x $bin/tcp_server && -x $bin/tcp_client ]] || fail "$bin/tcp_server or tcp_client is not there: run make first"

"$bin/tcp_server" --port 0 2>"$work/server" &
server=$!
port=
for ((i = 0; i < 50; i++)); do
    port=$(sed -n 's/^listening on .*:\([0-9]*\)$/\1/p' "$work/server")
    [[ -z $port ]] || break
    kill -0 "$server" 2>/dev/null || fail "the server did not start"
    sleep 0.1
done
[[ -n $port ]] || fail "the server does not say where it listens"

echo "== libOS ${DMTR_LIBOS:-by default}: $iterations round trips of $size bytes over TCP"
echo "== client"
timeout 10 "$bin/tcp_client" --port "$port" --size "$size" --iterations "$iterations" || fail "the client failed"
stop_server INT || fail "the server ended with an error"
echo "== server"
cat "$work/server"
