"""Every mask rule: the challenge's real masks, and what holds for every width."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dealias.errors import SettingsError
from dealias.physics.sampling.fastmri import equispaced_mask, random_mask
from dealias.physics.sampling.identify import identify
from dealias.physics.sampling.mask import SamplingMask, contiguous_centre
from dealias.physics.sampling.snu import snu_mask

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastmri.data.subsample import EquiSpacedMaskFunc, RandomMaskFunc

# width, acceleration, lattice offset, ACS count, first and last ACS line, lines in all: the 19
# masks of the challenge's public data
REAL = [
    (320, 4, 0, 26, 147, 172, 99), (320, 8, 0, 26, 147, 172, 63),
    (322, 4, 1, 26, 148, 173, 100), (322, 8, 1, 26, 148, 173, 64),
    (338, 8, 1, 27, 156, 182, 67), (356, 4, 2, 28, 164, 191, 110),
    (368, 4, 0, 29, 170, 198, 114), (368, 8, 0, 29, 170, 198, 72),
    (370, 4, 1, 30, 170, 199, 116), (372, 4, 2, 30, 171, 200, 116),
    (372, 8, 2, 30, 171, 200, 74), (386, 8, 1, 31, 178, 208, 77),
    (388, 4, 2, 31, 179, 209, 121), (388, 8, 2, 31, 179, 209, 77),
    (392, 4, 0, 31, 181, 211, 122), (392, 8, 4, 31, 181, 211, 77),
    (396, 4, 2, 32, 182, 213, 123), (396, 8, 6, 32, 182, 213, 77),
    (480, 4, 0, 38, 221, 258, 149),
]  # fmt: skip


@pytest.mark.parametrize("row", REAL)
def test_the_challenges_masks(row: tuple[int, ...]) -> None:
    width, acceleration, offset, count, first, last, total = row
    mask = snu_mask(width, acceleration)
    assert (mask.offset, mask.acs_count, mask.acs) == (offset, count, (first, last + 1))
    assert int(mask.lines.sum()) == total
    assert (mask.nominal, mask.family, mask.axes) == (acceleration, "snu", (-1,))


def test_2022_at_x5() -> None:
    assert int(snu_mask(396, 5).lines.sum()) == 104


@given(width=st.integers(16, 512), acceleration=st.integers(2, 12))
def test_what_holds_for_every_width(width: int, acceleration: int) -> None:
    mask = snu_mask(width, acceleration)
    start, stop = mask.acs
    assert stop - start == round(0.08 * width)
    assert mask.lines[start:stop].all()
    # the centre of k-space is measured, and lies on the lattice
    assert mask.lines[width // 2]
    assert (width // 2 - (mask.offset or 0)) % acceleration == 0
    outside = np.flatnonzero(mask.lines)
    outside = outside[(outside < start) | (outside >= stop)]
    assert (outside % acceleration == mask.offset).all()
    # the lattice goes on to the last column that it meets
    lattice = np.arange(mask.offset or 0, width, acceleration)
    assert mask.lines[lattice].all()
    assert mask.effective == width / mask.lines.sum()
    found = identify(np.array(mask.lines))
    assert (found.family, found.acs) == ("snu", mask.acs)
    assert found == mask


@given(width=st.integers(64, 400), acceleration=st.integers(3, 10), offset=st.integers(0, 9))
def test_equispaced_masks_are_identified(width: int, acceleration: int, offset: int) -> None:
    mask = equispaced_mask(width, acceleration, 0.08, offset % acceleration)
    found = identify(np.array(mask.lines))
    assert (found.nominal, found.offset) == (acceleration, mask.offset)
    assert found.family in ("equispaced", "snu")
    # a lattice line that touches the ACS cannot always be told from an ACS line; both were measured
    (start, stop), (first, last) = mask.acs, found.acs
    extra = set(range(first, last)) ^ set(range(start, stop))
    assert extra <= {start - 1, stop}
    assert all(column % acceleration == mask.offset for column in extra)
    assert mask.lines[first:last].all()


def test_a_full_mask_has_its_full_width_as_acs() -> None:
    found = identify(np.ones(33, bool))
    assert (found.family, found.acs, found.effective) == ("full", (0, 33), 1.0)


def test_odd_runs_and_empty_centres() -> None:
    lines = np.zeros(20, bool)
    lines[9:12] = True
    assert contiguous_centre(lines) == (9, 12)
    lines[10] = False
    assert contiguous_centre(lines) == (10, 10)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("width", [320, 368, 371])
def test_random_masks_are_fastmris(width: int, seed: int) -> None:
    theirs, count = RandomMaskFunc([0.08], [4])((1, 1, width, 2), seed=seed)
    rng = np.random.RandomState(seed)
    rng.randint(1)  # the reference draws which of its accelerations to use
    ours = random_mask(width, 4, 0.08, rng)
    assert ours.acs_count == count
    assert np.array_equal(ours.lines, theirs.numpy().ravel().astype(bool))


@pytest.mark.parametrize("width", [320, 368, 371])
def test_equispaced_masks_are_fastmris(width: int) -> None:
    for offset in range(4):
        function = EquiSpacedMaskFunc([0.08], [4])
        theirs, count = function((1, 1, width, 2), offset=offset)
        ours = equispaced_mask(width, 4, 0.08, offset)
        assert ours.acs_count == count
        assert np.array_equal(ours.lines, theirs.numpy().ravel().astype(bool))


def test_the_point_spread_of_a_lattice_is_a_lattice() -> None:
    lines = np.zeros(32, bool)
    lines[::4] = True
    psf = np.abs(SamplingMask(lines, (16, 16)).psf())
    peaks = np.flatnonzero(psf > 0.5)
    assert peaks.tolist() == [0, 8, 16, 24]
    assert np.allclose(psf[peaks], 1)


def test_masks_are_values() -> None:
    mask = snu_mask(64, 4)
    assert mask == snu_mask(64, 4)
    assert mask != snu_mask(64, 8)
    assert len({mask, snu_mask(64, 4)}) == 1
    with pytest.raises(ValueError, match="read-only"):
        mask.lines[0] = True
    with pytest.raises(SettingsError):
        snu_mask(0, 4)
