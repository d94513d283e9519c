#!/usr/bin/env bash
# tests/vm/run --rdma: the two devices talk over the wire, by verbs (RC, UD, SRQ, completion events, RDMA reads) and by the connection
# manager, with and without an address to connect from; with the wire cut they do not.
set -u
if [ "${1-}" != inside ]; then
    exec "$(dirname "$0")/run" --rdma --timeout 200 -- bash "$(realpath "$0")" inside
fi
fail() { echo "$*"; exit 1; }
pair() { # program, options: a server on rxe0, and a client on rxe1
    timeout 30 "$@" -d rxe0 > /tmp/server 2>&1 &
    listening
    timeout 30 "$@" -d rxe1 198.18.1.1 > /tmp/client 2>&1
    ended "$@"
}
cm() { # options of the client: rping, which also reads and writes by RDMA
    local before=$(packets)
    timeout 30 rping -s -a 198.18.1.1 -C 3 > /tmp/server 2>&1 &
    while [ -z "$(rdma resource show cm_id | grep -i listen)" ]; do sleep 0.1; done
    timeout 30 rping -c -a 198.18.1.1 -C 3 -V "$@" > /tmp/client 2>&1
    ended rping "$@"
    [ $(($(packets) - before)) -ge 12 ] || fail "rping $*: not over the wire"
}
listening() { while [ -z "$(ss -Hlt)" ]; do sleep 0.1; done; }
ended() {
    local status=$?
    wait $! && [ $status -eq 0 ] || fail "$*: $(cat /tmp/client /tmp/server)"
}
packets() { cat /sys/class/net/rdma0/statistics/rx_packets; }

before=$(packets)
pair ibv_rc_pingpong -g 1 -n 100
[ $(($(packets) - before)) -ge 200 ] || fail "not over the wire"
pair ibv_rc_pingpong -g 1 -n 20 -e
pair ibv_ud_pingpong -g 1 -n 20 -s 1024
pair ibv_srq_pingpong -g 1 -n 20
pair ib_send_lat -x 1 -s 64 -n 20
pair ib_send_bw -x 1 -s 1048576 -n 5
pair ib_read_lat -x 1 -n 20
cm
cm -I 198.18.1.2
ip link set rdma1 down
! timeout 10 rping -c -a 198.18.1.1 -C 1 > /dev/null 2>&1 || fail "without a wire"
