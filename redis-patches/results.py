#!/usr/bin/env python3
"""Reads what run-tests.sh leaves.

results.py list LOG                 prints a line for each test of a log: status, unit, name
results.py compare XML BASE LIST... prints what differs from BASE, writes a JUnit report, and fails if a test that is ok in BASE is
                                    not in a LIST. A test that has failed in both counts as skipped, and so does a LIST that is not there.
"""
import collections
import os
import re
import sys
import xml.etree.ElementTree as ElementTree


def read_log(path):
    """Yields (status, unit, name) for each test that has run, and for each exception."""
    unit = "none"
    for line in open(path, errors="replace"):
        if match := re.match(r"Testing (\S+)", line):
            unit = match[1]
        elif match := re.match(r"\[(ok|err|skip|exception)\]: (.*)", line):
            name = re.sub(r" \(\d+ ms\)$| in tests/\S+\.tcl$", "", match[2])
            yield match[1], unit, name.replace("\t", " ")


def read_list(path):
    """{(unit, name): [status, ...]}: there are names that several tests have."""
    tests = collections.defaultdict(list)
    for line in open(path):
        status, unit, name = line.rstrip("\n").split("\t")
        tests[unit, name].append(status)
    return tests


def compare(base, tests):
    """Yields (unit, name, status in base, status) for each test of either."""
    for key in sorted(base.keys() | tests.keys()):
        was, now = base.get(key, []), tests.get(key, [])
        for i in range(max(len(was), len(now))):
            yield *key, was[i] if i < len(was) else "absent", now[i] if i < len(now) else "absent"


def add_cases(suite, mode, rows):
    for unit, name, was, now in rows:
        if now == "skip":
            continue
        case = ElementTree.SubElement(suite, "testcase", classname=f"redis.{mode}.{unit}", name=name)
        if failed(was, now):
            ElementTree.SubElement(case, "failure", message=f"{now}, vanilla: {was}")
        elif now != "ok":
            ElementTree.SubElement(case, "skipped", message=f"{now}, vanilla: {was}")


def failed(was, now):
    return was in ("ok", "absent") and now not in ("ok", "skip")


def main():
    if sys.argv[1] == "list":
        for row in read_log(sys.argv[2]):
            print(*row, sep="\t")
        return 0
    base = read_list(sys.argv[3])
    suite = ElementTree.Element("testsuite")
    worse = False
    for path in sys.argv[4:]:
        mode = os.path.basename(path).removesuffix(".list")
        if not os.path.exists(path):
            print(f"{mode}: skipped")
            case = ElementTree.SubElement(suite, "testcase", classname="redis", name=mode)
            ElementTree.SubElement(case, "skipped")
            continue
        rows = list(compare(base, read_list(path)))
        count = collections.Counter(now for _, _, _, now in rows)
        print(f"{mode}: " + ", ".join(f"{n} {status}" for status, n in sorted(count.items())))
        for unit, name, was, now in rows:
            if was != now:
                print(f"  {unit}: {name}: {now}, vanilla: {was}")
        worse = worse or not count["ok"] or any(failed(was, now) for _, _, was, now in rows)
        add_cases(suite, mode, rows)
    ElementTree.ElementTree(suite).write(sys.argv[2])
    return 1 if worse else 0


sys.exit(main())
