# Programs that open libdmtr.so, or a selector, when they run, and look up the functions of their generation.
. "$(dirname "$0")/program/build.bash"
cell() {
    build "$1" "$2" "$3" all.c -DUSE_DLOPEN
    [ -z "$(bindings "$3")" ] || fail "$3 is linked to the library"
    for library in libdmtr.so libdmtr-libos-posix.so; do
        MATRIX_LIBRARY=$library "$3" || fail "$*: failed with $library"
    done
}
each cell
