# Programs in C and C++ build with what pkg-config says and run, wherever the installed tree is, moved after installation or below a sysroot.
. "$(dirname "$0")/lib/staged.sh"
need_command pkg-config

try() { # folder with the prefix, LIBDIR below it
    local lib=$1/$2
    export PKG_CONFIG_PATH=$lib/pkgconfig
    pkg-config --exists --print-errors 'dmtr >= 1' || fail "no dmtr >= 1 in $PKG_CONFIG_PATH"
    pkg-config --exists 'dmtr >= 2' && fail "the version is not 1"
    for language in "$CC -std=c99" "$CXX -std=c++11 -x c++"; do
        # shellcheck disable=SC2046
        $language -Wall -Wextra -Werror "$app" -o "$tmp/app" -x none $(pkg-config --cflags --libs dmtr) || fail "does not build in $1"
        LD_LIBRARY_PATH=$lib expect_run "$tmp/app" "$lib" none
    done
    # In the end the folders named are those of this tree.
    local flag named
    for flag in --cflags-only-I --libs-only-L; do
        named=$(pkg-config $flag dmtr)
        case $(realpath -m "${named:2}") in "$1"/*) ;; *) fail "$flag gives $named" ;; esac
    done
}

tmp=$(realpath "$tmp")
make_here install-built DESTDIR="$tmp/stage" PREFIX=/opt/x
try "$tmp/stage/opt/x" lib
mkdir -p "$tmp/a/b"
mv "$tmp/stage/opt/x" "$tmp/a/b/moved"
try "$tmp/a/b/moved" lib
make_here install-built DESTDIR="$tmp/multi" PREFIX=/usr LIBDIR=/usr/lib/x86_64-linux-gnu
try "$tmp/multi/usr" lib/x86_64-linux-gnu
export PKG_CONFIG_SYSROOT_DIR=$tmp/multi
try "$tmp/multi/usr" lib/x86_64-linux-gnu
