# libdmtr.so exports the functions of the headers of both generations and nothing else; abi_layout.c checks the prototype of each; the
# selectors stand in for the same ones; and the static archives hold no state, only their marks.
export LC_ALL=C
status=0
here=$(dirname "$0")
same() { # what, two sorted lists
    diff <(echo "$2") <(echo "$3") > /dev/null && return
    echo "$1:"
    diff <(echo "$2") <(echo "$3")
    status=1
}
symbols() { nm -D --defined-only --with-symbol-versions "$1" | awk '$2 != "A" {print $3}' | sort; }

# The declarations of a generation, one a line.
declarations() {
    for header in $(find "$DMTR_INCLUDE_DIR" -name '*.h'); do echo "#include <${header#"$DMTR_INCLUDE_DIR"/}>"; done |
        "$CC" -std=c99 -I"$DMTR_INCLUDE_DIR" -DDMTR_API="$1" -E -P - | tr '\n' ' ' | tr ';' '\n' | grep -v '{' | grep -F 'visibility("default")'
}
names() { grep -oP '"default"\)\)\) .*?\K\bdmtr_\w+(?=\()' | sort; }
append() { sed "s/$/$1/"; }
old=$(declarations 2019 | names)
new=$(declarations 2020 | names)
for list in "$old" "$new"; do
    [ "$(wc -l <<< "$list")" -gt 40 ] || { echo "found too few functions in the headers"; status=1; }
done

# Functions whose types differ have versions of their own.
differ=$(declarations 2020 | grep -F __asm__ | names)
same "functions with types that differ (<) and those with DMTR_VERSIONED (>)" "$(declarations 2020 |
    grep -E 'dmtr_(sgarray|qresult|accept_result)_t|dmtr_connect' | names)" "$differ"

exported=$(symbols "$DMTR_LIB_DIR/libdmtr.so")
same "headers (<) and exports (>)" "$(sort <(append @@DMTR_2019 <<< "$old") <(append @DMTR_2020 <<< "$differ") \
    <(append _2020@@DMTR_2020 <<< "$differ") <(comm -13 <(echo "$old") <(echo "$new") | append @@DMTR_2020))" "$exported"
same "headers (<) and abi_layout.c (>)" "$(sort -u <<< "$old"$'\n'"$new")" \
    "$(grep -oP 'PROTOTYPE\(\Kdmtr_\w+' "$here/abi_layout.c" | sort -u)"
for selector in "$DMTR_LIB_DIR"/libdmtr-libos-*.so; do
    same "exports (<) and $selector (>)" "$exported" "$(symbols "$selector" | grep -vx dmtr_default_libos@@DMTR_2019)"
done
for archive in "$DMTR_LIB_DIR"/libdmtr-*.a; do
    same "$archive" R "$(nm --defined-only -g "$archive" | awk 'NF == 3 {print $2}')"
done
exit $status
