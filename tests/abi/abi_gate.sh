#!/usr/bin/env bash
# The ABI gate: functions and types of libdmtr.so are those written down in libdmtr.abi, no fewer, no others, no more. `make abi-dump`
# writes that file anew (abi_gate.sh renew). It holds one line per declaration, so that a change of it can be reviewed. abi_layout.c
# checks what no function uses: dmtr_header_t, macros.
set -u -o pipefail
export LC_ALL=C
stored=$(dirname "$0")/libdmtr.abi
library=$DMTR_LIB_DIR/libdmtr.so
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

fail() { echo "$*"; exit 1; }
if ! command -v abidw > /dev/null || ! command -v abidiff > /dev/null; then
    [ "${CI-}" != true ] || fail "no abidw and abidiff (Debian: abigail-tools); with CI=true this test is not skipped"
    echo "skipped: no abidw and abidiff (Debian: abigail-tools)"
    exit 77
fi

# Types of other headers than ours are none of the ABI: abidw knows them by name only, and by this label those of the C library, too.
cat > "$tmp/private" << EOF
[suppress_type]
label = Artificial private types suppression specification
name = _IO_FILE
drop = yes
EOF
abidw --headers-dir "$DMTR_INCLUDE_DIR/dmtr" --drop-private-types --suppressions "$tmp/private" --exported-interfaces-only \
    --drop-undefined-syms --no-parameter-names --no-show-locs --no-corpus-path --no-comp-dir-path --no-elf-needed \
    --no-write-default-sizes --type-id-style hash "$library" |
    sed -Ez 's/\n {5,}//g; s/\n {4}<\//<\//g' > "$tmp/libdmtr.abi" || fail "abidw failed"

# Each function has a description: there is none without -g, for one of two functions that gcc has folded into one, and, says abidw,
# for the second of two that have the same name in C. What is at the same address is one function with several names.
grep -oP "<function-decl .*elf-symbol-id='\K[^']+" "$tmp/libdmtr.abi" > "$tmp/described"
nm -D --defined-only --with-symbol-versions "$library" | awk -v list="$tmp/described" '
    BEGIN { while ((getline name < list) > 0) described[name] }
    $2 == "T" { names[$1] = names[$1] " " $3; if ($3 in described) found[$1] }
    END { for (at in names) if (!(at in found)) print "not described:" names[at] }' | sort > "$tmp/missing"
[ ! -s "$tmp/missing" ] || fail "$(cat "$tmp/missing")"

if [ "${1-}" = renew ]; then
    cp "$tmp/libdmtr.abi" "$stored"
    exit
fi

# abidiff passes over further names of a function, and over which version is the default: the lists of symbols must be the same.
symbols() { grep -oP "<elf-symbol name=\K.*(?=/>)" "$1" | sed -E "s/ (type|visibility|alias|is-defined)='[^']*'//g"; }
status=0
diff <(symbols "$stored") <(symbols "$tmp/libdmtr.abi") || status=1
abidiff --harmless --no-show-locs "$stored" "$tmp/libdmtr.abi" || status=1
[ $status -eq 0 ] || fail "The ABI is not the one in tests/abi/libdmtr.abi. If that is meant: functions and types that programs use \
stay as they are, additions are allowed (see CONTRIBUTING.md); then run \`make abi-dump\` and commit the file with the change."
