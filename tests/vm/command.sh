#!/usr/bin/env bash
# tests/vm/run: what the command prints comes while it runs, its streams stay apart, its folder and environment are the caller's, and its
# status and what it leaves in --out come back, all of it, though a process that it started still runs.
set -u -o pipefail
here=$(dirname "$(realpath "$0")")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
fail() { echo "$*"; cat "$tmp/err"; exit 1; }

mkdir "$tmp/out" "$tmp/some place"
mkfifo "$tmp/stdout"
cd "$tmp/some place" || exit
export VALUE=$'it\'s "one"\n$two'
inside='
    sleep 1000 &
    echo first
    until [ -e "$1/go" ]; do sleep 0.1; done
    pwd
    echo "$VALUE"
    echo another >&2
    touch /usr/written
    seq 200000 | tee "$1/numbers"
    exit 3'
"$here/run" --out "$tmp/out" --timeout 80 -- bash -c "$inside" name "$tmp/out" > "$tmp/stdout" 2> "$tmp/err" &
exec 3< "$tmp/stdout"
read -r -t 70 line <&3
if [ "$line" != first ]; then
    wait $!
    status=$?
    cat "$tmp/err"
    [ $status -eq 77 ] && exit 77
    fail "no first line: \"$line\", status $status"
fi
touch "$tmp/out/go"
cat <&3 > "$tmp/rest"
wait $!
status=$?
[ $status -eq 3 ] || fail "status $status"
{ pwd; echo "$VALUE"; seq 200000; } | cmp - "$tmp/rest" || fail "another output"
seq 200000 | cmp - "$tmp/out/numbers" || fail "another file"
[ "$(cat "$tmp/err")" = another ] || fail "another error output"
[ ! -e /usr/written ] || fail "a file was written"
