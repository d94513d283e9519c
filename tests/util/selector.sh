# A selector makes its libOS the default, whether linked or preloaded; every call ends up in libdmtr.so; and DMTR_LIBOS wins over it.
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
