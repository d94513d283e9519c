# libdmtr.so exports the functions of the headers and nothing else; abi_layout.c checks the prototype of each; the selectors stand in
# for the same ones; and the static archives hold no state, only their marks.
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

declared=$(for header in $(find "$DMTR_INCLUDE_DIR" -name '*.h'); do echo "#include <${header#"$DMTR_INCLUDE_DIR"/}>"; done |
    "$CC" -std=c99 -I"$DMTR_INCLUDE_DIR" -E -P - | tr '\n' ' ' | tr ';' '\n' | grep -v '{' |
    grep -oP 'visibility\("default"\)\)\) .*?\K\bdmtr_\w+(?=\()' | sort)
[ "$(echo "$declared" | wc -l)" -gt 40 ] || { echo "found too few functions in the headers"; status=1; }

exported=$(symbols "$DMTR_LIB_DIR/libdmtr.so")
same "headers (<) and exports (>)" "$(sed s/$/@@DMTR_2019/ <<< "$declared" | sort)" "$exported"
same "headers (<) and abi_layout.c (>)" "$declared" "$(grep -oP 'PROTOTYPE\(\Kdmtr_\w+' "$here/abi_layout.c" | sort)"
for selector in "$DMTR_LIB_DIR"/libdmtr-libos-*.so; do
    same "exports (<) and $selector (>)" "$exported" "$(symbols "$selector" | grep -vx dmtr_default_libos@@DMTR_2019)"
done
for archive in "$DMTR_LIB_DIR"/libdmtr-*.a; do
    same "$archive" R "$(nm --defined-only -g "$archive" | awk 'NF == 3 {print $2}')"
done
exit $status
