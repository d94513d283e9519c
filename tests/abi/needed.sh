# libdmtr.so needs the C library and nothing else, and is found under its plain name.
status=0
dynamic=$(readelf -dW "$DMTR_LIB_DIR/libdmtr.so")
others=$(grep -oP '\(NEEDED\).*\[\K[^]]+' <<< "$dynamic" | grep -vxE 'libc\.so\.6|ld-linux.*')
[ -z "$others" ] || { echo "libdmtr.so also needs" $others; status=1; }
others=$(ldd "$DMTR_LIB_DIR/libdmtr.so" | grep -vE 'linux-vdso|libc\.so\.6|ld-linux')
[ -z "$others" ] || { echo "ldd also finds" $others; status=1; }
grep -qF 'soname: [libdmtr.so]' <<< "$dynamic" || { echo "SONAME is not libdmtr.so"; status=1; }
exit $status
