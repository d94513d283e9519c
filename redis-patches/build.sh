#!/usr/bin/env bash
# build.sh [SOURCE]: builds Redis from Debian's source package in build/redis, twice: as it is (vanilla) and patched for libdmtr (dmtr).
# Beside them it puts Debian's own programs (debian), the baseline of measurements. What is done already is not done again.
# SOURCE is a folder with Debian's source, unpacked; without one apt fetches it. Exits with 77 if there is no source to be had.
# Needs `make lib`. The patches have to fit without fuzz.
set -eu
cd "$(dirname "$0")/.."
readonly root=$PWD version=7.0.15
readonly out=$root/build/redis series=$root/redis-patches/$version
readonly options=(BUILD_TLS=no USE_JEMALLOC=yes USE_SYSTEM_JEMALLOC=yes)
export GIT_CEILING_DIRECTORIES=$out # Redis notes the commit it was built from, which is not one of this repository

fail() { echo "build.sh: $1" >&2; exit "${2-1}"; }

quietly() { # LOG COMMAND...: shows the end of what the command prints if it fails
    "${@:2}" > "$1" 2>&1 || { tail -n 30 "$1" >&2; return 1; }
}

# apt_get ...: with the machine's package sources, of which it wants the source packages too, in folders of our own.
apt_get() {
    local apt=$out/apt f
    if [ ! -d "$apt" ]; then
        mkdir -p "$apt/sources" "$apt/lists/partial" "$apt/cache/archives/partial"
        for f in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
            case $f in
            *.sources) sed 's/^Types:.*/Types: deb deb-src/' "$f" > "$apt/sources/${f##*/}" ;;
            *.list) [ ! -e "$f" ] || sed -n 'p; s/^deb /deb-src /p' "$f" > "$apt/sources/${f##*/}" ;;
            esac
        done
        quietly "$out/apt.log" apt_get update || { rm -rf "$apt"; return 1; }
    fi
    apt-get -q -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$apt/sources" -o Dir::State::lists="$apt/lists" \
        -o Dir::Cache="$apt/cache" -o APT::Sandbox::User="$(id -un)" "$@"
}

# fetch_source [SOURCE]: puts the unpacked source in build/redis/source.
fetch_source() {
    [ ! -e "$out/source" ] || return 0
    local new=$out/source.new
    rm -rf "$new"
    mkdir -p "$new"
    if [ -n "${1-}" ]; then
        cp -a "$1/." "$new"
    else
        echo "fetching Debian's source of Redis"
        (cd "$new" && apt_get source redis) > "$out/fetch.log" 2>&1 || { tail "$out/fetch.log" >&2; fail "no source of Redis; build.sh SOURCE takes one from a folder" 77; }
        [ -d "$new/redis-$version" ] || fail "Debian's Redis is not $version here: $(echo "$new"/*.dsc)" 77
        mv "$new/redis-$version" "$new.tree"
        rm -rf "$new"
        mv "$new.tree" "$new"
    fi
    grep -q "REDIS_VERSION \"$version\"" "$new/src/version.h" || fail "not the source of Redis $version: $1"
    rm -rf "$new/.git" "$new/.pc"
    mv "$new" "$out/source"
}

# tree NAME STAMP [PATCH...]: a tree of the source with these patches, made anew if the stamp differs from the one it was made with.
tree() {
    local to=$out/$1 stamp=$2 patch
    [ "$(cat "$to/.stamp" 2> /dev/null)" = "$stamp" ] && return
    rm -rf "$to"
    cp -a "$out/source" "$to"
    for patch in "${@:3}"; do
        quietly "$out/patch.log" patch -d "$to" -p1 -F 0 -i "$patch" || fail "${patch##*/} does not apply"
        ! grep -q offset "$out/patch.log" || echo "note: with an offset: ${patch##*/}"
    done
    echo "$stamp" > "$to/.stamp"
}

# compile NAME OPTION... The patched Redis is optimized as later releases of Redis are by default, which is worth some percent.
compile() {
    quietly "$out/$1.log" make -C "$out/$1/src" -j "$(nproc)" all "${options[@]}" "${@:2}" || fail "$1 does not build, see $out/$1.log"
}

fetch_debian() {
    [ ! -e "$out/debian" ] || return 0
    local new=$out/debian.new deb
    rm -rf "$new"
    mkdir -p "$new"
    (cd "$new" && apt_get download redis-server redis-tools liblzf1) > "$out/debian.log" 2>&1 || { echo "note: Debian's own programs cannot be had" >&2; return 0; }
    for deb in "$new"/*.deb; do
        dpkg -x "$deb" "$new"
    done
    mv "$new" "$out/debian"
}

for tool in dpkg-source dpkg patch pkg-config tclsh; do
    command -v $tool > /dev/null || fail "no $tool; run scripts/install-deps.sh redis" 77
done
echo '#include <jemalloc/jemalloc.h>' | cc -fsyntax-only -x c - 2> /dev/null || fail "no libjemalloc-dev; run scripts/install-deps.sh redis" 77
mkdir -p "$out"
fetch_source "${1-}"
fetch_debian
tree vanilla "$version"
tree dmtr "$(cat "$series"/*.patch include/dmtr/*.h include/dmtr/*/*.h | cksum)" "$series"/*.patch
compile vanilla
compile dmtr OPTIMIZATION="-O3 -flto=auto" USE_DMTR=yes DMTR_DIR="$root" REDIS_LDFLAGS="-Wl,-rpath,$root/build/lib"
