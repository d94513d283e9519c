#!/usr/bin/env bash
# long-tests.sh [simulation] [kernel] [kills] [storage] [tapir]: tests that CI runs in small, at full size; all if none is named.
# They take some 35 minutes. Build first, with make; run as root, for the network namespaces.
#   simulation  100,000 seeds of two stacks on a faulty link; SEEDS and FIRST choose others
#   kernel      beside the kernel's TCP, over a tap and a packet socket: 1 GiB each way with checksums, 1,000 connections, HTTP, keepalive ...
#   kills       two processes over memif, either end killed 100 times
#   storage     100,000 seeds of crashes of the store on a simulated drive; SEEDS and FIRST choose others
#   tapir       TAPIR's transport: replicas killed under load 50 times; the threads of a client for 10 minutes
set -eu
cd "$(dirname "$0")/.."

simulation() {
    go test ./libos/internal/inet -count=1 -timeout=0 -run 'Simulation$' -sim.first="${FIRST:-0}" -sim.seeds="${SEEDS:-100000}"
}

kernel() {
    go test ./libos/internal/inet -count=1 -run Kernel -v -args -full
}

kills() {
    scripts/cmake-build.sh cmake memif_kill_client
    scripts/cmake-build.sh cmake memif_kill_server
    for end in client server; do
        DMTR_LIB_DIR=$PWD/build/lib DMTR_TEST_SCALE=2 DMTR_TEST_SECONDS=900 build/cmake/tests/memif_kill_$end
    done
}

storage() {
    go test ./libos/spdk/store -count=1 -timeout=0 -run 'Crash$' -v -crash.first="${FIRST:-0}" -crash.seeds="${SEEDS:-100000}"
}

tapir() {
    scripts/cmake-build.sh cmake tapir_posix_kill
    scripts/cmake-build.sh cmake tapir_posix_threads
    DMTR_TEST_SECONDS=600 build/cmake/tests/apps/tapir/tapir_posix_kill 50
    build/cmake/tests/apps/tapir/tapir_posix_threads 600
}

[ $# -gt 0 ] || set -- simulation kernel kills storage tapir
for part; do
    case $part in
    simulation | kernel | kills | storage | tapir) ;;
    *)
        echo "usage: $0 [simulation] [kernel] [kills] [storage] [tapir]" >&2
        exit 2
        ;;
    esac
    echo "== $part"
    "$part"
done
