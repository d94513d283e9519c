# Programs linked to libdmtr.so.
. "$(dirname "$0")/program/build.bash"
cell() {
    build "$1" "$2" "$3" all.c -ldmtr
    check_bindings "$1" "$3"
    "$3" || fail "$*: failed"
}
each cell
