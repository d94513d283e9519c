# Programs built with the link lines of old, which do not name libdmtr.so, link and run, in C and C++, with Boost if the machine has it.
set -u
here=$(dirname "$0")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export LD_LIBRARY_PATH=$DMTR_LIB_DIR
unset DMTR_LIBOS DMTR_CONFIG LD_PRELOAD
cd "$tmp" || exit 1

try() { # name, libraries after those of the library, compiler and its flags
    local name=$1 libraries=$2 got
    shift 2
    "$@" -Wall -Wextra -Werror -I"$DMTR_INCLUDE_DIR" -o "$name" "$here/oldlink/app.c" -x none -L"$DMTR_LIB_DIR" \
        -l:libdmtr-libos-posix.so -l:libdmtr-latency.a -l:libdmtr-libos-common.a $libraries || { echo "$name does not link"; exit 1; }
    for now in "" 1; do
        got=$(LD_BIND_NOW=$now "./$name" 2> err) || { echo "$name fails (LD_BIND_NOW=$now):"; cat err; exit 1; }
        [ "$got" = "libdmtr.so.1 posix" ] || { echo "$name got '$got'"; exit 1; }
    done
}

try c -lstdc++ "$CC" -std=c99
try c-2020 -lstdc++ "$CC" -std=c99 -DDMTR_API=2020
try c++ -lstdc++ "$CXX" -std=c++11 -x c++
if echo '#include <boost/chrono.hpp>
int main() { return boost::chrono::steady_clock::now().time_since_epoch().count() == 0; }' |
    "$CXX" -x c++ - -o boost -lboost_chrono -lboost_system 2> /dev/null; then
    try boost "-lboost_chrono -lboost_system -lstdc++" "$CXX" -DUSE_BOOST -x c++
else
    echo "Boost is not installed: tried without"
fi
