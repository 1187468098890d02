"""Pictures of a report, each a data URI."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from dealias.report.read import Example, Images, Json

ERROR_GAIN = 5
INK, QUIET = "#1a1a1a", "#8a8a8a"
COLOURS = ["#0b6bcb", "#c4501b", "#2a8a4a", "#8a3fa0", "#a07800", "#4a4a4a", "#008a8a", "#b03060"]


def panels(example: Example) -> list[tuple[str, str]]:
    """Titles and pictures of one slice, as of `panels_of`."""
    return panels_of(example.zero_filled_HW, example.reconstruction_HW, example.reference_HW)


def panels_of(
    zero_filled_HW: Images, reconstruction_HW: Images, reference_HW: Images
) -> list[tuple[str, str]]:
    """Titles and pictures: zero-filled, reconstruction, reference, error times five.

    All four share one window, [0, `window_of` the reference]: a reconstruction is never shown
    brighter or sharper than its reference.
    """
    top = window_of(reference_HW)
    error = ERROR_GAIN * np.abs(reconstruction_HW - reference_HW)
    images = [
        ("Zero-filled", zero_filled_HW),
        ("Reconstruction", reconstruction_HW),
        ("Reference", reference_HW),
        (f"Error ×{ERROR_GAIN}", error),
    ]
    return [(title, grey_png(image, top)) for title, image in images]


def window_of(reference_HW: Images) -> float:
    """What is shown white: the reference's 99.8th percentile, or 1 where that is 0."""
    return float(np.percentile(reference_HW, 99.8)) or 1.0


def grey_png(image_HW: Images, top: float, longest: int | None = None) -> str:
    """A grey PNG of 8 bits: 0 is black, `top` and above white, not-a-number black.

    Args:
        image_HW: The image.
        top: What is white.
        longest: Side that a larger picture is shrunk to, each pixel the mean of those it covers.
    """
    scaled = np.nan_to_num(image_HW / top, nan=0.0, posinf=1.0, neginf=0.0)
    picture = Image.fromarray((np.clip(scaled, 0, 1) * 255).round().astype(np.uint8), mode="L")
    if longest is not None:
        picture.thumbnail((longest, longest), Image.Resampling.BOX)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return _data_uri("image/png", buffer.getvalue())


def figure_png(figure: Figure) -> str:
    """A plot as a PNG with 8 bits a pixel, of twice the size it is shown at."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=140, metadata={"Software": None})
    picture = Image.open(buffer).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small = io.BytesIO()
    picture.save(small, format="PNG")
    return _data_uri("image/png", small.getvalue())


def curves(metrics: list[Json]) -> str | None:
    """Training loss and validation score by epoch as one SVG; None before the first epoch."""
    train = [row for row in metrics if row.get("kind") == "train"]
    val = [row for row in metrics if row.get("kind") == "val"]
    if not train and not val:
        return None
    figure = Figure(figsize=(9.6, 3.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    _line(left, train, "loss", "training", 0)
    _line(left, val, "loss", "validation", 1)
    left.set(xlabel="epoch", ylabel="loss")
    for index, cell in enumerate(sorted({cell for row in val for cell in row.get("cells", {})})):
        points = [row for row in val if cell in row.get("cells", {})]
        right.plot(
            [row["epoch"] for row in points],
            [row["cells"][cell] for row in points],
            marker="o", markersize=3, color=COLOURS[index % len(COLOURS)], label=cell,
        )  # fmt: skip
    # a classifier's rows have it
    told = any("accuracy" in row for row in val)
    right.set(xlabel="epoch", ylabel="slices told right" if told else "validation SSIM")
    for axes in (left, right):
        _quiet(axes)
    return _svg(figure)


def _line(axes: Any, rows: list[Json], key: str, label: str, colour: int) -> None:
    points = [(row["epoch"], row[key]) for row in rows if row.get(key) is not None]
    if points:
        mean_by_epoch: dict[float, list[float]] = {}
        for epoch, value in points:
            mean_by_epoch.setdefault(epoch, []).append(value)
        epochs = sorted(mean_by_epoch)
        values = [float(np.mean(mean_by_epoch[epoch])) for epoch in epochs]
        axes.plot(epochs, values, marker="o", markersize=3, color=COLOURS[colour], label=label)


def _quiet(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(QUIET)
    axes.tick_params(colors=INK, labelsize=8)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    if axes.get_legend_handles_labels()[0]:
        # beside the curves: with few epochs "best" lies on one of them
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))


def _svg(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return _data_uri("image/svg+xml", buffer.getvalue())


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
