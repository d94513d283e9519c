#!/usr/bin/env bash
# install-deps.sh demo|test|bench|redis|vm: installs, with apt, what that target needs and the machine lacks. Silent if nothing is missing.
# Tools that only some tests use are asked for, too; without them those tests are skipped.
set -eu
cd "$(dirname "$0")/.."

have_command() { command -v "$1" > /dev/null; }
have_header() { printf '#if !__has_include(<%s>)\n#error\n#endif\n' "$1" | g++ -x c++ -fsyntax-only - 2> /dev/null; }
have_library() { pkg-config --exists "$1" 2> /dev/null; }
have_static() { have_command "$1" && ! ldd "$(command -v "$1")" > /dev/null 2>&1; }
have_python() { python3 -c "import $1" 2> /dev/null || /usr/bin/python3 -c "import $1" 2> /dev/null; } # or the one that has Debian's packages

# need KIND NAME PACKAGE, and want for what can be done without: notes the package unless have_KIND NAME.
missing=() wanted=()
need() { "have_$1" "$2" || missing+=("$3"); }
want() { "have_$1" "$2" || wanted+=("$3"); }

redis() { # need or want: what it takes to build Redis and to run its test suite
    "$1" header jemalloc/jemalloc.h libjemalloc-dev
    "$1" command dpkg-source dpkg-dev
    "$1" command patch patch
    "$1" command pkg-config pkg-config
    "$1" command tclsh tcl
    "$1" command python3 python3
}

vm() { # need or want: what it takes to run a guest, see tests/vm
    local PATH="$PATH:/usr/sbin:/sbin"
    "$1" command python3 python3
    "$1" command qemu-system-x86_64 qemu-system-x86
    "$1" static busybox busybox-static
    "$1" command depmod kmod
    "$1" command xz xz-utils
    "$1" command ip iproute2
    "$1" command rdma iproute2
    "$1" command ibv_devinfo ibverbs-utils
    "$1" command rping rdmacm-utils
    "$1" command ib_send_lat perftest
}

need command gcc gcc
need command g++ g++
need command cmake cmake
need header CLI/CLI.hpp libcli11-dev
need header nlohmann/json.hpp nlohmann-json3-dev
need header yaml-cpp/yaml.h libyaml-cpp-dev
case "${1-}" in
demo)
    case "${LIBOS:-${DMTR_LIBOS-}}" in
    dpdk | lwip)
        need command pkg-config pkg-config
        need library libdpdk libdpdk-dev
        ;;
    esac
    ;;
test)
    need command python3 python3
    want library libdpdk libdpdk-dev
    want library libibverbs libibverbs-dev
    want library librdmacm librdmacm-dev
    want command ethtool ethtool
    want command abidiff abigail-tools
    want command pkg-config pkg-config
    want command valgrind valgrind
    want command musl-gcc musl-tools
    want command protoc protobuf-compiler
    want header google/protobuf/message.h libprotobuf-dev
    redis want
    vm want
    ;;
redis)
    redis need
    want command ethtool ethtool
    ;;
vm)
    vm need
    ;;
bench)
    need command python3 python3
    need python matplotlib python3-matplotlib
    want command protoc protobuf-compiler
    want header google/protobuf/message.h libprotobuf-dev
    want command pkg-config pkg-config
    want library libdpdk libdpdk-dev
    want library libibverbs libibverbs-dev
    want library librdmacm librdmacm-dev
    ;;
*)
    echo "usage: $0 demo|test|bench|redis|vm" >&2
    exit 2
    ;;
esac

version=$(sed -n 's/^go //p' go.mod)
if ! have_command go; then
    echo "Go $version or newer is needed: https://go.dev/dl/" >&2
    exit 1
fi
found=$(go env GOVERSION 2> /dev/null || go version | cut -d' ' -f3) # go env fails if it is too old and cannot fetch a newer one
if [ "$(printf '%s\n' "$version" "${found#go}" | sort -V | head -n 1)" != "$version" ]; then
    echo "Go $version or newer is needed, this is ${found#go}: https://go.dev/dl/" >&2
    exit 1
fi

[ $((${#missing[@]} + ${#wanted[@]})) -eq 0 ] && exit 0
root=()
[ "$(id -u)" -eq 0 ] || root=(sudo)
apt_get() { "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get "$@"; }
install() { # packages: installs them, with new lists of what there is if the old ones fail
    have_command apt-get || return
    echo "installing: $*"
    apt_get install -y -q --no-install-recommends "$@" || { apt_get update -q && apt_get install -y -q --no-install-recommends "$@"; }
}
install "${missing[@]}" "${wanted[@]}" && exit 0
if [ ${#wanted[@]} -ne 0 ]; then
    echo "Some tests will be skipped without these packages, or what they are called on this system: ${wanted[*]}" >&2
fi
if [ ${#missing[@]} -ne 0 ] && ! install "${missing[@]}"; then
    echo "Please install these packages, or what they are called on this system: ${missing[*]}" >&2
    exit 1
fi
