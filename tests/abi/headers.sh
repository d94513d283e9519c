# Every header compiles alone, as C99 and as C++11, with strict warnings; so do all of them together, in reverse order and twice.
status=0
compile() { # names of headers
    local source="extern int unused;" header
    for header in "$@"; do
        source="#include <$header>"$'\n'$source
    done
    "$CC" -x c -std=c99 -Wall -Wextra -Wpedantic -Wconversion -Werror -I"$DMTR_INCLUDE_DIR" -fsyntax-only - <<< "$source" || status=1
    "$CXX" -x c++ -std=c++11 -Wall -Wextra -Wpedantic -Wconversion -Werror -I"$DMTR_INCLUDE_DIR" -fsyntax-only - <<< "$source" || status=1
}

headers=$(cd "$DMTR_INCLUDE_DIR" && find dmtr -name '*.h' | sort)
for header in $headers; do
    compile "$header"
done
compile $headers $headers
exit $status
