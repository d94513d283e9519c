#!/usr/bin/env bash
# test.sh [--short] REPORT [MODE...]: runs Redis' test suite with vanilla Redis and in each mode of run-tests.sh, two at a time, and
# compares. What is ok with vanilla has to be ok in every mode, at the second try at the latest. REPORT is a JUnit report. With --short
# a part of the suite that takes about a minute: what has most to do with connections and events. Needs build.sh.
set -eu
cd "$(dirname "$0")/.."
units=()
if [ "$1" = --short ]; then
    units=(unit/{auth,protocol,keyspace,scan,info,multi,quit,acl,pubsub,pubsubshard,scripting,introspection,introspection-2,limits}
        unit/{obuf-limits,tracking,pause,querybuf,replybufsize,networking,wait,lazyfree,violations} unit/type/{string,list,hash,stream-cgroups}
        integration/{redis-cli,replication-buffer})
    shift
fi
report=$1
shift
modes=("$@")
[ ${#modes[@]} -ne 0 ] || modes=(posix selector raw dpdk)
lists=("${modes[@]/%/.list}")

run() { redis-patches/run-tests.sh "$@" || [ $? -eq 77 ]; }

# Some tests send at once on two connections and rest on the order in which the server hears of them. The kernel has an order for a server
# that sleeps; one that asks its sockets in turn, as the posix libOS does while it spins, may see either first, as TCP allows. So units
# with a test that has failed have a second try, without spinning, which is said.
again() { # MODE
    local list=build/redis/tests/$1.list units
    [ -e "$list" ] || return 0
    mapfile -t units < <(redis-patches/results.py failed build/redis/tests/vanilla.list "$list" | grep .)
    [ ${#units[@]} -ne 0 ] || return 0
    redis-patches/results.py compare "$report" build/redis/tests/vanilla.list "$list" || true
    echo "$1: once more, with DMTR_WAIT=block: ${units[*]}"
    cp "$list" "$list.first"
    cp "build/redis/tests/$1/log" "build/redis/tests/$1.log.first"
    DMTR_WAIT=block run "$1" "${units[@]}"
    redis-patches/results.py merge "$list.first" "$list" > "$list.new"
    mv "$list.new" "$list"
}

export -f run
status=0
printf '%s\n' vanilla "${modes[@]}" | xargs -P 2 -I MODE bash -c 'run "$@"' bash MODE "${units[@]}" || status=1
for mode in "${modes[@]}"; do
    again "$mode" || status=1
done
redis-patches/results.py compare "$report" build/redis/tests/vanilla.list "${lists[@]/#/build/redis/tests/}" || status=1
exit $status
