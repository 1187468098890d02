"""What the page shows of an analysis, as plain values for its template."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from dealias.errors import printable
from dealias.evaluation.augmentation_facts import AugmentationFacts, Limits
from dealias.report.figures import ERROR_GAIN, figure_png, grey_png, panels_of, window_of
from dealias.report.plots import histogram_plot, mask_and_psf, receptive_field_plot
from dealias.report.read import Json
from dealias.runs.analysis_file import Analysis, CellFacts, Images

THUMBNAIL = 176
"""Longest side, in pixels, of pictures of which there are many."""
NAMES = {
    "max_translation": "translation, share of H and of W",
    "max_rotation": "rotation, degrees",
    "max_shear": "shear, degrees",
    "max_scaling": "scaling",
}
MISSING = {"cascades": "No images of cascades", "field": "No receptive field"}


def cell_views(analysis: Analysis) -> list[Json]:
    """Each cell's slice from inside: title, mask, field, maps, cascades, what is missing."""
    return [
        _cell(facts, arrays)
        for facts, arrays in zip(analysis.facts.cells, analysis.cells, strict=True)
    ]


def error_views(analysis: Analysis) -> list[Json]:
    """Each cell's median and worst slice with its error."""
    pairs = zip(analysis.facts.slices, analysis.slices, strict=True)
    return [
        {
            "cell": _label(facts.cell),
            "which": facts.which,
            "name": printable(facts.name),
            "z": facts.z,
            "ssim": facts.ssim,
            "nrmse": relative_error(arrays["image"], arrays["reference"]),
            "panels": panels_of(arrays["zero_filled"], arrays["image"], arrays["reference"]),
        }
        for facts, arrays in pairs
    ]


def augmentation_views(analysis: Analysis) -> list[Json]:
    """Each anatomy's histograms, limits and noise."""
    return [_anatomy(name, facts) for name, facts in analysis.facts.augmentation.items()]


def relative_error(image_HW: Images, reference_HW: Images) -> float:
    """||image - reference|| / ||reference||; 0 for two blank images."""
    off = float(np.linalg.norm(image_HW - reference_HW))
    size = float(np.linalg.norm(reference_HW))
    return off / size if size else math.inf if off else 0.0


def _cell(facts: CellFacts, arrays: Mapping[str, Images]) -> Json:
    top = window_of(arrays["reference"])
    route = None if facts.route is None else f"{facts.route} ({facts.route_why})"
    return {
        "cell": _label(facts.cell),
        "name": printable(facts.name),
        "z": facts.z,
        "route": None if route is None else printable(route),
        "mask": _mask(facts),
        "psf": figure_png(mask_and_psf(arrays["mask"])),
        "field": _field(arrays),
        "sens": _maps(arrays.get("sens")),
        "coils": facts.coils,
        "cascades": _cascades(facts, arrays, top),
        "of": facts.of,
        "why": [printable(f"{MISSING.get(what, what)}: {why}.") for what, why in facts.why.items()],
    }


def _mask(facts: CellFacts) -> str:
    mask = facts.mask
    nominal = f", X{mask.nominal:g}" if mask.nominal else ""
    lines = mask.acs[1] - mask.acs[0]
    return printable(
        f"{mask.family}{nominal}, one sample in {mask.effective:.2f} measured, {lines} ACS lines"
    )


def _field(arrays: Mapping[str, Images]) -> str | None:
    field_HW = arrays.get("field")
    return None if field_HW is None else figure_png(receptive_field_plot(field_HW, arrays["mask"]))


def _maps(sens_NHW: Images | None) -> list[tuple[str, str]]:
    """Magnitudes in one window, from 0 to the largest of all."""
    if sens_NHW is None or not len(sens_NHW):
        return []
    top = float(np.nan_to_num(sens_NHW).max()) or 1.0
    return [
        (f"map {number + 1} of {len(sens_NHW)}", grey_png(one, top, THUMBNAIL))
        for number, one in enumerate(sens_NHW)
    ]


def _cascades(facts: CellFacts, arrays: Mapping[str, Images], top: float) -> list[Json]:
    """The zero-filled image and that after each cascade, with errors, in the reference's window."""
    if not len(arrays["cascades"]):
        return []
    reference = arrays["reference"]
    names = ["zero-filled", *(f"cascade {number}" for number in facts.cascades)]
    images = [arrays["zero_filled"], *arrays["cascades"]]
    return [
        {
            "name": name,
            "nrmse": relative_error(image, reference),
            "image": grey_png(image, top, THUMBNAIL),
            "error": grey_png(np.abs(image - reference), top / ERROR_GAIN, THUMBNAIL),
        }
        for name, image in zip(names, images, strict=True)
    ]


def _anatomy(name: str, facts: AugmentationFacts) -> Json:
    return {
        "name": printable(name) or "without a label",
        "slices": facts.slices,
        "strength": facts.strength,
        "histograms": figure_png(histogram_plot(facts)) if _differ(facts) else None,
        "limits": [
            (
                text,
                _limit(facts.limits, key),
                _limit(facts.proposed, key) if _differ(facts) else "–",
            )
            for key, text in NAMES.items()
        ],
        "noise": [
            (printable(mode), left, mode == facts.interpolation)
            for mode, left in facts.noise.items()
        ],
        "quieter": facts.noise.get(facts.interpolation, 1.0) < 0.98,
    }


def _differ(facts: AugmentationFacts) -> bool:
    """Whether slices differ at all: foregrounds that fill the field of view have no position."""
    return any(value > 1e-9 for limit in facts.proposed.values() for value in np.atleast_1d(limit))


def _limit(limits: Limits, key: str) -> str:
    value: Any = limits.get(key)
    values = value if isinstance(value, tuple) else (value,)
    return ", ".join("–" if one is None else f"{one:.3g}" for one in values)


def _label(cell: str) -> str:
    return printable(cell) or "without a label"
