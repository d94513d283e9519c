#!/usr/bin/env bash
# Test programs in C with DMTR_LIBOS=rdma, one after the other in one guest: those of with_rdma in tests/CMakeLists.txt, whose peer is the
# library itself. Most others need plain sockets, and skip themselves. Arguments: FOLDER/NAME of those to run, instead of all.
set -u
here=$(dirname "$(realpath "$0")")
if [ "${1-}" != inside ]; then
    [ -e "$DMTR_LIB_DIR/libdmtr-rdma.so" ] || { echo "skipped: libdmtr-rdma.so was not built"; exit 77; }
    [ -s "$DMTR_BIN_DIR/rdma_programs" ] || { echo "skipped: DMTR_TEST_LIBOS of this build tree has no rdma"; exit 77; }
    exec "$here/run" --rdma --timeout 280 -- bash "$(realpath "$0")" inside "$@"
fi
shift
export LD_LIBRARY_PATH=$DMTR_LIB_DIR DMTR_LIBOS=rdma DMTR_TEST_SCALE=0.1
unset DMTR_CONFIG DMTR_WAIT DMTR_FRAMING
[ $# -ne 0 ] || mapfile -t tests < "$DMTR_BIN_DIR/rdma_programs"
[ $# -eq 0 ] || tests=("$@")
idle=$(rdma resource | sed 's/ctx.*//')
passed=0 skipped=0 failed=0
for test in "${tests[@]}"; do
    began=$(date +%s%N)
    timeout -k 5 70 "$DMTR_BIN_DIR/${test/\//_}" > /tmp/output 2>&1 < /dev/null
    status=$?
    echo "$test: status $status, $((($(date +%s%N) - began) / 1000000)) ms"
    case $status in
    0) passed=$((passed + 1)) ;;
    77) skipped=$((skipped + 1)) ;;
    *)
        failed=$((failed + 1))
        cat /tmp/output
        ;;
    esac
done
for try in $(seq 50); do
    left=$(rdma resource | sed 's/ctx.*//')
    [ "$left" != "$idle" ] || break
    sleep 0.1
done
[ "$left" = "$idle" ] || { echo "left: $left, at the beginning: $idle"; failed=$((failed + 1)); }
echo "$passed passed, $skipped skipped, $failed failed"
[ $failed -eq 0 ] && [ $passed -ne 0 ]
