"""Pictures of the performance page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from performance_results import Result, fits, size
from performance_tables import GIB, OFFICIAL, meant

matplotlib.use("Agg")
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: E402

GREY, BLUE, TEAL, SAND = "0.62", "#2b6cb0", "#2c9c8f", "#d08a2e"
COLOURS = (GREY, BLUE, TEAL, SAND, "#8a4f9e", "#b23b3b")
MARKERS = "os^Dv"
Value = Callable[[dict[str, Any]], list[float]]


def bars(result: Result, path: Path) -> None:
    """Time or memory by row: a panel for each mode, the ratio at each bar's end."""
    memory = result.kind == "varnet-memory"
    value: Value = (lambda one: [one["peak"] / GIB] * 3) if memory else (lambda one: one["wall"])
    modes = [mode for mode in ("inference", "training") if mode in result.values]
    names = list(result.values[modes[0]])
    figure = Figure(figsize=(9.2, 1.1 + 0.3 * len(names)), layout="constrained")
    axes = figure.subplots(1, len(modes), sharey=True, squeeze=False)[0]
    for ax, mode in zip(axes, modes, strict=True):
        _bars(ax, result.values[mode], value, result.memory)
        ax.set_title(mode, fontsize=10)
        ax.set_xlabel("allocator's peak, GiB" if memory else "seconds a slice")
    axes[0].invert_yaxis()
    _save(figure, path)


def _bars(ax: Axes, found: dict[str, Any], value: Value, memory: str) -> None:
    first = value(found[OFFICIAL])[1] if fits(found[OFFICIAL]) else None
    longest = max((value(one)[2] for one in found.values() if fits(one)), default=1.0)
    ax.set_yticks(range(len(found)), list(found))
    for place, (name, one) in enumerate(found.items()):
        if not fits(one):
            ax.text(0.01 * longest, place, f"does not fit in {memory}", va="center", fontsize=8,
                    style="italic")  # fmt: skip
            continue
        low, middle, high = value(one)
        ax.barh(place, middle, color=GREY if name == OFFICIAL else BLUE, height=0.68)
        if high > low:
            ax.plot([low, high], [place, place], color="k", linewidth=1)
        text = f"{middle:.3g}" + ("" if first is None else f"  ({middle / first:.2f})")
        ax.text(high + 0.02 * longest, place, text, va="center", fontsize=8,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # fmt: skip
    if first is not None:
        ax.axvline(first, color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    ax.set_xlim(0, 1.32 * longest)
    _plain(ax)


def growth(result: Result, path: Path) -> None:
    """Seconds above, memory below; a column for each thing that grows."""
    sweeps = result.values["sweeps"]
    figure = Figure(figsize=(9.2, 5.0), layout="constrained")
    axes = figure.subplots(2, len(sweeps), sharex="col", sharey="row", squeeze=False)
    for column, (what, points) in enumerate(sweeps.items()):
        places, labels = _places(what, points)
        for name, colour in zip(points[0]["rows"], COLOURS, strict=False):
            kept = [(x, point["rows"][name]) for x, point in zip(places, points, strict=True)]
            kept = [(x, one) for x, one in kept if fits(one)]
            xs = [x for x, _ in kept]
            style = {"color": colour, "marker": "o", "markersize": 4, "linewidth": 1.6}
            axes[0, column].plot(xs, [one["wall"][1] for _, one in kept], label=name, **style)
            axes[1, column].plot(xs, [one["peak"] / GIB for _, one in kept], label=name, **style)
        axes[1, column].set_xticks(places, labels)
        axes[1, column].set_xlabel("readout x phase encode" if what == "size" else what)
        axes[0, column].set_title(_fixed(what, points[0]), fontsize=9)
    for ax in axes.flat:
        ax.set_ylim(bottom=0)
        _plain(ax)
    axes[0, 0].set_ylabel("training step, seconds")
    axes[1, 0].set_ylabel("peak, GiB")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3,
                  frameon=False, fontsize=9)  # fmt: skip
    _save(figure, path)


def _places(what: str, points: Sequence[dict[str, Any]]) -> tuple[list[float], list[str]]:
    """Where points stand on the axis: sizes by their number of samples."""
    if what != "size":
        return [float(point[what]) for point in points], [str(point[what]) for point in points]
    sides = [[int(side) for side in point["size"].split("x")] for point in points]
    return [float(a * b) for a, b in sides], [f"{a}\nx {b}" for a, b in sides]


def _fixed(what: str, point: dict[str, Any]) -> str:
    parts = {"coils": f"{point['coils']} coils", "size": size(point["size"]),
             "cascades": f"{point['cascades']} cascades"}  # fmt: skip
    return ", ".join(text for key, text in parts.items() if key != what)


def plans(result: Result, path: Path) -> None:
    """Planned over measured: on the line where the plan is right."""
    figure = Figure(figsize=(9.2, 4.4), layout="constrained")
    memory, time = figure.subplots(1, 2)
    for number, (name, case) in enumerate(result.values["cases"].items()):
        for mode, fill in (("training", COLOURS[number + 1]), ("inference", "none")):
            style: dict[str, Any] = {"marker": MARKERS[number], "s": 34, "facecolors": fill,
                                     "edgecolors": COLOURS[number + 1], "zorder": 3}  # fmt: skip
            label = name if mode == "training" else None
            pairs = [(one["measured"], one["planned"]) for one in case[mode].values()]
            pairs = [(truth, plan) for truth, plan in pairs if fits(truth)]
            sizes = [(truth["peak"] / GIB, plan["peak"] / GIB) for truth, plan in pairs]
            spans = [(meant(result, truth)[1], plan["seconds"]) for truth, plan in pairs]
            memory.scatter(*zip(*sizes, strict=True), label=label, **style)
            time.scatter(*zip(*spans, strict=True), **style)
    _diagonal(memory, 0.05, "GiB")
    _diagonal(time, 0.25, "seconds")
    memory.set_title("allocator's peak; band: 5 %", fontsize=9)
    time.set_title("time; band: 25 %", fontsize=9)
    figure.legend(loc="outside upper center", ncols=5, frameon=False, fontsize=8)
    _save(figure, path)


def _diagonal(ax: Axes, band: float, unit: str) -> None:
    offsets = [xy for one in ax.collections for xy in one.get_offsets().tolist()]
    values = [value for xy in offsets for value in xy]
    low, high = 0.7 * min(values), 1.4 * max(values)
    ax.fill_between([low, high], [low * (1 - band), high * (1 - band)],
                    [low * (1 + band), high * (1 + band)], color="0.9", zorder=0)  # fmt: skip
    ax.plot([low, high], [low, high], color="0.4", linewidth=1, zorder=1)
    ax.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), aspect="equal",
           xlabel=f"measured, {unit}", ylabel=f"planned, {unit}")  # fmt: skip
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    _plain(ax)


