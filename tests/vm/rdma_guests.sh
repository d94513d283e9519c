#!/usr/bin/env bash
# The libOS rdma between two guests, each with a kernel of its own, on a wire: what the ends hear of when the wire is cut, a peer is killed or
# stops to read, and what is left after 1,000 connections. Guest 1 has the server.
set -u
here=$(dirname "$(realpath "$0")")
if [ "${1-}" != inside ]; then
    [ -e "$DMTR_LIB_DIR/libdmtr-rdma.so" ] || { echo "skipped: libdmtr-rdma.so was not built"; exit 77; }
    tmp=$(mktemp -d)
    trap 'rm -rf "$tmp"' EXIT
    guest() { "$here/run" --rdma --wire "$tmp/wire" --end "$1" --out "$tmp/out" --timeout 285 -- bash "$(realpath "$0")" inside "$1" "$tmp/out"; }
    "$here/image" > /dev/null || exit
    mkdir "$tmp/out"
    guest 2 > "$tmp/guest2" 2>&1 &
    guest 1
    status=$?
    wait $! || status=1
    [ $status -eq 0 ] || { cat "$tmp/guest2"; tail -n 20 "$tmp"/out/*; }
    exit $status
fi
end=$2 out=$3
program=$DMTR_BIN_DIR/rdma_peer server=198.18.1.1
export LD_LIBRARY_PATH=$DMTR_LIB_DIR DMTR_LIBOS=rdma
unset DMTR_CONFIG DMTR_WAIT DMTR_FRAMING

fail() { echo "guest $end: $*"; touch "$out/failed"; exit 1; }
say() { touch "$out/at.$1"; }
await() { # until the other guest has said it
    for try in $(seq 2000); do
        [ ! -e "$out/failed" ] || exit 1
        [ ! -e "$out/at.$1" ] || return
        sleep 0.1
    done
    fail "guest $((3 - end)) has not said $1"
}
within() { # seconds, command: it succeeds in time
    local last=$((SECONDS + $1))
    until "${@:2}"; do
        [ $SECONDS -le $last ] || fail "not within $1 s: ${*:2}: $(tail -n 3 "$out"/*.log; echo ${held-}, ${now-})"
        sleep 0.05
    done
}
start() { # name, arguments: a program that writes to NAME.log
    "$program" "${@:2}" > "$out/$1.log" 2>&1 &
    declare -g "$1=$!"
}
has() { grep -q -- "$2" "$out/$1.log"; } # name, expression
sent() { sed -n 's/^sent \([0-9]*\) .*/\1/p' "$out/$1.log" | tail -n 1; }
ended() { ! kill -0 "$1" 2> /dev/null; }
idle() { [ "$(rdma resource | sed 's/ctx.*//')" = "$before" ]; }
rnr() { cat /sys/class/infiniband/rxe0/ports/1/hw_counters/*rnr*; }
held() { # of a process: what it has of the device, and descriptors
    local kind
    for kind in pd cq qp mr cm_id; do
        echo "$kind $(rdma resource show $kind 2> /dev/null | grep -c "pid $1 ")"
    done
    echo "fd $(ls /proc/$1/fd | wc -l)"
}
has_only() { now=$(held "$1") && [ "$now" = "$held" ]; }
before=$(rdma resource | sed 's/ctx.*//')

# Each part is a function for guest 1 and one for guest 2.

cycles1() { # 1,000 connections
    await warm
    sleep 2
    held=$(held $sink)
    say counted
    await cycled
    within 10 has_only $sink
    within 20 hears 1020 sink 'ended after 1 ECONNABORTED'
    say "counted again"
}
cycles2() {
    "$program" cycles $server 7777 20 || fail "20 connections"
    say warm
    await counted
    timeout -s KILL 200 "$program" cycles $server 7777 1000 || fail "1,000 connections"
    within 10 idle
    say cycled
    await "counted again"
}

stops1() { # a reader that stops
    for what in small large stopped; do
        await "pushing $what"
        [ $what = stopped ] && kill -STOP $sink || kill -USR1 $sink
        say "stopped $what"
        await "waited $what"
        [ $what = stopped ] && kill -CONT $sink || kill -USR2 $sink
        await "went on $what"
    done
}
stops2() {
    stop small source $server 7777 64 0
    stop large source $server 7777 1000000 0
    stop stopped source $server 7777 5000 0
}
stop() { # name, arguments of source: it waits while the reader does
    local at again counters=$(rnr)
    start "$@"
    within 20 has "$1" 'sent [1-9]'
    say "pushing $1"
    await "stopped $1"
    sleep 2
    at=$(sent "$1")
    sleep 6 # longer than the devices try
    again=$(sent "$1")
    [ "$again" = "$at" ] || fail "goes on without a reader: $at, then $again"
    ! ended "${!1}" || fail "ended without a reader: $(cat "$out/$1.log")"
    say "waited $1"
    within 10 moved "$1" "$again"
    say "went on $1"
    kill ${!1}
    wait ${!1}
    [ "$(rnr)" = "$counters" ] || fail "messages without a buffer: $(rnr)"
}
moved() { [ "$(sent "$1")" != "$2" ]; }

cut1() { # the wire is cut
    await connected
    ip link set rdma-plug down
    say down
    within 30 hears 2 sink 'ended after .* ETIMEDOUT'
    await heard
    ip link set rdma-plug up
    say up
    await again
}
cut2() {
    connections
    say connected
    await down
    within 30 has pushing 'failed after .* ETIMEDOUT'
    within 30 has popping 'failed after .* ETIMEDOUT'
    say heard
    await up
    timeout -s KILL 20 "$program" source $server 7777 100 10 > "$out/again.log" 2>&1 || fail "no connection after the cut: $(cat "$out/again.log")"
    say again
}
hears() { [ "$(grep -c -- "$3" "$out/$2.log")" -eq "$1" ]; }
connections() { # one that pushes and one that only pops
    start pushing source $server 7777 100 0
    start popping idle $server 7777
    within 20 has pushing 'sent [1-9]'
    within 20 has popping connected
}

killed1() { # the server is killed
    await both
    kill -KILL $sink
    say killed
    wait $sink
    within 10 idle
    await over
}
killed2() {
    connections
    say both
    await killed
    within 3 has pushing 'failed after .* ECONNRESET'
    within 3 has popping 'failed after .* ECONNRESET'
    within 10 idle
    say over
}

if [ "$end" -eq 1 ]; then
    start sink sink $server 7777
    within 20 has sink listening
    say listening
else
    await listening
fi
for part in ${PARTS-cycles stops cut killed}; do
    echo "guest $end, $(cut -d ' ' -f 1 /proc/uptime) s: $part"
    $part$end
done
echo "guest $end, $(cut -d ' ' -f 1 /proc/uptime) s: done"
[ ! -e "$out/failed" ]
