#!/usr/bin/env bash
# run-tests.sh MODE [UNIT...]: Redis' own test suite, unmodified, against a running server. UNIT is a name as unit/type/list; without
# any, all run. Tests that start servers of their own are left out by the suite itself. Needs build.sh.
#
#   vanilla   Redis without patches
#   posix     patched, libOS posix
#   selector  patched, with the selector of posix preloaded
#   raw       patched, with the library's own TCP/IP stack at one end of a tap and the suite on the kernel's at the other
#   dpdk      the same with DPDK, on a pair of interfaces
#
# The last two are in a network namespace. Leaves build/redis/tests/MODE.list, a line for each test (status, unit, name), which
# results.py compares with that of vanilla. TAGS are tags of tests to run, or with a - not to run.
# Exits with 77 if the mode is not to be had here, and else with 0: whether a failure is one tells the comparison.
set -eu
cd "$(dirname "$0")/.."
readonly root=$PWD mode=$1
shift
readonly redis=$root/build/redis
readonly work=$redis/tests/$mode

host=127.0.0.1 server=$redis/dmtr/src/redis-server
[ -n "${REDIS_TESTS_INSIDE-}" ] || unset LD_PRELOAD DMTR_CONFIG DMTR_FRAMING
export DMTR_LIBOS=$mode DMTR_LIB_DIR=$root/build/lib
case $mode in
vanilla) server=$redis/vanilla/src/redis-server ;;
posix) ;;
selector) unset DMTR_LIBOS ;;
raw | dpdk)
    host=198.18.0.2
    if [ "${REDIS_TESTS_INSIDE-}" != "$mode" ]; then
        REDIS_TESTS_INSIDE=$mode exec "$root/tests/own_net.sh" "$root/redis-patches/run-tests.sh" "$mode" "$@"
    fi
    ;;
*)
    echo "usage: $0 vanilla|posix|selector|raw|dpdk [UNIT...]" >&2
    exit 2
    ;;
esac

rm -rf "$work" "$work.list"
mkdir -p "$work/data"
cp -a "$redis"/vanilla/{tests,runtest,utils} "$work"
mkdir -p "$work/tests/tmp"
ln -s "$redis/vanilla/src" "$work/src"
cd "$work"
export TERM=dumb # no colours
: > log

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])'; }
port=$(free_port)
base=$(($(free_port) % 20000 + 12000)) # the suite looks for free ones from there

pid=
stop() {
    [ -n "$pid" ] || return 0
    kill "$pid" 2> /dev/null || true
    for _ in $(seq 50); do
        kill -0 "$pid" 2> /dev/null || break
        sleep 0.1
    done
    kill -KILL "$pid" 2> /dev/null || true
    wait "$pid" 2> /dev/null || true
    pid=
}
trap stop EXIT

alive() { kill -0 "$pid" 2> /dev/null && timeout 20 src/redis-cli -h "$host" -p "$port" ping 2> /dev/null | grep -q 'PONG\|NOAUTH\|LOADING\|BUSY'; }

start() {
    local preload=
    [ "$mode" != selector ] || preload=$DMTR_LIB_DIR/libdmtr-libos-posix.so
    # As Redis' project does when it tests against a server.
    LD_PRELOAD=$preload "$server" --port "$port" --dir "$work/data" --save "" --protected-mode no --bind "*" \
        --enable-protected-configs yes --enable-debug-command yes --enable-module-command yes >> server.log 2>&1 &
    pid=$!
    for _ in $(seq 100); do
        ! alive || return 0
        kill -0 "$pid" 2> /dev/null || break
        sleep 0.1
    done
    echo "$mode: no server, see $work/server.log" >&2
    exit 1
}

# The suite ends with the first exception; the units after that one still have their turn.
mapfile -t units < <(./runtest --list-tests)
[ $# -eq 0 ] || mapfile -t units < <(printf '%s\n' "${units[@]}" | grep -Fx -- "$(printf '%s\n' "$@")") # in the suite's order
start
awk -F '\t' -v mode="$mode" '!/^#/ && mode ~ "^(" $1 ")$" { print $2 }' "$root/redis-patches/skipped-tests" > skipped
while [ ${#units[@]} -ne 0 ]; do
    singles=()
    for unit in "${units[@]}"; do singles+=(--single "$unit"); done
    : > part
    timeout 3600 ./runtest --host "$host" --port "$port" --baseport "$base" --skipfile skipped \
        --timeout 120 --tags "${TAGS-}" "${singles[@]}" > part 2>&1 < /dev/null || true
    cat part >> log
    ran=$(grep -c '^Testing ' part || true)
    last=$(sed -n 's/^Testing //p' part | tail -n 1)
    done=$(sed -n 's/^\[[0-9]*\/[0-9]* done\]: \([^ ]*\) .*/\1/p' part | tail -n 1)
    if ! alive; then
        echo "[err]: the server does not answer any more" >> log
        stop
        start
    elif [ "$last" != "$done" ]; then
        src/redis-cli -h "$host" -p "$port" flushall > /dev/null || true
    fi
    [ "$ran" -gt 0 ] || break
    units=("${units[@]:ran}")
done
"$root/redis-patches/results.py" list log > "$work.list"
