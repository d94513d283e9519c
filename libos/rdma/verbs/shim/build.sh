#!/bin/sh
# build.sh OUT: builds libdmtr-rdma.so from the files beside this one. Exit status 77: there is no rdma-core to build it with.
set -eu
cd "$(dirname "$0")"
pkg-config --exists libibverbs librdmacm 2> /dev/null || exit 77
common=../../../internal/shim
exec "${CC:-cc}" -std=gnu99 -O2 -fPIC -fvisibility=hidden -Wall -Wextra -Werror -pthread -shared -Wl,-soname,libdmtr-rdma.so \
    -o "$1" ./*.c "$common/own_thread.c" -I"$common" $(pkg-config --cflags --libs libibverbs librdmacm)
