#!/usr/bin/env bash
# rdma.sh: the patched Redis over RDMA, in a guest with soft-RoCE: the server on one device, redis-cli and redis-benchmark with --dmtr on the
# other. Values of a megabyte, pipelines, 200 connections, MULTI, PUBLISH, blocking commands, clients that are killed. Exits with 77 if
# there is no guest to be had.
set -u
here=$(dirname "$(realpath "$0")")
root=$(realpath "$here/../..")
redis=$root/build/redis/dmtr/src
if [ "${1-}" != inside ]; then
    [ -e "$root/build/lib/libdmtr-rdma.so" ] || { echo "skipped: libdmtr-rdma.so was not built"; exit 77; }
    exec "$root/tests/vm/run" --rdma --timeout 280 -- bash "$(realpath "$0")" inside
fi
unset DMTR_CONFIG DMTR_WAIT DMTR_FRAMING
export DMTR_LIBOS=rdma
cd /tmp || exit
for n in 0 1; do echo "rdma: {device: rxe$n}" > rxe$n.yaml; done
fail() { echo "$*"; tail -n 20 server.log; exit 1; }
cli() { DMTR_CONFIG=/tmp/rxe1.yaml timeout 60 "$redis/redis-cli" --dmtr -h 198.18.1.1 "$@"; }
benchmark() { DMTR_CONFIG=/tmp/rxe1.yaml timeout 100 "$redis/redis-benchmark" --dmtr -h 198.18.1.1 -q "$@"; }
same() { [ "$1" = "$2" ] || fail "\"$1\", not \"$2\""; }
within() { # seconds, command: it succeeds in time
    local last=$((SECONDS + $1))
    until "${@:2}"; do
        [ $SECONDS -le $last ] || fail "not within $1 s: ${*:2}"
        sleep 0.1
    done
}
clients() { [ "$(cli INFO clients | sed -n 's/^connected_clients:\([0-9]*\).*/\1/p')" = "$1" ]; }
resources() { rdma resource | sed 's/ctx.*//'; }
clean() { [ "$(resources)" = "$idle" ]; }

idle=$(resources)
DMTR_CONFIG=/tmp/rxe0.yaml "$redis/redis-server" --save "" --protected-mode no --bind 198.18.1.1 > server.log 2>&1 &
server=$!
within 20 grep -q "Ready to accept" server.log

same "$(cli SET a b)" OK
same "$(cli GET a)" b
for size in 8191 8192 131072 1000000 5000000; do
    head -c $size /dev/urandom | base64 -w 0 > value
    same "$(cli -x SET big < value)" OK
    cli GET big | head -c -1 | cmp - value || fail "another value of $size bytes"
done
same "$(printf 'MULTI\nINCR n\nINCR n\nEXEC\n' | cli | tr '\n' ' ')" "OK QUEUED QUEUED 1 2 "

cli BLPOP list 20 > blocked &
waiting=$!
DMTR_CONFIG=/tmp/rxe1.yaml "$redis/redis-cli" --dmtr -h 198.18.1.1 SUBSCRIBE channel > heard &
subscriber=$!
within 20 grep -q subscribe heard
same "$(cli PUBLISH channel message)" 1
within 10 grep -q message heard
kill -KILL $subscriber
cli LPUSH list element > pushed
wait $waiting || fail "BLPOP: $(cat blocked)"
same "$(tr '\n' ' ' < blocked)" "list element "
same "$(cli BLPOP nothing 1)" ""

benchmark -n 1000 -r 1000 -c 20 -t set,get,lpush,lrange_100,mset > benchmark.log 2>&1 || fail "$(tail benchmark.log)"
benchmark -n 8000 -r 1000 -P 16 -c 10 -t set,get > benchmark.log 2>&1 || fail "pipelines: $(tail benchmark.log)"
benchmark -n 400 -c 200 -t ping_mbulk > benchmark.log 2>&1 || fail "200 connections: $(tail benchmark.log)"
benchmark -n 60 -d 1000000 -c 2 -t set,get > benchmark.log 2>&1 || fail "large values: $(tail benchmark.log)"

DMTR_CONFIG=/tmp/rxe1.yaml "$redis/redis-benchmark" --dmtr -h 198.18.1.1 -n 10000000 -P 16 -c 20 -t set -q > killed.log 2>&1 &
killed=$!
within 20 clients 21
kill -KILL $killed
within 20 clients 1
same "$(cli GET a)" b

cli SHUTDOWN NOSAVE
wait $server || fail "the server's status is $?"
within 10 clean
