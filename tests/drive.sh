#!/usr/bin/env bash
# drive.sh PROGRAM...: runs a test with the storage spdk on a drive of its own, which DMTR_TEST_DRIVE names.
set -u
tool=$(cd "$(dirname "$0")/.." && pwd)/build/bin/dmtr-store
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
if ! "$tool" format "$dir/drive" 32M 2> "$dir/err"; then
    cat "$dir/err"
    grep -q io_uring "$dir/err" && exit 77
    exit 1
fi
printf 'storage: spdk\nspdk:\n  devAddr: %s\n' "$dir/drive" > "$dir/config.yaml"
DMTR_CONFIG=$dir/config.yaml DMTR_TEST_DRIVE=$dir/drive "$@"
