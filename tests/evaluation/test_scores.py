"""Cells and totals re-computed by hand, for each way of aggregation; score files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dealias.errors import DataError, SettingsError
from dealias.evaluation.scores import Scores, read_scores, summarise, write_scores
from dealias.metrics.protocol import PROTOCOLS
from dealias.metrics.scores import SliceScores, VolumeScores
from dealias.scan.scan import Cell

MakeVolume = Callable[..., VolumeScores]
BRAIN4, BRAIN8, KNEE4 = Cell("brain", 4), Cell("brain", 8), Cell("knee", 4)


@pytest.fixture
def volumes(volume_scores: MakeVolume) -> list[VolumeScores]:
    return [
        volume_scores("b1", BRAIN4, [0.9, 0.8, 0.7]),
        volume_scores("k1", KNEE4, [0.5]),
        volume_scores("b2", BRAIN4, [0.6]),
        volume_scores("b1", BRAIN8, [0.3, 0.4]),
    ]


def test_the_challenges_total_pools_slices_and_is_not_the_mean_of_cells(
    volumes: list[VolumeScores],
) -> None:
    scores = summarise(PROTOCOLS["snu2025"], volumes)
    x4, x8 = fmean([0.9, 0.8, 0.7, 0.5, 0.6]), fmean([0.3, 0.4])
    assert scores.total == pytest.approx((x4 + x8) / 2, abs=1e-15)
    cells = {(cell.anatomy, cell.acceleration): cell for cell in scores.cells}
    assert list(cells) == [("brain", 4), ("brain", 8), ("knee", 4)]
    brain = cells["brain", 4]
    assert (brain.volumes, brain.slices) == (2, 4)
    assert brain.mean == pytest.approx(fmean([0.9, 0.8, 0.7, 0.6]))
    assert brain.median == median([0.9, 0.8, 0.7, 0.6])
    assert abs(scores.total - fmean(cell.mean for cell in scores.cells)) > 0.005


def test_slices_pooled_without_accelerations(volume_scores: MakeVolume) -> None:
    volumes = [
        volume_scores("b1", BRAIN4, [0.9, 0.8], "snu2021"),
        volume_scores("b2", BRAIN8, [0.1], "snu2021"),
    ]
    assert summarise(PROTOCOLS["snu2021"], volumes).total == pytest.approx(0.6)


def test_fastmri_counts_each_volume_once(volume_scores: MakeVolume) -> None:
    volumes = [
        volume_scores("a", None, [0.9, 0.7, 0.8], "fastmri"),
        volume_scores("b", None, [0.2], "fastmri"),
        volume_scores("c", None, [0.3, 0.3], "fastmri"),
    ]
    scores = summarise(PROTOCOLS["fastmri"], volumes)
    (cell,) = scores.cells
    assert (cell.anatomy, cell.acceleration) == ("unknown", 0)
    assert scores.total == cell.mean == pytest.approx((0.8 + 0.2 + 0.3) / 3)
    assert cell.median == pytest.approx(0.3)
    assert cell.slices == 6


def test_lesion_boxes_count_each_once(volume_scores: MakeVolume) -> None:
    volumes = [
        volume_scores("a", KNEE4, [0.9, None, 0.6], "snu2026-boxes", [1, 0, 3]),
        volume_scores("b", KNEE4, [0.2], "snu2026-boxes", [2]),
        volume_scores("c", KNEE4, [None, None], "snu2026-boxes", [0, 0]),
    ]
    scores = summarise(PROTOCOLS["snu2026-boxes"], volumes)
    assert scores.total == pytest.approx((0.9 + 3 * 0.6 + 2 * 0.2) / 6)
    assert scores.cells[0].mean == pytest.approx(scores.total)
    assert (scores.cells[0].volumes, scores.cells[0].slices) == (2, 3)
    assert scores.unscored == ("c",)


def test_the_worst_five_slices_come_first(volume_scores: MakeVolume) -> None:
    ssim = [0.9, 0.2, 0.8, 0.3, 0.7, 0.4, 0.6]
    scores = summarise(PROTOCOLS["snu2025"], [volume_scores("a", BRAIN4, ssim)])
    assert [one.ssim for one in scores.cells[0].worst] == [0.2, 0.3, 0.4, 0.6, 0.7]
    assert [one.z for one in scores.cells[0].worst] == [1, 3, 5, 6, 4]
    assert scores.cells[0].ci95 is None


def test_a_volume_without_a_finite_psnr_is_not_averaged_away() -> None:
    slices = (SliceScores(0, 1.0, None, 0.0),)
    perfect = VolumeScores("a", BRAIN4, "snu2025", slices, None, 0.0)
    usual = VolumeScores("b", BRAIN4, "snu2025", slices, 30.0, 0.1)
    both = summarise(PROTOCOLS["snu2025"], [perfect, usual]).cells[0]
    assert both.psnr is None
    assert both.nmse == 0.05
    assert summarise(PROTOCOLS["snu2025"], [usual]).cells[0].psnr == 30


def test_scores_of_another_protocol_do_not_mix(volumes: list[VolumeScores]) -> None:
    with pytest.raises(SettingsError, match="scores of snu2025"):
        summarise(PROTOCOLS["fastmri"], volumes)
    with pytest.raises(SettingsError, match="scores of snu2025"):
        summarise(PROTOCOLS["snu2025"].with_threshold(3e-5), volumes)


def test_nothing_scored_is_an_error(volume_scores: MakeVolume) -> None:
    empty = volume_scores("a", KNEE4, [None], "snu2026-boxes")
    with pytest.raises(DataError, match="no slice that snu2026-boxes scores"):
        summarise(PROTOCOLS["snu2026-boxes"], [empty])


ssims = st.lists(st.floats(-1, 1), min_size=1, max_size=4)
cells = st.one_of(st.none(), st.builds(Cell, st.sampled_from(["brain", "무릎"]), st.integers(1, 9)))
numbers = st.one_of(st.none(), st.floats(0, 60))


@given(st.lists(st.tuples(st.text(), cells, ssims, numbers), min_size=1, max_size=5))
def test_json_brings_back_every_bit(
    entries: list[tuple[str, Cell | None, list[float], float | None]],
) -> None:
    volumes = [
        VolumeScores(name, cell, "snu2025", tuple(SliceScores(z, s, number, number)
                     for z, s in enumerate(ssim)), number, number)
        for name, cell, ssim, number in entries
    ]  # fmt: skip
    scores = summarise(PROTOCOLS["snu2025"], volumes)
    text = json.dumps(scores.to_json(), allow_nan=False)
    assert Scores.from_json(json.loads(text)) == scores


def test_the_form_of_a_score_file(volumes: list[VolumeScores], tmp_path: Path) -> None:
    scores = summarise(PROTOCOLS["snu2025"], volumes)
    path = tmp_path / "evaluations" / "network" / "scores.json"
    write_scores(path, scores)
    value = json.loads(path.read_text())
    assert list(value) == ["protocol", "spec", "total", "cells", "volumes"]
    assert {"anatomy", "acceleration", "volumes", "slices", "mean", "median", "ci95", "worst"} <= (
        value["cells"][0].keys()
    )
    assert value["cells"][0]["worst"][0] == {"name": "b2", "z": 0, "ssim": 0.6}
    assert value["volumes"][0]["cell"] == {"anatomy": "brain", "acceleration": 4}
    assert read_scores(path) == scores
    assert [item.name for item in path.parent.iterdir()] == ["scores.json"]


def test_a_damaged_score_file_is_named(volumes: list[VolumeScores], tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    with pytest.raises(DataError, match="scores.json"):
        read_scores(path)
    good = summarise(PROTOCOLS["snu2025"], volumes).to_json()
    broken = [
        "", "[]", "{", "{}", "null",
        json.dumps({**good, "total": None}),
        json.dumps({**good, "cells": [{"anatomy": "brain"}]}),
        json.dumps({**good, "volumes": [{**good["volumes"][0], "slices": [{"z": 0}]}]}),
        json.dumps({**good, "volumes": 3}),
    ]  # fmt: skip
    for text in broken:
        path.write_text(text)
        with pytest.raises(DataError, match=r"scores\.json.*evaluate"):
            read_scores(path)


def test_nan_never_reaches_a_score_file(volumes: list[VolumeScores], tmp_path: Path) -> None:
    scores = summarise(PROTOCOLS["snu2025"], volumes)
    broken = Scores(scores.protocol, scores.spec, math.nan, scores.cells, scores.volumes)
    with pytest.raises(ValueError, match="JSON"):
        write_scores(tmp_path / "scores.json", broken)
    assert not list(tmp_path.iterdir())
