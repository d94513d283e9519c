#!/usr/bin/env bash
# tests/vm/run: a guest ends at the time limit, by a panic of its kernel, and with the caller, even if that is killed.
set -u
here=$(dirname "$(realpath "$0")")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
fail() { echo "$*"; cat "$tmp/err"; exit 1; }

"$here/run" --timeout 3 -- sleep 1000 2> "$tmp/err"
status=$?
[ $status -ne 77 ] || { cat "$tmp/err"; exit 77; }
[ $status -eq 124 ] || fail "status $status at the time limit"
grep -q "after 3 s" "$tmp/err" || fail "the time limit is not told"

"$here/run" --timeout 80 -- sh -c 'echo c > /proc/sysrq-trigger' 2> "$tmp/err"
status=$?
[ $status -eq 125 ] || fail "status $status after a panic"
grep -q "Kernel panic" "$tmp/err" || fail "the panic is not told"

"$here/run" --timeout 80 -- sleep 1000 2> "$tmp/err" &
caller=$!
for try in $(seq 300); do
    machine=$(pgrep -P $caller qemu-system) && break
    sleep 0.1
done
[ -n "$machine" ] || fail "no machine"
kill -KILL $caller
for try in $(seq 50); do
    [ -e "/proc/$machine" ] || exit 0
    sleep 0.1
done
fail "the machine outlives its caller"
