# Programs linked to libdmtr.so, with a selector preloaded.
. "$(dirname "$0")/program/build.bash"
cell() {
    build "$1" "$2" "$3" all.c -ldmtr
    MATRIX_SELECTOR=posix LD_PRELOAD=$DMTR_LIB_DIR/libdmtr-libos-posix.so "$3" || fail "$*: failed"
}
each cell
