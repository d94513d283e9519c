#!/usr/bin/env bash
# tests/vm/run --nvme: the drive is there, holds what was written to it, also in the next guest if it has a file, and can be had by VFIO.
set -u
here=$(dirname "$(realpath "$0")")
fail() { echo "$*"; exit 1; }
if [ "${1-}" != inside ]; then
    tmp=$(mktemp -d)
    trap 'rm -rf "$tmp"' EXIT
    truncate -s 64M "$tmp/drive"
    "$here/run" --nvme --nvme-image "$tmp/drive" --timeout 100 -- bash "$here/nvme.sh" inside
    status=$?
    [ $status -eq 0 ] || exit $status
    [ "$(head -c 5 "$tmp/drive")" = drive ] || fail "not in the file"
    exit
fi
size=$(cat /sys/block/nvme0n1/size)
[ "$size" -eq $((64 << 11)) ] || fail "$size sectors"
[ -d /sys/class/iommu/dmar0 ] || fail "no IOMMU"
seq -f 'drive %g' 10000 | head -c 65536 > /tmp/data
dd if=/tmp/data of=/dev/nvme0n1 bs=4096 oflag=direct status=none || fail "not written"
dd if=/dev/nvme0n1 bs=4096 count=16 iflag=direct status=none | cmp - /tmp/data || fail "something else was read"

bound=$("$here/guest/nvme-bind" vfio-pci) || fail "not bound to vfio-pci"
[ -c "${bound#* }" ] || fail "no ${bound#* }"
[ ! -e /dev/nvme0n1 ] || fail "still a drive of the kernel"
"$here/guest/nvme-bind" nvme > /dev/null || fail "not bound to nvme"
for try in $(seq 100); do
    dd if=/dev/nvme0n1 bs=4096 count=16 iflag=direct status=none 2> /dev/null | cmp -s - /tmp/data && exit 0
    sleep 0.1
done
fail "something else was read after VFIO"
