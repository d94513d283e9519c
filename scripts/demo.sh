#!/usr/bin/env bash
# Shows libdmtr at work: an echo server and a client talk over loopback, then both print their latency tables.
# With LIBOS=dpdk they talk over memif, memory that DPDK shares between two processes, and the kernel's figures stand beside.
# DMTR_LIBOS and the other variables of the library choose how. Needs `make` to have built build/bin.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly bin=build/bin size=64 iterations=20000
libos=${LIBOS:-${DMTR_LIBOS-}}
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

# One run with what is in the arrays server_options and client_options. Leaves the tables in $work/client and $work/server.
echo_once() {
    : >"$work/server"
    "$bin/tcp_server" "${server_options[@]}" 2>"$work/server" &
    server=$!
    local port=
    for ((i = 0; i < 100; i++)); do
        port=$(sed -n 's/^listening on .*:\([0-9]*\)$/\1/p' "$work/server")
        [[ -z $port ]] || break
        kill -0 "$server" 2>/dev/null || fail "the server did not start"
        sleep 0.1
    done
    [[ -n $port ]] || fail "the server does not say where it listens"
    timeout 20 "$bin/tcp_client" "${client_options[@]}" --port "$port" --size "$size" --iterations "$iterations" >"$work/client" || fail "the client failed"
    stop_server INT || fail "the server ended with an error"
}

memif_config() { # ROLE ADDRESS: prints a configuration
    cat <<END
network:
  address: $2/24
dpdk:
  eal_init: [--no-huge, --no-pci, "--vdev=net_memif0,role=$1,socket=$work/memif,socket-abstract=no"]
END
}

# beside A B: the percentiles of two tables in one.
beside() {
    awk 'function cell(line) { $0 = line; return sprintf("%s %s", $(NF - 1), $NF) }
        /^  (min|mean|median|99|max)/ { label = substr($0, 3, 9); value = cell($0)
            if (NR == FNR) first[label] = value; else printf "  %-10s %16s %16s\n", label, first[label], value }' "$1" "$2"
}

[[ -x $bin/tcp_server && -x $bin/tcp_client ]] || { : >"$work/server"; fail "$bin/tcp_server or tcp_client is not there: run make first"; }

server_options=(--port 0)
client_options=()
case $libos in
dpdk | lwip)
    export DMTR_WAIT=${DMTR_WAIT:-spin}
    unset DMTR_LIBOS
    server_cpu=() client_cpu=()
    if [[ $(nproc) -gt 1 && $DMTR_WAIT = spin ]]; then
        read -r -a cpus < <(taskset -cp $$ | sed 's/.*: //; s/[-,]/ /g')
        server_cpu=(--cpu "${cpus[0]}") client_cpu=(--cpu "${cpus[-1]}")
    fi
    echo "== TCP echo, $iterations round trips of $size bytes; both ends wait by DMTR_WAIT=$DMTR_WAIT"
    server_options=(--port 0 --libos posix "${server_cpu[@]}")
    client_options=(--libos posix "${client_cpu[@]}")
    echo_once
    mv "$work/client" "$work/client.kernel"
    mv "$work/server" "$work/server.kernel"
    memif_config server 10.0.0.1 >"$work/server.yaml"
    memif_config client 10.0.0.2 >"$work/client.yaml"
    server_options=(--port 0 --libos dpdk --ip 10.0.0.1 --config-path "$work/server.yaml" "${server_cpu[@]}")
    client_options=(--libos dpdk --ip 10.0.0.1 --config-path "$work/client.yaml" "${client_cpu[@]}")
    echo_once
    printf '  %-10s %16s %16s\n' "" kernel "dpdk over memif"
    echo "== round trip of the client"
    beside "$work/client.kernel" "$work/client"
    echo "== echo of the server"
    beside "$work/server.kernel" "$work/server"
    ;;
*)
    [[ -z $libos ]] || export DMTR_LIBOS=$libos
    echo "== libOS ${libos:-by default}: $iterations round trips of $size bytes over TCP"
    echo_once
    echo "== client"
    cat "$work/client"
    echo "== server"
    cat "$work/server"
    ;;
esac
