# A selector makes its libOS the default, whether linked or preloaded; every call ends up in libdmtr.so; and DMTR_LIBOS wins over it. One
# whose libOS cannot start makes dmtr_init fail with one line that says so.
set -u
here=$(dirname "$0")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export LD_LIBRARY_PATH=$DMTR_LIB_DIR
unset DMTR_LIBOS DMTR_CONFIG LD_PRELOAD
cd "$tmp" || exit 1
selector=$DMTR_LIB_DIR/libdmtr-libos-posix.so

fail() { echo "$*"; exit 1; }
build() { # program, libraries and flags
    "$CC" -std=c99 -I"$DMTR_INCLUDE_DIR" "$here/oldlink/app.c" -L"$DMTR_LIB_DIR" -o "$@" || fail "$1 does not link"
}
# The calls of a program that are bound elsewhere than in libdmtr.so.
strays() {
    LD_DEBUG=bindings "$@" 2>&1 | grep -P 'symbol `dmtr_(?!default_libos)' | tee calls | grep -v ' to [^ ]*/libdmtr\.so\.1 \['
    grep -q dmtr_init calls || fail "no bindings seen"
}

build direct -ldmtr
build linked -l:libdmtr-libos-posix.so
build both -l:libdmtr-libos-posix.so -ldmtr
for program in ./direct ./linked ./both; do
    for preload in "" "$selector"; do
        want="libdmtr.so.1 posix"
        [ "$program$preload" = ./direct ] && want="libdmtr.so.1 none"
        got=$(LD_PRELOAD=$preload $program 2> err) || fail "$program, preloaded '$preload': $(cat err)"
        [ "$got" = "$want" ] || fail "$program, preloaded '$preload': '$got', expected '$want'"
        stray=$(LD_PRELOAD=$preload strays $program)
        [ -z "$stray" ] || fail "$program, preloaded '$preload': $stray"
    done
done

# A selector for a libOS that does not exist: its name reaches dmtr_init, which refuses it.
echo 'const char dmtr_default_libos[] = "nosuch";' > nosuch.c
"$CC" -shared -fPIC -o nosuch.so nosuch.c
LD_PRELOAD=./nosuch.so ./direct > /dev/null 2> err && fail "the default libOS is not asked for"
grep -q nosuch err || fail "not named: $(cat err)"
LD_PRELOAD=./nosuch.so DMTR_LIBOS=posix ./direct > /dev/null 2> err || fail "DMTR_LIBOS does not win: $(cat err)"

cat > init.c << 'EOF'
#include <dmtr/libos.h>
int main(void) { return dmtr_init(0, 0); }
EOF
ENODEV=19
build_init() { "$CC" -I"$DMTR_INCLUDE_DIR" init.c -L"$DMTR_LIB_DIR" "$1" -o "$2" || fail "$2 does not link"; }
build_init -ldmtr ./init
build_init -l:libdmtr-libos-posix.so ./init-posix

# That of storage needs a drive, and says so in one line; of two selectors the first one counts.
build_init -l:libdmtr-libos-spdk.so ./init-spdk
preload="env LD_PRELOAD=$DMTR_LIB_DIR/libdmtr-libos-spdk.so"
for run in ./init-spdk "$preload ./init" "$preload ./init-posix"; do
    $run > out 2> err && fail "$run: starts without a drive"
    [ "$(cat out err | wc -l)" -eq 1 ] || fail "$run: more or less than a line: $(cat out err)"
    grep -qF "libOS spdk cannot start: spdk.devAddr" err || fail "$run: $(cat err)"
done
DMTR_LIBOS=posix ./init-spdk 2> err || fail "spdk: DMTR_LIBOS does not win: $(cat err)"

# Those of the library's own stack choose it, by its proper name; without configuration dpdk does not start.
for name in dpdk lwip; do
    build_init -l:libdmtr-libos-$name.so ./init-$name
    ./init-$name 2> err && fail "$name starts without an address"
    grep -qF "libOS dpdk cannot start" err || fail "$name: $(cat err)"
    DMTR_LIBOS=posix ./init-$name 2> err || fail "$name: DMTR_LIBOS does not win: $(cat err)"
done

# That of RDMA, too: with a device it starts, without one it says so.
build_init -l:libdmtr-libos-rdma.so ./init-rdma
if ! ./init-rdma > out 2> err; then
    [ "$(cat out err | wc -l)" -eq 1 ] || fail "rdma: more or less than a line: $(cat out err)"
    grep -qF "libOS rdma cannot start" err || fail "rdma: $(cat err)"
    ./init-rdma > /dev/null 2>&1
    [ $? -eq $ENODEV ] || fail "rdma: not ENODEV"
fi
DMTR_LIBOS=posix ./init-rdma 2> err || fail "rdma: DMTR_LIBOS does not win: $(cat err)"
