# Programs linked to a selector, which do not name libdmtr.so.
. "$(dirname "$0")/program/build.bash"
cell() {
    build "$1" "$2" "$3" all.c -l:libdmtr-libos-posix.so
    check_bindings "$1" "$3"
    MATRIX_SELECTOR=posix "$3" || fail "$*: failed"
}
each cell
