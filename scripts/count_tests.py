#!/usr/bin/env python3
"""Adds up what the steps of test.sh left in a directory, prints the totals, and fails if anything failed."""
import pathlib
import sys
import xml.etree.ElementTree as ElementTree


def count(report):
    """(passed, failed, skipped) test cases of a JUnit report."""
    passed = failed = skipped = 0
    for case in ElementTree.parse(report).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def main():
    totals = [0, 0, 0]
    for status in sorted(pathlib.Path(sys.argv[1]).glob("*.status")):
        report = status.with_suffix(".xml")
        counts = count(report) if report.exists() else (0, 0, 0)
        if status.read_text().strip() != "0" and counts[1] == 0:
            counts = (counts[0], 1, counts[2])
        if counts[1] > 0:
            print(f"failed: {status.stem}")
        totals = [a + b for a, b in zip(totals, counts)]
    print("%d passed, %d failed, %d skipped" % tuple(totals))
    sys.exit(1 if totals[1] > 0 else 0)


main()
