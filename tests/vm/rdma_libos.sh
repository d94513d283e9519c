#!/usr/bin/env bash
# The libOS rdma on soft-RoCE: the conformance suite on one device; the echo programs between two, in all ways of waiting; what is left
# after many connections, a server that was killed, and a wire that was cut: nothing.
set -u
here=$(dirname "$(realpath "$0")")
root=$(realpath "$here/../..")
if [ "${1-}" != inside ]; then
    [ -e "$DMTR_LIB_DIR/libdmtr-rdma.so" ] || { echo "skipped: libdmtr-rdma.so was not built"; exit 77; }
    tmp=$(mktemp -d)
    trap 'rm -rf "$tmp"' EXIT
    (cd "$root" && go test -c -o "$tmp/suite" ./libos/rdma) || exit 1
    exec "$here/run" --rdma --timeout 280 -- bash "$(realpath "$0")" inside "$tmp/suite"
fi
fail() { echo "$*"; cat /tmp/server /tmp/client; exit 1; }
export LD_LIBRARY_PATH=$DMTR_LIB_DIR DMTR_LIBOS=rdma
unset DMTR_CONFIG DMTR_WAIT DMTR_FRAMING
touch /tmp/server /tmp/client
for n in 0 1; do echo "rdma: {device: rxe$n}" > /tmp/rxe$n.yaml; done

resources() { rdma resource | sed 's/ctx.*//'; }
clean() { # what for: within some seconds there is no more than at the beginning
    for try in $(seq 50); do
        [ "$(resources)" = "$idle" ] && return
        sleep 0.1
    done
    fail "left after $1: $(resources), at the beginning: $idle"
}
serve() { # tcp or udp
    DMTR_CONFIG=/tmp/rxe0.yaml "$root/build/bin/$1_server" --ip 198.18.1.1 --port 7777 > /tmp/server 2>&1 &
    server=$!
    until grep -q listening /tmp/server; do
        kill -0 $server 2> /dev/null || fail "no server"
        sleep 0.1
    done
}
client() { # tcp or udp, options
    DMTR_CONFIG=/tmp/rxe1.yaml timeout 60 "$root/build/bin/$1_client" --ip 198.18.1.1 --port 7777 "${@:2}" > /tmp/client 2>&1
}
talks() { # until the client is connected
    for try in $(seq 200); do
        rdma resource show qp | grep -q '^link rxe1/.* type RC state RTS' && sleep 1 && return
        sleep 0.1
    done
    fail "the client is not connected: $(rdma resource show qp)"
}
ended() { # signal, statuses that are good
    kill -"$1" $server
    wait $server
    [[ " ${*:2} " = *" $? "* ]] || fail "server: status"
}

idle=$(resources)
(cd "$root/libos/rdma" && DMTR_TEST_RDMA_FAR=rxe1 timeout 200 "$2" -test.run "Device$" -test.v) > /tmp/client 2>&1 || fail "Go tests"
grep -q -- '^--- SKIP' /tmp/client && fail "no conformance"
clean conformance

for wait in spin adaptive block; do
    export DMTR_WAIT=$wait
    for protocol in tcp udp; do
        serve $protocol
        client $protocol -s 64 -i 200 || fail "$protocol, $wait"
        [ $protocol = udp ] || client tcp -s 300000 -i 5 || fail "large, $wait"
        ended INT 0
    done
done
clean echo

serve tcp
for round in 1 2 3; do
    client tcp -s 64 -i 2 --idle 60 || fail "many connections"
done
ended INT 0
clean "many connections"

serve tcp
client tcp -s 64 -i 0 &
talks
ended KILL 137
wait $! && fail "the client goes on without a server"
grep -q 'reset by peer' /tmp/client || fail "not told of the server's end"
clean kill

# The client is to push when the wire is cut, not to wait for an answer.
serve tcp
client tcp -s 64 -i 0 &
talks
pkill -STOP -x tcp_client
sleep 1
ip link set rdma1 down
pkill -CONT -x tcp_client
wait $! && fail "the client goes on without a wire"
grep -qE 'timed out|Network is down' /tmp/client || fail "not told of the wire"
ip link set rdma1 up
ended INT 0
clean "a wire that was cut"