def loader(result: Result, path: Path) -> None:
    """Slices a second until they are copied, files beside cache."""
    cases = [one for one in result.values["cases"] if one["until"] == "copied"]
    groups = list(dict.fromkeys((one["state"], one["workers"]) for one in cases))
    sources = list(dict.fromkeys(one["from"] for one in cases))
    figure = Figure(figsize=(9.2, 3.2), layout="constrained")
    ax = figure.subplots()
    wide = 0.8 / len(sources)
    for number, source in enumerate(sources):
        own = {(one["state"], one["workers"]): one for one in cases if one["from"] == source}
        for place, group in enumerate(groups):
            speed = 1 / own[group]["seconds"][1]
            at = place + (number - (len(sources) - 1) / 2) * wide
            ax.bar(at, speed, 0.92 * wide, color=(GREY, BLUE)[number % 2],
                   label=source if place == 0 else None)  # fmt: skip
            ax.text(at, speed, f"{speed:.3g}", ha="center", va="bottom", fontsize=8)
    ax.set_xticks(range(len(groups)), [f"{state}, {count} worker{'' if count == 1 else 's'}"
                                       for state, count in groups])  # fmt: skip
    ax.set_ylabel("slices a second")
    ax.margins(y=0.12)
    ax.legend(frameon=False, fontsize=9)
    _plain(ax)
    _save(figure, path)


def _plain(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=8)
    ax.xaxis.label.set_size(9)
    ax.yaxis.label.set_size(9)


def _save(figure: Figure, path: Path) -> None:
    """Without date or version in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130, metadata={"Software": None})
