# Every header compiles alone, as C99 and as C++11, with strict warnings, for both generations; so do all of them together, in reverse
# order and twice. Other generations are refused.
status=0
flags=(-Wall -Wextra -Wpedantic -Wconversion -Werror -I"$DMTR_INCLUDE_DIR" -fsyntax-only)
compile() { # names of headers
    local source="extern int unused;" header
    for header in "$@"; do
        source="#include <$header>"$'\n'$source
    done
    for generation in 2019 2020; do
        "$CC" -x c -std=c99 "${flags[@]}" -DDMTR_API=$generation - <<< "$source" || status=1
        "$CXX" -x c++ -std=c++11 "${flags[@]}" -DDMTR_API=$generation - <<< "$source" || status=1
    done
}

headers=$(cd "$DMTR_INCLUDE_DIR" && find dmtr -name '*.h' | sort)
for header in $headers; do
    compile "$header"
done
compile $headers $headers
for generation in 2021 "" 2019.5; do
    "$CC" -x c "${flags[@]}" "-DDMTR_API=$generation" - <<< "#include <dmtr/types.h>" 2> /dev/null || continue
    echo "DMTR_API='$generation' is accepted"
    status=1
done
exit $status
