#!/bin/sh
# own_net.sh COMMAND...: runs a command in a network namespace of its own, where it may make taps, between which the kernel forwards. Exits with 77 if that cannot be had.
if ! [ -c /dev/net/tun ] || ! unshare -n true 2> /dev/null; then
    echo "skipped: no tap, or no network namespace to make one in"
    exit 77
fi
exec unshare -n sh -c 'ip link set lo up && echo 1 > /proc/sys/net/ipv4/ip_forward && exec "$@"' sh "$@"
