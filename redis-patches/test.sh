#!/usr/bin/env bash
# test.sh [--short] REPORT [MODE...]: runs Redis' test suite with vanilla Redis and in each mode of run-tests.sh, two at a time, and
# compares. What is ok with vanilla has to be ok in every mode. REPORT is a JUnit report. With --short a part of the suite that takes
# about a minute: what has most to do with connections and events. Needs build.sh.
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

export -f run
status=0
printf '%s\n' vanilla "${modes[@]}" | xargs -P 2 -I MODE bash -c 'run "$@"' bash MODE "${units[@]}" || status=1
redis-patches/results.py compare "$report" build/redis/tests/vanilla.list "${lists[@]/#/build/redis/tests/}" || status=1
exit $status
