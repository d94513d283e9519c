# For the tests of this folder, which source it: they build programs of both generations, in both languages.
set -u
programs=$(cd "$(dirname "$0")" && pwd)/program
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export LD_LIBRARY_PATH=$DMTR_LIB_DIR
unset DMTR_LIBOS DMTR_CONFIG DMTR_FRAMING DMTR_WAIT LD_PRELOAD MATRIX_LIBRARY MATRIX_SELECTOR
cd "$tmp" || exit 1

fail() { echo "$*"; exit 1; }

# build GENERATION LANGUAGE OUTPUT SOURCE [FLAG...]
build() {
    local generation=$1 language=$2 output=$3 source=$4 compiler
    shift 4
    compiler=("$CC" -std=c99 -x c)
    [ "$language" = c++11 ] && compiler=("$CXX" -std=c++11 -x c++)
    "${compiler[@]}" -O1 -Wall -Wextra -Werror -DDMTR_API="$generation" -I"$DMTR_INCLUDE_DIR" "$programs/$source" -x none \
        -L"$DMTR_LIB_DIR" "$@" -ldl -o "$output" || fail "$output ($generation, $language, $*) does not build"
}

# each COMMAND...: runs it with every generation and language, and the name of a program to build.
each() {
    local generation language
    for generation in 2019 2020; do
        for language in c99 c++11; do
            echo "$generation $language"
            "$@" $generation $language ./program-$generation-$language
        done
    done
}

# bindings FILE: the functions that it asks for, as NAME@VERSION.
bindings() { readelf -W --dyn-syms "$1" | grep -oP ' UND \Kdmtr_[^ ]*' | sort; }

# check_bindings GENERATION FILE: it asks for functions of its generation alone, all of those that differ.
check_bindings() {
    local differ got others
    differ=$(nm -D --defined-only --with-symbol-versions "$DMTR_LIB_DIR/libdmtr.so" | grep -oP 'dmtr_\w+(?=@DMTR_2020)' | sort)
    [ "$(wc -l <<< "$differ")" -eq 11 ] || fail "functions of both generations: $differ"
    got=$(bindings "$2" | grep -E "^($(paste -sd'|' <<< "$differ"))@")
    [ "$got" = "$(sed "s/$/@DMTR_$1/" <<< "$differ")" ] || fail "$2 of $1 asks for $got"
    others=$(bindings "$2" | grep -vE '@DMTR_2019$' | grep -vFx "$got")
    [ "$1" = 2020 ] && others=$(grep -vx dmtr_sztoi@DMTR_2020 <<< "$others")
    [ -z "$others" ] || fail "$2 of $1 asks for $others"
}
