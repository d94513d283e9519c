# Another shared library written in Go in the same process, loaded before libdmtr or after it, and the program's handlers installed
# before both or after both: echoes under a storm of signals, garbage collections and recovered panics in the other library and faults
# of the program go on side by side; a bad pointer breaks libdmtr alone, with one line on stderr.
set -u
here=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export LD_LIBRARY_PATH=$DMTR_LIB_DIR
unset DMTR_LIBOS DMTR_CONFIG DMTR_FRAMING DMTR_WAIT LD_PRELOAD GODEBUG
fail() { echo "$*"; exit 1; }

GOFLAGS=-mod=mod GOPROXY=off GOWORK=off "${GO:-go}" -C "$here/secondgo/other" build -trimpath -buildvcs=false -buildmode=c-shared -o "$tmp/other.so" . ||
    fail "the other library does not build"
"$CC" -std=c99 -D_GNU_SOURCE -O1 -g -Wall -Wextra -Werror -I"$here/.." -I"$DMTR_INCLUDE_DIR" "$here/secondgo/program.c" \
    -o "$tmp/program" -lpthread -ldl || fail "the program does not build"

# run HOW WANT: HOW says what comes first, WANT is the exit status.
run() {
    (timeout -s KILL 40 "$tmp/program" "$tmp/other.so" "$1" 2> "$tmp/err"; exit $?) 2> /dev/null # no word on signals
    local status=$?
    [ $status -eq "$2" ] || fail "$1: exit status $status, expected $2: $(head -c 3000 "$tmp/err")"
    [ "$(wc -l < "$tmp/err")" -eq 1 ] && grep -q '^libdmtr: internal error: ' "$tmp/err" || fail "$1: on stderr: $(head -c 3000 "$tmp/err")"
}
run libdmtr-first 0
run other-first 0
run libdmtr-first-late 0
run other-first-late 0
run libdmtr-first-dies 139
run other-first-dies 139
