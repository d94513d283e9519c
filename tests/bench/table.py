"""The table of results: each line a figure of ours, its baseline, their ratio, and the bar it has to meet."""
import csv
import statistics
from dataclasses import asdict, dataclass
from typing import Optional


@dataclass
class Line:
    figure: str
    ours: Optional[float]
    unit: str
    baseline: Optional[float] = None
    ratio: Optional[float] = None
    bar: Optional[float] = None
    judged: str = "ratio"  # what the bar limits: "ratio" or "ours"
    at_least: bool = False  # the bar is a lower limit

    @property
    def verdict(self):
        value = self.ratio if self.judged == "ratio" else self.ours
        if self.bar is None or value is None:
            return ""
        met = value >= self.bar if self.at_least else value <= self.bar
        return "ok" if met else "MISSED"

    @property
    def bar_text(self):
        if self.bar is None:
            return ""
        unit = "x" if self.judged == "ratio" else f" {self.unit}"
        return f"{'>=' if self.at_least else '<='} {self.bar:g}{unit}"


def ratio_of_rounds(ours, baseline):
    """The median of the ratios round by round: what disturbs the machine for a while disturbs both sides of a round."""
    return statistics.median(a / b for a, b in zip(ours, baseline) if b)


def compare(figure, unit, ours, baseline, **bar):
    """A line from one value per round of either side."""
    return Line(figure, statistics.median(ours), unit, statistics.median(baseline), ratio_of_rounds(ours, baseline), **bar)


def number(value):
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def show(lines):
    rows = [("figure", "ours", "baseline", "", "ratio", "bar", "")]
    for line in lines:
        ratio = "" if line.ratio is None else f"{line.ratio:.3f}"
        rows.append((line.figure, number(line.ours), number(line.baseline), line.unit, ratio, line.bar_text, line.verdict))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(width) if i in (0, 3, 5, 6) else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())


def write_csv(path, lines):
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, [*asdict(lines[0]), "verdict"])
        writer.writeheader()
        for line in lines:
            writer.writerow({**asdict(line), "verdict": line.verdict})
