# libdmtr.so needs the C library and nothing else, and programs look for it by its SONAME, which is there beside the file.
status=0
dynamic=$(readelf -dW "$DMTR_LIB_DIR/libdmtr.so")
others=$(grep -oP '\(NEEDED\).*\[\K[^]]+' <<< "$dynamic" | grep -vxE 'libc\.so\.6|ld-linux.*')
[ -z "$others" ] || { echo "libdmtr.so also needs" $others; status=1; }
others=$(ldd "$DMTR_LIB_DIR/libdmtr.so" | grep -vE 'linux-vdso|libc\.so\.6|ld-linux')
[ -z "$others" ] || { echo "ldd also finds" $others; status=1; }
grep -qF 'soname: [libdmtr.so.1]' <<< "$dynamic" || { echo "SONAME is not libdmtr.so.1"; status=1; }
[ "$DMTR_LIB_DIR/libdmtr.so.1" -ef "$DMTR_LIB_DIR/libdmtr.so" ] || { echo "libdmtr.so.1 is not libdmtr.so"; status=1; }
for selector in "$DMTR_LIB_DIR"/libdmtr-libos-*.so; do
    dynamic=$(readelf -dW "$selector")
    grep -qF 'Filter library: [libdmtr.so.1]' <<< "$dynamic" || { echo "$selector is no filter of libdmtr.so.1"; status=1; }
    grep -qF "soname: [${selector##*/}]" <<< "$dynamic" || { echo "SONAME of $selector is not its name"; status=1; }
done
exit $status
