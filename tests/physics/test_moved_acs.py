"""ACS lines beside the centre: where they are said to be, with nothing else moved."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from dealias.data.remask import MaskSettings, training_mask
from dealias.errors import SettingsError
from dealias.physics.sampling.identify import identify
from dealias.physics.sampling.jitter import with_moved_acs
from dealias.physics.sampling.mask import SamplingMask
from dealias.physics.sampling.snu import snu_mask
from dealias.physics.sampling.table import FAMILIES
from dealias.scan.scan import Geometry, Scan

LINES = [name for name in FAMILIES.names if FAMILIES[name].axes == (-1,)]
SCAN = Scan("a", (1, 2, 8, 96), snu_mask(96, 4), True, Geometry((8, 96), (8, 96)), None)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", LINES)
def test_the_block_is_as_wide_holds_the_centre_and_is_where_it_says(kind: str) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        before = FAMILIES[kind].draw((64, 96), 4, 0.1, rng)
        after = with_moved_acs(before, 3, rng)
        assert after.acs_count == before.acs_count
        assert after.lines[after.acs_lines()].all()
        assert after.acs[0] <= 48 < after.acs[1]
        assert 1 <= abs(after.acs[0] - before.acs[0]) <= 3
        either = before.acs_lines() | after.acs_lines()
        assert np.array_equal(after.lines[~either], before.lines[~either])
        assert after.nominal == before.nominal


@pytest.mark.parametrize("rate", [4, 8])
@pytest.mark.parametrize("width", [92, 99])
def test_a_lattice_runs_on_below_the_block(width: int, rate: int) -> None:
    """Found again by who looks at the lines alone."""
    before = snu_mask(width, rate)
    for seed in range(20):
        after = with_moved_acs(before, 2, np.random.default_rng(seed))
        lattice = np.arange(width) % rate == before.offset
        assert np.array_equal(after.lines, lattice | after.acs_lines())
        found = identify(after.lines)
        if after != before:  # lattice lines at both of its ends may stand in for one another
            assert (found.family, found.offset) == (after.family, after.offset)
        assert found.nominal == after.nominal == rate


def test_distances_are_drawn_alike_as_far_as_the_centre_allows() -> None:
    count, before = 3000, snu_mask(96, 4)
    moves = Counter(
        with_moved_acs(before, 2, np.random.default_rng(seed)).acs[0] - before.acs[0]
        for seed in range(count)
    )
    assert set(moves) == {-2, -1, 1, 2}
    assert all(abs(one - count / 4) < 5 * (count * 3 / 16) ** 0.5 for one in moves.values())
    lines = np.arange(96) % 4 == 0
    # two lines that hold the centre, 48: they can move to one side, by one
    narrow = SamplingMask(lines | (abs(np.arange(96) - 47.5) < 1), (47, 49))
    assert {with_moved_acs(narrow, 9, np.random.default_rng(i)).acs for i in range(9)} == {(48, 50)}
    for whole in (SamplingMask(np.ones(8, bool), (0, 8)), SamplingMask(lines, (48, 48))):
        assert with_moved_acs(whole, 3, np.random.default_rng(0)) is whole


def test_samples_have_it_with_the_chance_that_the_strength_leaves() -> None:
    settings = MaskSettings(jitter={"lines": 2, "probability": 0.4})  # type: ignore[arg-type]
    count = 1500
    for strength, wanted in ((0.0, 0.0), (0.5, 0.2), (1.0, 0.4)):
        found = [training_mask(settings, SCAN, 7, 0, index, strength) for index in range(count)]
        moved = sum(mask.acs != snu_mask(96, 4).acs for mask in found)
        assert abs(moved - count * wanted) <= 4 * (count * wanted * (1 - wanted)) ** 0.5
        again = [training_mask(settings, SCAN, 7, 0, index, strength) for index in range(count)]
        assert found == again


def test_lines_are_dropped_beside_the_block_that_was_moved() -> None:
    settings = MaskSettings(jitter={"lines": 3}, drop={"lines": 30})  # type: ignore[arg-type]
    for index in range(30):
        mask = training_mask(settings, SCAN, 7, 0, index)
        assert np.array_equal(mask.lines, mask.acs_lines())
        assert mask.acs != snu_mask(96, 4).acs


def test_a_mask_over_two_axes_is_refused() -> None:
    plane = FAMILIES["poisson_disc"].draw((32, 32), 4, 0.1, np.random.default_rng(0))
    with pytest.raises(SettingsError, match=r"masks\.jitter: found a mask over two axes"):
        with_moved_acs(plane, 1, np.random.default_rng(0))
