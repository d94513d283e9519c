# A selector that is preloaded into programs that know nothing of it: shells, Python, and one that closes all descriptors at its start.
# They do what they do without it, and print nothing more.
set -u
here=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
unset DMTR_LIBOS DMTR_CONFIG DMTR_FRAMING DMTR_WAIT LD_PRELOAD
selector=$DMTR_LIB_DIR/libdmtr-libos-posix.so
fail() { echo "$*"; exit 1; }

# same COMMAND...: ends with the same status, and prints the same on stdout and stderr.
same() {
    local want got
    (timeout -s KILL 30 "$@" > "$tmp/want" 2> "$tmp/want.err"; exit $?) 2> /dev/null; want=$? # no word of this shell on signals
    (LD_PRELOAD=$selector timeout -s KILL 30 "$@" > "$tmp/got" 2> "$tmp/got.err"; exit $?) 2> /dev/null; got=$?
    [ $got -eq $want ] || fail "$*: exit status $got, without the library $want: $(cat "$tmp/got.err")"
    cmp "$tmp/want" "$tmp/got" && cmp "$tmp/want.err" "$tmp/got.err" || fail "$*: prints something else: $(cat "$tmp/got" "$tmp/got.err")"
}

LD_PRELOAD=$selector bash -c 'grep -q libdmtr.so /proc/$$/maps' || fail "it is not preloaded"
same bash -c 'ulimit -Sn; trap "echo trapped" USR1; kill -USR1 $$; for i in 1 2 3; do (exit $i) & wait $!; echo $?; done; ls / | sort | head -n 2'
same bash -c 'echo a | cat | sed s/a/b/; kill -SEGV $$'
same bash -c 'trap "" SEGV; kill -SEGV $$; echo alive; echo $(seq 100 | while read -r n; do [ "$n" = 50 ] && break; echo "$n"; done | wc -l)'
same bash -c 'yes | head -n 1; echo ${PIPESTATUS[0]}' # yes ends by SIGPIPE
if command -v python3 > /dev/null; then
    cat > "$tmp/p.py" << 'END'
import os, signal, subprocess, threading, time
print(subprocess.run(["sh", "-c", "exit 3"]).returncode, subprocess.check_output(["echo", "hello"]))
hits = []
signal.signal(signal.SIGALRM, lambda *a: hits.append(1))
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
end = time.time() + 0.2
while time.time() < end:
    sum(range(1000))
signal.setitimer(signal.ITIMER_REAL, 0)
print(len(hits) > 5)
t = [threading.Thread(target=lambda: sum(range(100000))) for _ in range(8)]
[x.start() for x in t]; [x.join() for x in t]
pid = os.fork()
if pid == 0:
    os._exit(7)
print(os.waitpid(pid, 0)[1], signal.getsignal(signal.SIGPIPE), sorted(os.listdir("/proc/self/fd"))[:3])
END
    same python3 "$tmp/p.py"
    same python3 -c 'import ctypes, resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); ctypes.string_at(16)'
    same python3 -c 'import faulthandler, sys, os, resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); f = open(os.devnull, "w"); faulthandler.enable(f); import ctypes; ctypes.string_at(16)'
fi
# A program that is linked to nothing of it, and closes what it has not opened itself.
"$CC" -std=c99 -D_GNU_SOURCE -I"$here/.." -I"$DMTR_INCLUDE_DIR" "$here/closefds.c" -o "$tmp/closefds" -L"$DMTR_LIB_DIR" -ldmtr -lpthread ||
    fail "closefds does not build"
export LD_LIBRARY_PATH=$DMTR_LIB_DIR
same "$tmp/closefds" start
