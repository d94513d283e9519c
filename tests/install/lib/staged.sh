# Sourced by the tests of this folder: installs the library that is built, without building anything, below a folder of the test's own.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
app=$root/tests/util/oldlink/app.c
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
unset DMTR_LIBOS DMTR_CONFIG LD_PRELOAD LD_LIBRARY_PATH MAKEFLAGS MFLAGS MAKEOVERRIDES PKG_CONFIG_PATH PKG_CONFIG_LIBDIR PKG_CONFIG_SYSROOT_DIR

fail() { echo "$*"; exit 1; }
need_command() { command -v "$1" > /dev/null || { echo "skipped: no $1"; exit 77; }; }
make_here() { # target, variables
    make -C "$root" --no-print-directory "$@" LIB="$DMTR_LIB_DIR" > "$tmp/make.log" 2>&1 || fail "make $*: $(cat "$tmp/make.log")"
}
# Runs a program that must find libdmtr.so.1 in that folder, and with it that default libOS.
expect_run() { # program, folder, libOS
    local path got
    path=$(ldd "$1" | sed -nE 's/.*libdmtr(-libos-[a-z]+)?\.so(\.1)? => (.*)\/.*/\3/p' | sort -u)
    [ "$path" = "$2" ] || fail "$1 finds libdmtr in '$path', not $2"
    got=$("$1" 2> "$tmp/err") || fail "$1 fails: $(cat "$tmp/err")"
    [ "$got" = "libdmtr.so.1 $3" ] || fail "$1 got '$got', expected 'libdmtr.so.1 $3'"
}
