# The headers find the right functions with other code models, linkers and compilers, and with link-time optimization, as far as they are
# installed; and a program that calls nothing does not need the library.
. "$(dirname "$0")/program/build.bash"

# links COMPILER...: the compiler can build a program with these flags.
links() { command -v "$1" > /dev/null && echo 'int main(void) { return 0; }' | "$@" -x c - -o probe > /dev/null 2>&1 && ./probe; }

# try FLAG...: programs of both generations work when built with $CC and these flags.
try() {
    links "$CC" "$@" || { echo "not here: $CC $*"; return; }
    echo "$CC $*"
    for generation in 2019 2020; do
        build $generation c99 ./program-$generation all.c -ldmtr "$@" 2> err || { cat err; exit 1; }
        "./program-$generation" || fail "$CC $*: $generation failed"
    done
}

try -O0
check_bindings 2020 ./program-2020
try -O3 -fPIC -fno-plt
check_bindings 2020 ./program-2020
try -O2 -no-pie -fno-pie
check_bindings 2020 ./program-2020
try -O2 -masm=intel
try -O2 -fuse-ld=gold
try -O2 -fuse-ld=lld
try -O2 -flto -flto-partition=max

case $("$CC" --version) in
*clang*) CC=gcc ;;
*) CC=clang ;;
esac
try -O2
check_bindings 2020 ./program-2020
try -O2 -flto
try -O2 -flto=thin -fuse-ld=lld

headers=$(cd "$DMTR_INCLUDE_DIR" && find dmtr -name '*.h' | sed 's/.*/#include <&>/')
for language in c c++; do
    for optimize in -O0 -O2; do
        "$CXX" -x $language -DDMTR_API=2020 -I"$DMTR_INCLUDE_DIR" $optimize - -o nothing \
            <<< "$headers"$'\n''int main(void) { return 0; }' || fail "$language: needs the library"
        [ -z "$(nm nothing | grep dmtr_)" ] || fail "$language: $(nm nothing | grep dmtr_)"
    done
done
