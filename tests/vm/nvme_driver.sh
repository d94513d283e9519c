#!/usr/bin/env bash
# The driver libos/spdk/nvme on an emulated drive: refused while the kernel has it; all operations; taken again after a process was
# killed in the middle of I/O; write latency beside fio's, if there is fio.
set -u
here=$(dirname "$(realpath "$0")")
root=$(realpath "$here/../..")
if [ "${1-}" != inside ]; then
    tmp=$(mktemp -d)
    trap 'rm -rf "$tmp"' EXIT
    (cd "$root" && go test -c -o "$tmp/suite" ./libos/spdk/nvme) || exit 1
    "$here/run" --nvme --timeout 280 -- bash "$(realpath "$0")" inside "$tmp/suite"
    exit
fi
fail() { echo "$*"; cat /tmp/log; exit 1; }
suite=$2
tests() { # pattern: these pass, and none is skipped
    timeout 100 "$suite" -test.v -test.run "$1" > /tmp/log 2>&1 || fail "failed: $1"
    ! grep -q -- '--- SKIP' /tmp/log || fail "skipped: $1"
    grep -q -- '--- PASS' /tmp/log || fail "no test: $1"
    grep -E 'p50|BlockSize' /tmp/log
}
export DMTR_NVME_BUSY
DMTR_NVME_BUSY=$(basename "$(realpath /sys/block/nvme0n1/device/device)")
tests TestDriveBusy
if command -v fio > /dev/null; then
    fio --name=w --filename=/dev/nvme0n1 --ioengine=io_uring --direct=1 --sync=1 --rw=write --bs=4k --size=64M --number_ios=2000 \
        --output-format=normal 2>&1 | grep -E 'clat.*avg|50.00th'
fi
bound=$("$here/guest/nvme-bind" vfio-pci) || fail "not bound"
export DMTR_NVME=${bound% *}
tests 'TestDrive$'
tests TestDriveDepth
for round in 1 2 3; do
    DMTR_NVME_LOAD=1 "$suite" -test.run TestDriveLoad > /tmp/load 2>&1 &
    loader=$!
    until grep -q loading /tmp/load; do kill -0 $loader 2> /dev/null || { cat /tmp/load; fail "no load"; }; sleep 0.1; done
    sleep 0.5
    kill -KILL $loader
    wait $loader 2> /dev/null
    tests 'TestDrive$'
done
tests TestDriveLatency
