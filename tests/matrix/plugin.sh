# A program of one generation opens a plugin of the other, in both languages: there is one library, for both.
. "$(dirname "$0")/program/build.bash"
pair() { # generation and language of the program, program
    local other=$((2019 + 2020 - $1)) plugin=./plugin-$1-$2.so
    build "$1" "$2" "$3" host.c -ldmtr
    build $other "$2" "$plugin" plugin.c -shared -fPIC -ldmtr
    bindings "$plugin" | grep -qx "dmtr_wait@DMTR_$other" || fail "$plugin asks for $(bindings "$plugin")"
    "$3" "$plugin" || fail "$*: failed"
}
each pair
