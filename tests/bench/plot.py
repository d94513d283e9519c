"""plot.py RESULTS.json OUT.png: draws the results of run.py. Needs matplotlib."""
import json
import statistics
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

PERCENTILES = ("p50", "p99", "p99.9", "p99.99")


def draw_rtt(axes, title, series):
    percentiles = [p for p in PERCENTILES if all(p in rounds[0] for rounds in series.values())]
    for name, rounds in series.items():
        axes.plot(percentiles, [statistics.median(each[p] for each in rounds) / 1000 for p in percentiles], marker="o", label=name)
    axes.set(title=title, ylabel="round trip, µs", yscale="log")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()


def draw_rdma(axes, raw):
    """Gbit/s, a group for each size of messages."""
    sizes = sorted({int(name.split(", ")[1]) for name in raw})
    for i, program in enumerate(("dmtr", "ib_send_bw")):
        rates = [statistics.median(each["gbit_per_s"] for each in raw[f"{program}, {size}"]) for size in sizes]
        axes.bar_label(axes.bar([at + 0.4 * i for at in range(len(sizes))], rates, 0.38, label=program), fmt=" %.3f", fontsize=8)
    axes.set_xticks([at + 0.2 for at in range(len(sizes))], [f"{size >> 10} KiB" for size in sizes])
    axes.set(title="RDMA in a guest, one connection", ylabel="Gbit/s")
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


def draw_redis(axes, lines):
    """Requests of Redis on libdmtr, in those of vanilla Redis."""
    names = [line["figure"].replace("Redis ", "") for line in lines]
    bars = axes.barh(names, [line["ratio"] for line in lines], color=["tab:blue" if "posix" in name else "tab:orange" for name in names])
    axes.bar_label(bars, [f" {line['ours']:,.0f} / s" for line in lines], fontsize=8)
    axes.axvline(1, color="black", linewidth=1)
    axes.margins(x=0.2)
    axes.invert_yaxis()
    axes.set(title="Redis on libdmtr against Debian's over loopback", xlabel="1 = Debian's redis-server in the same run")


def panels(raw, lines):
    """What there is to draw: functions of axes."""
    echo = raw.get("echo_rtt", {})
    for title, series in (("TCP echo, 64 B, spin", {k: v for k, v in echo.items() if k.startswith("tcp")}),
                          ("UDP echo, 64 B, spin", {k: v for k, v in echo.items() if k.startswith("udp")}),
                          ("TCP echo with idle connections", raw.get("idle_connections", {})),
                          ("RDMA echo in a guest, 64 B, spin", raw.get("rdma_echo", {})),
                          ("RDMA echo on each of so many connections", raw.get("rdma_many", {}))):
        if series:
            yield lambda axes, title=title, series=series: draw_rtt(axes, title, series)
    if "rdma_bulk" in raw:
        yield lambda axes: draw_rdma(axes, raw["rdma_bulk"])
    redis = [line for line in lines if line["figure"].startswith("Redis") and line["unit"] == "requests/s"]
    if redis:
        yield lambda axes: draw_redis(axes, redis)
    if any(line["verdict"] for line in lines):
        yield lambda axes: draw_bars(axes, lines)


def main():
    with open(sys.argv[1]) as file:
        results = json.load(file)
    drawn = list(panels(results["raw"], results["lines"]))
    columns = 2 if len(drawn) > 1 else 1
    rows = max(1, (len(drawn) + columns - 1) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(7 * columns, 5 * rows), squeeze=False)
    for each in axes.flat:
        each.set_axis_off()
    for each, draw in zip(axes.flat, drawn):
        each.set_axis_on()
        draw(each)
    figure.tight_layout()
    figure.savefig(sys.argv[2], dpi=110)


if __name__ == "__main__":
    main()
