# Programs in C and C++ build with find_package(dmtr) and run, for both generations and with a selector, also after the tree has moved.
. "$(dirname "$0")/lib/staged.sh"
need_command cmake
mkdir "$tmp/project"
cat > "$tmp/project/CMakeLists.txt" << EOF
cmake_minimum_required(VERSION 3.13)
project(app C CXX)
find_package(dmtr \${WANT} CONFIG REQUIRED)
find_package(dmtr CONFIG REQUIRED) # twice is allowed
configure_file("$app" app.c COPYONLY)
configure_file("$app" app.cc COPYONLY)
foreach(language c cc)
  add_executable(plain_\${language} app.\${language})
  target_link_libraries(plain_\${language} PRIVATE dmtr::dmtr)
  add_executable(posix_\${language} app.\${language})
  target_link_libraries(posix_\${language} PRIVATE dmtr::libos-posix)
  add_executable(api2020_\${language} app.\${language})
  target_link_libraries(api2020_\${language} PRIVATE dmtr::dmtr)
  target_compile_definitions(api2020_\${language} PRIVATE DMTR_API=2020)
endforeach()
EOF

configure() { # folder with the prefix, version wanted
    cmake -S "$tmp/project" -B "$tmp/build" -Udmtr_DIR -DCMAKE_PREFIX_PATH="$1" -DWANT="$2" -DCMAKE_C_COMPILER="$CC" -DCMAKE_CXX_COMPILER="$CXX" \
        -DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF > "$tmp/log" 2>&1
}
try() { # folder with the prefix, LIBDIR below it
    rm -rf "$tmp/build"
    configure "$1" 1 || fail "$(cat "$tmp/log")"
    cmake --build "$tmp/build" > "$tmp/log" 2>&1 || fail "$(cat "$tmp/log")"
    for language in c cc; do
        expect_run "$tmp/build/plain_$language" "$1/$2" none
        expect_run "$tmp/build/posix_$language" "$1/$2" posix
        expect_run "$tmp/build/api2020_$language" "$1/$2" none
    done
}

make_here install-built DESTDIR="$tmp/stage" PREFIX=/opt/x
try "$tmp/stage/opt/x" lib
mkdir -p "$tmp/a/b"
mv "$tmp/stage/opt/x" "$tmp/a/b/moved"
try "$tmp/a/b/moved" lib
make_here install-built DESTDIR="$tmp/multi" PREFIX=/usr LIBDIR=/usr/lib/x86_64-linux-gnu
try "$tmp/multi/usr" lib/x86_64-linux-gnu

version=$(sed -n 's/^VERSION := //p' "$root/Makefile")
for want in "" 1.0 1...2 0.5...1.999 0.5...$version; do
    configure "$tmp/multi/usr" "$want" || fail "$version does not meet '$want': $(cat "$tmp/log")"
done
for want in 0.9 1.999 2 2...3 "0.5...<$version"; do
    configure "$tmp/multi/usr" "$want" && fail "$version meets '$want'"
    grep -q 'compatible with requested\|requested version' "$tmp/log" || fail "'$want' fails otherwise: $(cat "$tmp/log")"
done
exit 0
