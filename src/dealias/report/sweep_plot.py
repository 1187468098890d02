"""A picture of a sweep: the score against each setting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dealias.atomic import replacing
from dealias.errors import printable
from dealias.report.figures import COLOURS, INK, QUIET
from dealias.runs.study.sweep.importance import Importance
from dealias.runs.study.sweep.space import Parameter, Space, said
from dealias.runs.study.sweep.trial import FINISHED, PRUNED, Trial

_COLUMNS, _WIDE, _HIGH = 3, 3.6, 2.9
_LONG = 14
Style = dict[str, Any]
_STYLES: dict[str, Style] = {
    "finished": {"marker": "o", "color": COLOURS[0], "alpha": 0.85, "s": 26, "linewidths": 0},
    "pruned, its best validation": {
        "marker": "o", "facecolors": "none", "edgecolors": QUIET, "s": 26
    },
    "the best": {"marker": "*", "color": COLOURS[1], "s": 130, "zorder": 3},
    "failed or never started": {"marker": "x", "color": COLOURS[4], "s": 24, "clip_on": False},
}  # fmt: skip


def sweep_figure(
    space: Space, trials: Sequence[Trial], importances: Sequence[Importance]
) -> Figure:
    """One panel for each varied setting, the most important first.

    Args:
        space: What was tried.
        trials: Of it.
        importances: Shares that stand in the panels' titles; settings without one come last.

    Returns:
        The figure; trials without any score are crosses on the lower edge.
    """
    shares = {one.key: one.share for one in importances}
    keys = sorted(space.varied, key=lambda key: -shares.get(key, -1.0))
    columns = 2 if len(keys) == 4 else min(_COLUMNS, len(keys))
    rows = -(-len(keys) // columns)
    figure = Figure(figsize=(_WIDE * columns, _HIGH * rows + 0.4), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True).flatten()
    for axes, key in zip(grid, keys, strict=False):
        _panel(axes, key, space.space[key], trials)
        share = f" explains {shares[key]:.0%}" if key in shares else ""
        axes.set_title(f"{key}{share}", fontsize=9, color=INK, loc="left")
    for axes in grid[len(keys) :]:
        axes.set_visible(False)
    for axes in grid[::columns]:
        axes.set_ylabel("total SSIM", fontsize=8, color=INK)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8
    )  # fmt: skip
    return figure


def write_sweep_plot(
    target: Path, space: Space, trials: Sequence[Trial], importances: Sequence[Importance]
) -> None:
    """Write the picture as a PNG.

    Raises:
        DiskError: It cannot be written.
    """
    figure = sweep_figure(space, trials, importances)
    with replacing(target) as partial:
        figure.savefig(partial, format="png", dpi=150)


def _panel(axes: Axes, key: str, parameter: Parameter, trials: Sequence[Trial]) -> None:
    kinds = _kinds(trials)
    for name, chosen in kinds.items():
        places = [_place(parameter, trial.values[key]) for trial in chosen]
        reached = [trial.reached or 0.0 for trial in chosen]
        if name == "failed or never started":
            axes.scatter(
                places, [0.0] * len(places), transform=axes.get_xaxis_transform(), label=name,
                **_STYLES[name],
            )  # fmt: skip
        else:
            axes.scatter(places, reached, label=name, **_STYLES[name])
    if parameter.ends is None:
        _name_values(axes, parameter)
    elif parameter.log:
        axes.set_xscale("log")
    elif parameter.whole:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _quiet(axes)


def _kinds(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    """Trials by how they are drawn; kinds that there are."""
    done = [trial for trial in trials if trial.state == FINISHED]
    best = max(done, key=lambda trial: trial.total or 0.0, default=None)
    given_up = [trial for trial in trials if trial.state == PRUNED and trial.reached is not None]
    drawn = [*done, *given_up]
    others = [trial for trial in trials if trial.ended and trial not in drawn]
    groups = [[trial for trial in done if trial is not best], given_up, [best] if best else []]
    named = dict(zip(_STYLES, [*groups, others], strict=True))
    return {name: chosen for name, chosen in named.items() if chosen}


def _place(parameter: Parameter, value: Any) -> float:
    """Where a value stands on the axis: values of a list side by side, as they were written."""
    if parameter.ends is not None:
        return float(value)
    return float([said(one) for one in parameter.choices].index(said(value)))


def _name_values(axes: Axes, parameter: Parameter) -> None:
    names = [printable(said(one)) for one in parameter.choices]
    short = [name if len(name) <= _LONG else f"{name[: _LONG - 1]}…" for name in names]
    axes.set_xticks(range(len(short)), short)
    axes.set_xlim(-0.5, len(short) - 0.5)


def _quiet(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(QUIET)
    axes.tick_params(colors=INK, labelsize=8)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
