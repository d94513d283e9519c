#!/usr/bin/env bash
# The conformance suite for files on libOS spdk with an emulated NVMe drive, by the driver of this library.
set -u
here=$(dirname "$(realpath "$0")")
root=$(realpath "$here/../..")
if [ "${1-}" != inside ]; then
    tmp=$(mktemp -d)
    trap 'rm -rf "$tmp"' EXIT
    (cd "$root" && go test -c -o "$tmp/suite" ./libos/spdk) || exit 1
    "$here/run" --nvme --timeout 280 -- bash "$(realpath "$0")" inside "$tmp/suite"
    exit
fi
fail() { echo "$*"; cat /tmp/log; exit 1; }
bound=$("$here/guest/nvme-bind" vfio-pci) || fail "not bound"
export DMTR_NVME=${bound% *}
timeout 240 "$2" -test.v -test.run TestConformanceNVMe > /tmp/log 2>&1 || fail "failed"
! grep -q -- '--- SKIP: TestConformanceNVMe ' /tmp/log || fail "skipped"
grep -c -- '--- PASS' /tmp/log
