"""Comparisons are paired, and never across protocols or data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from dealias.errors import SettingsError
from dealias.evaluation.compare import compare
from dealias.evaluation.scores import Scores, summarise
from dealias.metrics.protocol import PROTOCOLS
from dealias.metrics.scores import VolumeScores
from dealias.scan.scan import Cell

MakeVolume = Callable[..., VolumeScores]
MakeScores = Callable[..., Scores]


@pytest.fixture
def make_scores(volume_scores: MakeVolume) -> MakeScores:
    def make(gain: float, protocol: str = "snu2025", count: int = 12) -> Scores:
        rng = np.random.default_rng(0)
        volumes = []
        for rate in (4, 8):
            for index in range(count):
                person = rng.uniform(0.5, 0.9)
                ssim = (person + gain + 1e-4 * rng.standard_normal(1 + index % 3)).tolist()
                volumes.append(volume_scores(f"v{index}", Cell("knee", rate), ssim, protocol))
        return summarise(PROTOCOLS[protocol], volumes)

    return make


@pytest.mark.parametrize("name", PROTOCOLS.names)
def test_every_protocol_refuses_every_other(name: str, make_scores: MakeScores) -> None:
    ours = make_scores(0, name)
    for other in PROTOCOLS.names:
        if other == name:
            assert compare(ours, make_scores(0.01, other)).total == pytest.approx(0.01)
        else:
            with pytest.raises(SettingsError, match=f"{name}.*{other}"):
                compare(ours, make_scores(0, other))


def test_a_threshold_of_ones_own_or_another_spec_is_another_protocol(
    make_scores: MakeScores,
) -> None:
    ours = make_scores(0)
    for change in ({"protocol": "snu2025@3e-05"}, {"spec": "ssim:win11"}):
        with pytest.raises(SettingsError, match="one protocol"):
            compare(ours, dataclasses.replace(ours, **change))


def test_pairing_sees_a_difference_that_the_spread_between_people_hides(
    make_scores: MakeScores,
) -> None:
    first, second = make_scores(0), make_scores(0.005)
    for before, after in zip(first.cells, second.cells, strict=True):
        assert before.ci95 is not None and after.ci95 is not None
        assert after.ci95[0] < before.ci95[1]
    for cell in compare(first, second).cells:
        assert cell.volumes == 12
        assert cell.mean == pytest.approx(0.005)
        assert cell.ci95 is not None and cell.ci95[0] > 0.004


def test_differences_are_those_of_the_means_and_change_sign(make_scores: MakeScores) -> None:
    first, second = make_scores(0), make_scores(0.02)
    forth, back = compare(first, second), compare(second, first)
    assert forth.total == -back.total == pytest.approx(second.total - first.total)
    for index, cell in enumerate(forth.cells):
        expected = second.cells[index].mean - first.cells[index].mean
        assert cell.mean == pytest.approx(expected, abs=1e-14)
        assert cell.mean == -back.cells[index].mean


def test_other_volumes_are_named(make_scores: MakeScores, volume_scores: MakeVolume) -> None:
    ours = make_scores(0)
    fewer = summarise(PROTOCOLS["snu2025"], ours.volumes[1:])
    with pytest.raises(SettingsError, match=r"1 volumes in only one of them: v0 \(knee-x4\)"):
        compare(ours, fewer)
    shorter = volume_scores("v0", Cell("knee", 4), [0.5, 0.5])
    with pytest.raises(SettingsError, match="slices of v0"):
        compare(ours, summarise(PROTOCOLS["snu2025"], [shorter, *ours.volumes[1:]]))


def test_two_volumes_of_one_name_are_not_confused(volume_scores: MakeVolume) -> None:
    def of(*ssim: float) -> Scores:
        volumes = [volume_scores("same", None, [one], "fastmri") for one in ssim]
        return summarise(PROTOCOLS["fastmri"], volumes)

    assert compare(of(0.5, 0.9), of(0.6, 0.9)).cells[0].volumes == 2
    with pytest.raises(SettingsError, match="1 volumes in only one"):
        compare(of(0.5, 0.9), of(0.5))
