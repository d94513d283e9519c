#!/usr/bin/env bash
# The Go tests of libos/rdma/verbs on soft-RoCE, in a guest, where none may be skipped.
set -eu
here=$(dirname "$(realpath "$0")")
pkg-config --exists libibverbs librdmacm 2> /dev/null || exit 77
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$here/../../libos/rdma/verbs"
go test -c -o "$tmp/verbs.test" .
shim/build.sh "$tmp/libdmtr-rdma.so"
status=0
DMTR_TEST_RDMA_SHIM=$tmp/libdmtr-rdma.so "$here/run" --rdma --timeout 280 -- "$tmp/verbs.test" -test.v -test.timeout 240s > "$tmp/out" || status=$?
[ $status -ne 0 ] && cat "$tmp/out" && exit $status
! grep -e '^ *--- SKIP' "$tmp/out"
