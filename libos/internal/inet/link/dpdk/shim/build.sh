#!/bin/sh
# build.sh OUT: builds libdmtr-dpdk.so from the files beside this one. Exit status 77: there is no DPDK to build it with.
# memif is linked, not found by DPDK as a plugin, because memif.c has to come before librte_eal when its calls are bound.
set -eu
cd "$(dirname "$0")"
pkg-config --exists libdpdk 2> /dev/null || exit 77
common=../../../../shim
exec "${CC:-cc}" -std=gnu99 -O2 -fPIC -fvisibility=hidden -Wall -Wextra -Werror -pthread -shared -Wl,-soname,libdmtr-dpdk.so -o "$1" ./*.c "$common/own_thread.c" -I"$common" \
    $(pkg-config --cflags libdpdk) $(pkg-config --libs-only-L libdpdk) \
    -Wl,--no-as-needed -lrte_net_memif -lrte_mempool_ring -Wl,--as-needed -lrte_bus_vdev -lrte_ethdev -lrte_mbuf -lrte_mempool -lrte_eal
