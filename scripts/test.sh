#!/usr/bin/env bash
# Checks, builds and tests everything, going on after a failure. Each step leaves its exit status and, if it runs tests, a JUnit report in
# build/test; the last line counts all tests: those of Go, plain and with the race detector, and those in C and C++, plain and with
# AddressSanitizer (in the library, too); those that have threads also with ThreadSanitizer, which sees the C, and with the library's Go
# under the race detector; and a part of the test suite of Redis, its daemon, and its limits. A step that fails without a failed test counts as one.
set -u
cd "$(dirname "$0")/.."
out=$PWD/build/test
gotestsum=gotest.tools/gotestsum@v1.13.0
threaded='^(threads/.*|net/(threads|storm)|api/(stop|wait_timeout|wait_any_timeout))$'
unset DMTR_LIBOS DMTR_CONFIG DMTR_FRAMING DMTR_WAIT LD_PRELOAD
rm -rf "$out"
mkdir -p "$out"

step() {
    local name=$1
    shift
    echo "== $name"
    "$@"
    echo $? > "$out/$name.status"
}

go_tests() { # name, flags of go test
    go run $gotestsum --format pkgname --format-hide-empty-pkg --junitfile "$out/$1.xml" -- -count=1 "${@:2}" ./...
}

c_tests() { # name, build tree, options of cmake
    scripts/cmake-build.sh "$2" test_programs "${@:3}" &&
        ctest --test-dir "build/$2" -j "$(nproc)" --output-on-failure --output-junit "$out/$1.xml"
}

# Redis' own suite, a part of it, on the patched Redis beside Redis as it is. Skipped if its source, or what builds it, cannot be had.
redis() {
    local status=0
    redis-patches/build.sh || status=$?
    if [ $status -eq 77 ]; then
        echo '<testsuite><testcase classname="redis" name="build"><skipped/></testcase></testsuite>' > "$out/redis.xml"
        return
    fi
    [ $status -eq 0 ] || return $status
    redis-patches/test.sh --short "$out/redis.xml" posix raw || status=1
    redis-patches/checks/daemon.py || status=1
    redis-patches/checks/rdma.sh || [ $? -eq 77 ] || status=1
    redis-patches/checks/limits.py || status=1
    return $status
}

step build make --no-print-directory all
step check make --no-print-directory check
step go go_tests go
step go-race go_tests go-race -race
step c c_tests c cmake
step build-sanitized make --no-print-directory build/{asan,tsan,race}/lib/libdmtr.so
step c-sanitized c_tests c-sanitized asan -DDMTR_SANITIZE=address
step c-tsan c_tests c-tsan tsan -DDMTR_SANITIZE=thread "-DDMTR_TEST_ONLY=$threaded"
step c-race c_tests c-race race -DDMTR_SANITIZE=race "-DDMTR_TEST_ONLY=$threaded"
step redis redis
python3 scripts/count_tests.py "$out"
