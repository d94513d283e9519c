#!/bin/sh
# own_net.sh COMMAND...: runs a command in a network namespace of its own. With DMTR_LIBOS=raw it may make taps there, between which the
# kernel forwards. With dpdk there is a pair of interfaces: the kernel has one, dpdk.yaml gives the other to DPDK's driver for packet
# sockets, which only one process at a time can have. Exits with 77 if that cannot be had.
here=$(dirname "$0")
skip() { echo "skipped: $1"; exit 77; }
unshare -n true 2> /dev/null || skip "no network namespace to make"
if [ "$DMTR_LIBOS" = dpdk ]; then
    [ -e "$DMTR_LIB_DIR/libdmtr-dpdk.so" ] || skip "libdmtr-dpdk.so was not built"
    command -v ethtool > /dev/null || skip "no ethtool"
    export DMTR_CONFIG="$here/dpdk.yaml"
    # DPDK's driver takes checksums as they are, so the kernel has to finish them.
    setup='echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6; ip link add kernel type veth peer name dpdk && ethtool -K kernel tx off > /dev/null &&
        ip addr add 198.18.0.1/30 dev kernel && ip link set kernel up && ip link set dpdk up'
else
    [ -c /dev/net/tun ] || skip "no tap"
    setup='echo 1 > /proc/sys/net/ipv4/ip_forward'
fi
exec unshare -n sh -c "ip link set lo up && $setup"' && exec "$@"' sh "$@"
