#!/usr/bin/env bash
# cmake-build.sh TREE TARGET [OPTION...]: builds a target of the C and C++ programs in build/TREE.
set -eu
cd "$(dirname "$0")/.."
tree=build/$1 target=$2
shift 2
mkdir -p "$tree"
cmake -S . -B "$tree" "$@" > "$tree/configure.log" 2>&1 || { cat "$tree/configure.log"; exit 1; }
cmake --build "$tree" --target "$target" -j "$(nproc)" > "$tree/build.log" 2>&1 || { cat "$tree/build.log"; exit 1; }
