"""Starting, pinning and stopping the programs under measurement."""
import json
import os
import re
import resource
import signal
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / "build" / "bin"
LIMIT = 60  # seconds that any one program may take

CPUS = sorted(os.sched_getaffinity(0))
SERVER_CPU, CLIENT_CPU = CPUS[0], CPUS[-1]


class Failed(Exception):
    """A program did not do what it should; the message says which and why."""


class Skipped(Exception):
    """This machine lacks something; the message says what."""


def build():
    """Builds the programs of this folder, and tells whether that went well."""
    return subprocess.run([ROOT / "scripts" / "cmake-build.sh", "cmake", "bench_programs"]).returncode == 0


def raise_descriptor_limit():
    """For the connections that this process and its children hold."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def environment(wait=None, framing=None, config=None):
    """The environment with the settings of the library as wanted and no others, but for DMTR_LIBOS if there is no configuration."""
    unwanted = ("DMTR_WAIT", "DMTR_FRAMING", "DMTR_CONFIG") + (("DMTR_LIBOS",) if config else ())
    env = {k: v for k, v in os.environ.items() if k not in unwanted}
    if config:
        env["DMTR_CONFIG"] = str(config)
    if wait:
        env["DMTR_WAIT"] = wait
    if framing:
        env["DMTR_FRAMING"] = framing
    return env


def run(name, *args, before=(), **settings):
    """Runs a program of build/bin, by the command before if there is one, and returns the JSON it prints."""
    argv = [*before, str(BIN / name), *map(str, args)]
    try:
        done = subprocess.run(argv, env=environment(**settings), capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        raise Failed(f"{name} took more than {LIMIT} s") from None
    if done.returncode != 0:
        raise Failed(f"{name} failed ({done.returncode}): {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)


class Server:
    """A server of build/bin on a free port, while in the `with` block."""

    def __init__(self, name, *args, before=(), **settings):
        self.name, self.settings = name, settings
        self.argv = [*before, str(BIN / name), *map(str, args)]

    def __enter__(self):
        self.stderr = tempfile.TemporaryFile("w+")
        try:
            self.process = subprocess.Popen(self.argv, env=environment(**self.settings),
                                            stdout=subprocess.DEVNULL, stderr=self.stderr)
        except OSError as e:
            raise Failed(f"{self.name}: {e}") from None
        try:
            self.port = self.await_port()
        except Failed:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def await_port(self):
        for _ in range(500):
            self.stderr.seek(0)
            text = self.stderr.read()
            found = re.search(r"^listening on \S+:(\d+)$", text, re.M)
            if found:
                return int(found.group(1))
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        raise Failed(f"{self.name} did not start: {text.strip()[-500:]}")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.stderr.seek(0)
        self.said = self.stderr.read()
        self.stderr.close()

    def cpu_seconds(self):
        """CPU time that all its threads have used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
