# What `make install` puts where, that programs link with a plain -ldmtr, and that `make uninstall` leaves nothing.
. "$(dirname "$0")/lib/staged.sh"
stage=$tmp/stage
installed() { (cd "$stage" && find . \( -type f -o -type l \) -printf '%P %m %l\n' | sort); }

try() { # PREFIX, LIBDIR, variables
    local lib=${2#/} include=${1#/}/include selector want
    make_here install-built DESTDIR="$stage" PREFIX="$1" "${@:3}"
    want=$({
        echo "$lib/libdmtr.so.1 755 "
        echo "$lib/libdmtr.so 777 libdmtr.so.1"
        (cd "$DMTR_LIB_DIR" && ls libdmtr-libos-*.so libdmtr-dpdk.so libdmtr-rdma.so 2> /dev/null | sed "s|.*|$lib/& 755 |" && ls libdmtr-*.a | sed "s|.*|$lib/& 644 |")
        (cd "$DMTR_INCLUDE_DIR" && find dmtr -name '*.h' | sed "s|.*|$include/& 644 |")
        for file in pkgconfig/dmtr.pc cmake/dmtr/dmtr-config.cmake cmake/dmtr/dmtr-config-version.cmake; do
            echo "$lib/$file 644 "
        done
    } | sort)
    diff <(echo "$want") <(installed) || fail "expected (<) and installed (>) with PREFIX=$1 ${*:3}"
    [ "$(echo "$want" | wc -l)" -gt 15 ] || fail "too few files"
    cmp "$DMTR_LIB_DIR/libdmtr.so" "$stage$2/libdmtr.so.1" || fail "installed another library"
    grep -rlE "@[A-Z]+@" "$stage$2/pkgconfig" "$stage$2/cmake" && fail "a place in a template is not filled"

    for language in "$CC -std=c99" "$CXX -std=c++11 -x c++"; do
        $language -Wall -Wextra -Werror -I"$stage$1/include" "$app" -o "$tmp/app" -x none -L"$stage$2" -ldmtr || fail "does not link with -ldmtr"
        LD_LIBRARY_PATH=$stage$2 expect_run "$tmp/app" "$stage$2" none
    done

    : > "$stage$2/other.so"
    : > "$stage$1/include/dmtr/other.h"
    make_here uninstall DESTDIR="$stage" PREFIX="$1" "${@:3}"
    [ "$(installed)" = "$(printf '%s 644 \n' "$include/dmtr/other.h" "$lib/other.so" | sort)" ] || fail "after uninstall: $(installed)"
    rm "$stage$1/include/dmtr/other.h" "$stage$2/other.so"
    make_here uninstall DESTDIR="$stage" PREFIX="$1" "${@:3}"
    [ -z "$(find "$stage" -name '*dmtr*')" ] || fail "uninstall leaves folders: $(find "$stage" -name '*dmtr*')"
}

try /opt/x /opt/x/lib
try /usr /usr/lib/x86_64-linux-gnu LIBDIR=/usr/lib/x86_64-linux-gnu

# Twice in a row, as for a new version; and the archives of old.
make_here install-built DESTDIR="$stage" PREFIX=/usr
make_here install-built DESTDIR="$stage" PREFIX=/usr
"$CC" -I"$stage/usr/include" "$app" -o "$tmp/app" -L"$stage/usr/lib" -l:libdmtr-libos-posix.so -l:libdmtr-latency.a -l:libdmtr-libos-common.a ||
    fail "does not link with the line of old"
LD_LIBRARY_PATH=$stage/usr/lib expect_run "$tmp/app" "$stage/usr/lib" posix
