"""Volumes are told by the sum of their slices, and count more than any number of slices."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dealias.evaluation.anatomy import Told, anatomy_scores
from dealias.evaluation.scores import Scores
from dealias.scan.scan import Cell

BRAIN, KNEE = Cell("brain", 4), Cell("knee", 8)


def told(name: str, margins: list[float], cell: Cell = BRAIN) -> Told:
    """A volume whose slices are right by so much."""
    right = 0 if cell.anatomy == "brain" else 1
    scores_ZK = np.zeros((len(margins), 2))
    scores_ZK[:, right] = margins
    return Told(name, cell, scores_ZK, right)


def test_a_volume_is_right_where_most_of_its_slices_are_wrong() -> None:
    found = anatomy_scores([told("a", [-1, -1, -1, 5, 5]), told("b", [2, 2, -3], KNEE),
                            told("c", [1, -3, 1], KNEE)])  # fmt: skip
    assert found.accuracy == {"volumes": pytest.approx(2 / 3), "slices": pytest.approx(6 / 11)}
    assert found.by_cell == {"brain-x4": 1.0, "knee-x8": 0.5}
    assert found.wrong == (("c", "knee-x8", 0),)
    assert {str(cell.anatomy): cell.mean for cell in found.cells} == {
        "brain": pytest.approx(2 / 5), "knee": pytest.approx(4 / 6)
    }  # fmt: skip
    # the slices to look at first are the wrong ones
    assert [one.z for one in found.cells[0].worst[:3]] == [0, 1, 2]


def test_the_noise_of_slices_is_averaged_away() -> None:
    rng = np.random.default_rng(0)
    volumes = [told(str(i), list(0.4 + rng.standard_normal(30)), (BRAIN, KNEE)[i % 2])
               for i in range(60)]  # fmt: skip
    found = anatomy_scores(volumes)
    # Phi(0.4) of slices, Phi(0.4 sqrt(30)) of volumes
    assert found.accuracy["slices"] == pytest.approx(0.655, abs=0.03)
    assert found.accuracy["volumes"] > 0.95


def test_the_total_orders_by_volumes_and_then_by_certainty() -> None:
    rng = np.random.default_rng(1)

    def drawn() -> list[Told]:
        return [told(str(i), list(rng.normal(0.3, 1, 3)), (BRAIN, KNEE)[i % 2]) for i in range(4)]

    def key(volumes: list[Told]) -> tuple[int, float]:
        margins = np.array([one.scores_ZK[:, one.right] for one in volumes])
        # the sigmoid of the margin is the softmax of two classes, the other of which has 0
        return int((margins.sum(1) > 0).sum()), float((1 / (1 + np.exp(-margins))).mean())

    cases = [drawn() for _ in range(20)]
    by_total = sorted(cases, key=lambda one: anatomy_scores(one).total)
    assert by_total == sorted(cases, key=key)
    assert all(0 < anatomy_scores(one).total < 1 for one in cases)
    # one volume more outweighs all the certainty there can be
    sure = [told(str(i), [9.0] if i else [-0.1]) for i in range(20)]
    unsure = [told(str(i), [0.1]) for i in range(20)]
    assert anatomy_scores(sure).total < anatomy_scores(unsure).total


def test_a_score_file_is_read_like_others() -> None:
    found = anatomy_scores([told("a", [1.0, -2.0]), told("b", [1.0, 0.5], KNEE)])
    again = Scores.from_json(json.loads(json.dumps(found.to_json())))
    assert (again.total, again.cells, again.volumes) == (found.total, found.cells, found.volumes)
    assert again.protocol == "anatomy"
