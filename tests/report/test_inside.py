"""What the page shows of an analysis: physics where it can be checked, nothing of a stranger's."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dealias.evaluation.augmentation_facts import AugmentationFacts, HistogramFacts
from dealias.physics.sampling.snu import snu_mask
from dealias.report.inside import (
    augmentation_views,
    cell_views,
    error_views,
    relative_error,
)
from dealias.report.page import write_report
from dealias.report.plots import FLOOR, decibels, histogram_plot, mask_and_psf, receptive_field_plot
from dealias.report.read import read_run
from dealias.runs.analysis_file import (
    ARRAYS,
    FACTS,
    FOLDER,
    Analysis,
    AnalysisFacts,
    CellFacts,
    MaskFacts,
    SliceFacts,
    read_analysis,
    write_analysis,
)

HOSTILE = "<img src=x onerror=alert(1)>\x1b[31m"


def lattice(width: int, rate: int, offset: int = 0) -> np.ndarray:
    lines = np.zeros(width, bool)
    lines[offset::rate] = True
    return lines


@pytest.mark.parametrize(
    ("width", "rate", "offset"), [(64, 4, 0), (64, 4, 3), (72, 6, 1), (63, 7, 2)]
)
def test_a_lattice_s_peaks_lie_where_the_image_aliases(width: int, rate: int, offset: int) -> None:
    """R copies W/R pixels apart, each as high as the pixel itself; nothing between them."""
    upper, lower = mask_and_psf(lattice(width, rate, offset)).axes
    shifts, levels = lower.lines[0].get_xydata().T
    aliased = shifts % (width // rate) == 0
    assert aliased.sum() == rate
    assert 0 in shifts[aliased]
    np.testing.assert_allclose(levels[aliased], 0, atol=1e-9)
    assert (levels[~aliased] == FLOOR).all()
    # the strip above has its lines where the axis says
    left, right, _, _ = upper.images[0].get_extent()
    assert (left, right) == (-(width // 2) - 0.5, width - width // 2 - 0.5)


def test_a_mask_of_two_axes_has_its_peaks_on_both() -> None:
    lines = lattice(24, 3)[:, None] & lattice(32, 4)[None]
    _, right, *_ = mask_and_psf(lines).axes
    levels = np.asarray(right.images[0].get_array())
    rows, columns = np.nonzero(levels > -1e-6)
    assert {(r - 12, c - 16) for r, c in zip(rows, columns, strict=True)} == {
        (8 * i - 8, 8 * j - 16) for i in range(3) for j in range(4)
    }


def test_a_field_is_in_decibels_of_its_largest_and_grey_where_nothing_was_measured() -> None:
    field = np.array([[10.0, 1.0, 0.0, 0.1], [0.01, 1e-9, 0.0, 10.0]])
    sampled = np.array([True, True, False, True])
    axes = receptive_field_plot(field, sampled).axes[0]
    shown = axes.images[0].get_array()
    np.testing.assert_allclose(shown[:, [0, 1, 3]].data,
                               [[0, -20, -40], [-60, -60, 0]], atol=1e-9)  # fmt: skip
    assert shown.mask[:, 2].all() and not shown.mask[:, [0, 1, 3]].any()
    assert (decibels(np.zeros((2, 3))) == FLOOR).all()
    assert (decibels(np.array([np.nan, 1.0])) == [FLOOR, 0]).all()


def augmentation() -> AugmentationFacts:
    one = HistogramFacts(edges=(0.0, 1.0, 2.0), before=(3, 1), after=(2, 2), overlap=0.75)
    names = ("row", "column", "extent", "aspect", "angle")
    limits = {"max_translation": (0.05, 0.02), "max_rotation": 5.0}
    return AugmentationFacts(
        slices=4, strength=0.5, histograms=dict.fromkeys(names, one), limits=limits,
        proposed={"max_translation": (0.01, 0.02), "max_rotation": 7.25},
        noise={"bilinear": 0.81, "band-limited": 0.999}, interpolation="bilinear",
    )  # fmt: skip


def analysis(size: int = 24, coils: int = 8, cascades: int = 8) -> Analysis:
    rng = np.random.default_rng(3)

    def images(*count: int) -> np.ndarray:
        return rng.random((*count, size, size)).astype(np.float32)

    mask = snu_mask(size, 4)
    shown = {name: images() for name in ("zero_filled", "image", "reference")}
    inside = {
        **shown, "mask": mask.lines, "cascades": images(cascades), "sens": images(coils),
        "field": images(),
    }  # fmt: skip
    cell = CellFacts(
        cell="brain-x4", name=HOSTILE, z=1, coils=coils, cascades=tuple(range(1, cascades + 1)),
        of=cascades, route=HOSTILE, route_why=HOSTILE, why={"field": HOSTILE},
        mask=MaskFacts(family=HOSTILE, nominal=4, effective=mask.effective, acs=mask.acs),
    )  # fmt: skip
    one = SliceFacts(cell=HOSTILE, which="worst", name=HOSTILE, z=0, ssim=0.5)
    facts = AnalysisFacts(
        model=HOSTILE, weights="0123456789abcdef", protocol="snu2025", cells=(cell,), slices=(one,),
        augmentation={HOSTILE: augmentation()},
    )  # fmt: skip
    return Analysis(facts, (inside,), (shown,))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with an analysis and nothing else."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text('{"recipe": "small"}')
    write_analysis(tmp_path / "run", analysis())
    return tmp_path / "run"


def test_everything_is_shown_and_what_strangers_wrote_is_escaped(run: Path) -> None:
    page = write_report(run).read_text()
    assert "<img src=x" not in page and "\x1b" not in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") >= 6
    for text in (
        "Error maps by cell", "Inside the network", "weights 0123456789ab", "ACS lines",
        "No receptive field",
        "translation, share of H and of W", "0.01, 0.02", "7.25", "bilinear (the recipe", "0.810",
        "Augmented targets are smoother",
    ):  # fmt: skip
        assert text in page, text
    # mask, field, maps, cascades with the zero-filled image twice, four panels, histograms
    assert page.count("data:image/png;base64,") == 1 + 1 + 8 + 2 * 9 + 4 + 1
    assert page.count("Research use only, not a medical device") >= 2
    assert page.count("<script>") == 1


@pytest.mark.subprocess
def test_a_report_needs_no_torch(run: Path) -> None:
    words = (
        "import sys; from pathlib import Path; from dealias.report.page import write_report; "
        f"write_report(Path({str(run)!r})); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", words], check=True, timeout=120)


def test_what_is_read_is_what_was_written(run: Path) -> None:
    wanted, found = analysis(), read_analysis(run)
    assert found is not None
    assert found.facts.model_copy(update={"arrays": ""}) == wanted.facts
    for one, other in zip(
        (*found.cells, *found.slices), (*wanted.cells, *wanted.slices), strict=True
    ):
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[name], other[name]) for name in one)


def spoiled(path: Path, how: str) -> None:
    facts: dict[str, Any] = json.loads((path / FACTS).read_text())
    if how == "no arrays":
        (path / ARRAYS).unlink()
    elif how == "a flipped bit":
        data = bytearray((path / ARRAYS).read_bytes())
        data[len(data) // 2] ^= 1
        (path / ARRAYS).write_bytes(data)
    elif how == "half the facts":
        (path / FACTS).write_bytes((path / FACTS).read_bytes()[:300])
    elif how == "a list":
        (path / FACTS).write_text("[1]")
    elif how == "the next version":
        (path / FACTS).write_text(json.dumps({**facts, "dealias_analysis": 2, "more": 1}))
    elif how == "a key too many":
        (path / FACTS).write_text(json.dumps({**facts, "more": 1}))
    else:
        more = {**facts, "cells": facts["cells"] * 2}
        (path / FACTS).write_text(json.dumps(more))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("no arrays", "analysis/analysis.npz: found no such file"),
        ("a flipped bit", "analysis/analysis.npz: found other bytes than were written"),
        ("half the facts", "analysis/analysis.json: found damaged JSON"),
        ("a list", "of another version of dealias"),
        ("the next version", "form 2, of another version of dealias; expected form 1"),
        ("a key too many", "more: Extra inputs are not permitted"),
        ("a cell too many", "damaged arrays"),
    ],
)
def test_a_damaged_analysis_is_one_line_of_a_report_that_is_whole(
    run: Path, how: str, said: str
) -> None:
    spoiled(run / FOLDER, how)
    record = read_run(run)
    assert record.analysis is None and said in record.trouble and "\n" not in record.trouble
    page = write_report(run).read_text()
    assert "cannot be shown" in page and "What ran" in page
    assert "Error maps by cell" not in page
    assert "dealias report RUN --data DATA" in page


def test_why_a_run_stopped_early_is_said(tmp_path: Path) -> None:
    reason = "the best validation of 10 epochs is 0.9412, not 0.958"
    for folder, stages in (("plain", None), ("staged", ["base", "more"])):
        main = tmp_path / folder / ("main" if stages is None else "base")
        main.mkdir(parents=True)
        facts = {"recipe": "small"} | ({"stages": stages} if stages else {})
        (tmp_path / folder / "run.json").write_text(json.dumps(facts))
        if stages:
            (main / "run.json").write_text('{"stage": "base"}')
        finished = {"step": 10, "epochs": 10, "best": None, "stopped": reason}
        (main / "finished.json").write_text(json.dumps(finished))
    page = write_report(tmp_path / "plain").read_text()
    assert f"<strong>Stopped early</strong>, before its last epoch: {reason}." in page
    assert f"<td>stopped early: {reason}</td>" in write_report(tmp_path / "staged").read_text()
    assert "Stopped early" in (tmp_path / "staged" / "base" / "report.html").read_text()
    (tmp_path / "plain" / "main" / "finished.json").unlink()
    ended = {"recipe": "small", "ended": {"state": "stopped", "reason": "time limit"}}
    (tmp_path / "plain" / "run.json").write_text(json.dumps(ended))
    assert "before its last epoch: time limit." in write_report(tmp_path / "plain").read_text()
    (tmp_path / "plain" / "run.json").write_text('{"ended": null}')
    (tmp_path / "plain" / "main" / "finished.json").write_text('{"stopped": null}')
    assert "Stopped early" not in write_report(tmp_path / "plain").read_text()


def test_a_large_analysis_is_a_small_page(tmp_path: Path) -> None:
    one = analysis(384, 8, 8)
    facts = one.facts.model_copy(update={"slices": ()})
    (tmp_path / "run.json").write_text("{}")
    write_analysis(tmp_path, Analysis(facts, one.cells, ()))
    # of noise, which no compression makes smaller
    assert write_report(tmp_path).stat().st_size < 2e6


def test_errors_are_relative_and_panels_in_one_window() -> None:
    assert relative_error(np.array([3.0, 4.0]), np.array([0.0, 4.0])) == pytest.approx(0.75)
    assert relative_error(np.zeros(2), np.zeros(2)) == 0
    assert relative_error(np.ones(2), np.zeros(2)) == math.inf
    one = analysis()
    (view,) = error_views(one)
    images = one.slices[0]
    expected = relative_error(images["image"], images["reference"])
    assert view["nrmse"] == expected and len(view["panels"]) == 4
    (cell,) = cell_views(one)
    zero_filled = relative_error(one.cells[0]["zero_filled"], one.cells[0]["reference"])
    assert [cell["cascades"][0]["name"], cell["cascades"][0]["nrmse"]] == [
        "zero-filled",
        zero_filled,
    ]
    last = relative_error(one.cells[0]["cascades"][-1], one.cells[0]["reference"])
    assert [cell["cascades"][-1]["name"], cell["cascades"][-1]["nrmse"]] == ["cascade 8", last]


def test_no_limits_follow_from_foregrounds_that_fill_the_field_of_view() -> None:
    one = analysis()
    still = augmentation().model_copy(
        update={"proposed": {"max_translation": (0.0, 0.0), "max_rotation": 0.0}}
    )
    facts = one.facts.model_copy(update={"augmentation": {"knee": still}})
    (view,) = augmentation_views(Analysis(facts, one.cells, one.slices))
    assert view["histograms"] is None
    assert {proposal for _, _, proposal in view["limits"]} == {"–"}
    assert view["limits"][0][1] == "0.05, 0.02"


def test_histograms_are_shares_of_the_slices() -> None:
    axes = histogram_plot(augmentation()).axes[0]
    before, after = (patch.get_data().values for patch in axes.patches)
    np.testing.assert_allclose(before, [0.75, 0.25])
    np.testing.assert_allclose(after, [0.5, 0.5])
    assert axes.get_title() == "overlap 0.75"
