# A program of another C library, musl, cannot use libdmtr.so: its linker or its loader says so, and nothing crashes.
set -u
command -v musl-gcc > /dev/null || { echo "skipped: there is no musl-gcc (package musl-tools)"; exit 77; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
unset LD_PRELOAD
fail() { echo "$*"; exit 1; }

cat > "$tmp/linked.c" << 'END'
#include <dmtr/libos.h>
#include <stdio.h>
int main(int argc, char **argv) { int rc = dmtr_init(argc, argv); puts("ran"); return rc; }
END
cat > "$tmp/opened.c" << 'END'
#include <dlfcn.h>
#include <stdio.h>
int main(int argc, char **argv)
{
    void *lib = dlopen(argv[argc - 1], RTLD_NOW);
    if (lib != NULL)
        return puts("loaded") < 0;
    fprintf(stderr, "%s\n", dlerror());
    return 3;
}
END

# Its linker may object already, else the loader has to.
if musl-gcc -std=c99 -I"$DMTR_INCLUDE_DIR" "$tmp/linked.c" -o "$tmp/linked" -L"$DMTR_LIB_DIR" -ldmtr 2> "$tmp/err"; then
    echo "links; allowing undefined symbols is not needed"
elif grep -q 'undefined reference' "$tmp/err"; then
    echo "the linker objects: $(grep -c 'undefined reference' "$tmp/err") symbols; with these allowed:"
    musl-gcc -std=c99 -I"$DMTR_INCLUDE_DIR" "$tmp/linked.c" -o "$tmp/linked" -L"$DMTR_LIB_DIR" -ldmtr -Wl,--allow-shlib-undefined 2> "$tmp/err" ||
        fail "does not link: $(cat "$tmp/err")"
else
    fail "does not link: $(cat "$tmp/err")"
fi
musl-gcc -std=c99 "$tmp/opened.c" -o "$tmp/opened" || fail "opened.c does not build"

# objects STATUS: the program ended by itself with a failure, and what it printed names the library and symbols or files.
objects() {
    [ "$1" -gt 0 ] && [ "$1" -lt 128 ] && [ "$1" -ne 124 ] || fail "exit status $1: $(cat "$tmp/out")"
    grep -q 'libdmtr\|libc.so.6' "$tmp/out" || fail "the loader does not say what it lacks: $(cat "$tmp/out")"
    ! grep -qx 'ran\|loaded' "$tmp/out" || fail "it has run: $(cat "$tmp/out")"
    head -n 3 "$tmp/out"
}
LD_LIBRARY_PATH=$DMTR_LIB_DIR timeout 20 "$tmp/linked" > "$tmp/out" 2>&1
objects $?
timeout 20 "$tmp/opened" "$DMTR_LIB_DIR/libdmtr.so" > "$tmp/out" 2>&1
objects $?
