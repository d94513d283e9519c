"""plot.py RESULTS.json OUT.png: draws the results of run.py. Needs matplotlib."""
import json
import statistics
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

PERCENTILES = ("p50", "p99", "p99.9", "p99.99")


def medians(rounds):
    return [statistics.median(each[p] for each in rounds) / 1000 for p in PERCENTILES]


def draw_rtt(axes, title, series):
    if not series:
        axes.set_axis_off()
        return
    for name, rounds in series.items():
        axes.plot(PERCENTILES, medians(rounds), marker="o", label=name)
    axes.set(title=title, ylabel="round trip, µs", yscale="log")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()


def draw_bars(axes, lines):
    """How far each figure is from its bar: left of 1 is good."""
    judged = [line for line in lines if line["verdict"]]
    shares = []
    for line in judged:
        value = line["ratio"] if line["judged"] == "ratio" else line["ours"]
        if line["bar"] == 0:
            shares.append(value)
        else:
            shares.append(line["bar"] / value if line["at_least"] else value / line["bar"])
    colours = ["tab:green" if line["verdict"] == "ok" else "tab:red" for line in judged]
    bars = axes.barh([line["figure"].strip() for line in judged], [min(share, 2) for share in shares], color=colours)
    axes.bar_label(bars, [f" {share:.2f}" for share in shares], fontsize=8)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlim(0, 2.3)
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=7)
    axes.set(title="share of the bar used", xlabel="1 = the bar")


def main():
    with open(sys.argv[1]) as file:
        results = json.load(file)
    raw = results["raw"]
    figure, axes = plt.subplots(2, 2, figsize=(14, 10))
    echo = raw.get("echo_rtt", {})
    draw_rtt(axes[0][0], "TCP echo, 64 B, spin", {k: v for k, v in echo.items() if k.startswith("tcp")})
    draw_rtt(axes[0][1], "UDP echo, 64 B, spin", {k: v for k, v in echo.items() if k.startswith("udp")})
    draw_rtt(axes[1][0], "TCP echo with idle connections", raw.get("idle_connections", {}))
    draw_bars(axes[1][1], results["lines"])
    figure.tight_layout()
    figure.savefig(sys.argv[2], dpi=110)


if __name__ == "__main__":
    main()
