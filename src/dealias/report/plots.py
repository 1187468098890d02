"""Plots of an analysis: masks and their point-spread functions, receptive fields, histograms."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.figure import Figure

from dealias.evaluation.augmentation_facts import AugmentationFacts
from dealias.physics.sampling.mask import SamplingMask
from dealias.report.figures import COLOURS, INK, QUIET

Values = npt.NDArray[Any]
FLOOR = -60.0
"""Decibels below the largest value, under which nothing is told apart."""
UNMEASURED = "#c9c9c9"
QUANTITIES = {
    "row": "rows from the centre, share of H",
    "column": "columns from the centre, share of W",
    "extent": "extent, pixels",
    "aspect": "longer over shorter diameter",
    "angle": "angle, degrees",
}


def decibels(values: Values) -> Values:
    """Magnitudes as decibels below the largest, none below FLOOR; all FLOOR where all are 0."""
    finite = np.nan_to_num(np.asarray(values, np.float64), posinf=0.0)
    largest = finite.max(initial=0.0)
    if largest <= 0:
        return np.full(finite.shape, FLOOR)
    return np.maximum(20 * np.log10(np.maximum(finite / largest, 1e-30)), FLOOR)


def mask_and_psf(lines: Values) -> Figure:
    """A mask and the magnitude of its point-spread function.

    Args:
        lines: (W) or (H, W) bool, as of a `SamplingMask`.

    Returns:
        Two axes: where k-space was measured, and where an image's pixel is spread to before any
        reconstruction, in pixels from its own place and decibels below it.
    """
    spread = decibels(np.abs(SamplingMask(lines, (0, 0)).psf()))
    if lines.ndim == 2:
        return _planes(lines, spread)
    figure = Figure(figsize=(5.2, 3.3))
    upper, lower = figure.subplots(2, 1, height_ratios=(1, 6))
    figure.subplots_adjust(left=0.1, right=0.98, bottom=0.13, top=0.97, hspace=0.5)
    shifts = _from_centre(lines.size)
    ends = (shifts[0] - 0.5, shifts[-1] + 0.5)
    upper.imshow(lines[None], aspect="auto", cmap="gray", vmin=0, vmax=1, extent=(*ends, 0, 1),
                 interpolation="nearest")  # fmt: skip
    upper.set(yticks=[], xlabel="phase encode, lines from the centre (white: measured)")
    lower.plot(shifts, spread, color=COLOURS[0], linewidth=1)
    lower.set(xlim=ends, ylim=(FLOOR, 3), xlabel="shift along phase encode, pixels",
              ylabel="|PSF|, dB")  # fmt: skip
    _quiet(upper, lower)
    return figure


def receptive_field_plot(field_HW: Values, sampled: Values) -> Figure:
    """A receptive field in k-space, what was not measured in grey.

    Args:
        field_HW: As `receptive_field` gives it.
        sampled: The mask, (W) or (H, W) bool.
    """
    figure = Figure(figsize=(5.2, 3.3))
    axes = figure.subplots()
    figure.subplots_adjust(left=0.11, right=0.98, bottom=0.13, top=0.97)
    levels = np.ma.masked_where(~np.broadcast_to(sampled, field_HW.shape), decibels(field_HW))
    shown = _image(axes, levels, "magma", _lowest(levels.compressed()))
    axes.set_facecolor(UNMEASURED)
    axes.set(xlabel="phase encode, samples from the centre", ylabel="readout")
    bar = figure.colorbar(shown, ax=axes, label="dB below the largest", pad=0.02)
    _quiet(axes, bar.ax)
    return figure


def histogram_plot(facts: AugmentationFacts) -> Figure:
    """Where the anatomy lies before and after augmentation, one axes a quantity."""
    figure = Figure(figsize=(11.2, 2.5))
    row = figure.subplots(1, len(QUANTITIES))
    figure.subplots_adjust(left=0.05, right=0.99, bottom=0.19, top=0.81, wspace=0.24)
    for axes, (name, text) in zip(row, QUANTITIES.items(), strict=True):
        one = facts.histograms.get(name)
        if one is None:
            continue
        before, after = (_shares(counts) for counts in (one.before, one.after))
        axes.stairs(before, one.edges, fill=True, color="#cfcfcf", label="as it is")
        axes.stairs(after, one.edges, color=COLOURS[0], linewidth=1.4, label="augmented")
        axes.set_xlabel(text, fontsize=8)
        known = sum(one.before) and sum(one.after)
        title = f"overlap {one.overlap:.2f}" if known else "none: all are round"
        axes.set_title(title, fontsize=8, color=INK)
    row[0].set_ylabel("share of slices", fontsize=8)
    figure.legend(*row[0].get_legend_handles_labels(), loc="upper left", ncols=2, frameon=False,
                  fontsize=8)  # fmt: skip
    _quiet(*row)
    return figure


def _planes(lines: Values, spread: Values) -> Figure:
    figure = Figure(figsize=(5.2, 3.3))
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.09, right=0.96, bottom=0.13, top=0.97, wspace=0.28)
    _image(left, lines.astype(float), "gray", 0.0, 1.0)
    left.set(xlabel="phase encode 1, from the centre", ylabel="phase encode 2")
    shown = _image(right, spread, "magma")
    right.set(xlabel="shift, pixels")
    bar = figure.colorbar(shown, ax=right, label="|PSF|, dB", pad=0.02)
    _quiet(left, right, bar.ax)
    return figure


def _image(axes: Any, values_HW: Values, colours: str, low: float = FLOOR, high: float = 0) -> Any:
    h, w = values_HW.shape
    rows, columns = _from_centre(h), _from_centre(w)
    extent = (columns[0] - 0.5, columns[-1] + 0.5, rows[-1] + 0.5, rows[0] - 0.5)
    return axes.imshow(values_HW, cmap=colormaps[colours], vmin=low, vmax=high, extent=extent,
                       aspect="auto", interpolation="nearest")  # fmt: skip


def _lowest(levels: Values) -> float:
    """Where a colour scale of decibels begins: below nearly all of them, in steps of 5."""
    if not levels.size:
        return FLOOR
    return float(np.clip(5 * np.floor(np.percentile(levels, 1) / 5), FLOOR, -10))


def _from_centre(size: int) -> Values:
    return np.arange(size) - size // 2


def _shares(counts: tuple[int, ...]) -> Values:
    return np.asarray(counts, np.float64) / max(sum(counts), 1)


def _quiet(*several: Any) -> None:
    for axes in several:
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(QUIET)
        axes.tick_params(colors=INK, labelsize=7)
        for label in (axes.xaxis.label, axes.yaxis.label):
            label.set_fontsize(8)
