"""Every mask rule: the challenge's real masks, and what holds for every width."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dealias.errors import SettingsError
from dealias.physics.sampling.density import partial_fourier_mask
from dealias.physics.sampling.fastmri import (
    equispaced_fraction_mask,
    equispaced_mask,
    magic_fraction_mask,
    magic_fraction_spacing,
    magic_mask,
    random_mask,
)
from dealias.physics.sampling.identify import identify
from dealias.physics.sampling.mask import SamplingMask, contiguous_centre
from dealias.physics.sampling.snu import snu_mask
from dealias.physics.sampling.table import FAMILIES

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastmri.data.subsample import (
        EquispacedMaskFractionFunc,
        EquiSpacedMaskFunc,
        MagicMaskFractionFunc,
        MagicMaskFunc,
        RandomMaskFunc,
    )

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


RULES = {
    "equispaced_fraction": (equispaced_fraction_mask, EquispacedMaskFractionFunc),
    "magic": (magic_mask, MagicMaskFunc),
    "magic_fraction": (magic_fraction_mask, MagicMaskFractionFunc),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("width", [320, 368, 371, 640])
@pytest.mark.parametrize(("rate", "fraction"), [(4, 0.08), (8, 0.04), (6, 0.05), (5, 0.3)])
def test_other_rules_are_fastmris(rule: str, width: int, rate: int, fraction: float) -> None:
    """Line by line, for every offset that fastMRI may draw; so for every seed."""
    ours, theirs = RULES[rule]
    spacing = rate
    if rule == "magic_fraction":
        spacing = magic_fraction_spacing(width, rate, fraction)[1]
    if rule == "equispaced_fraction" and round(width * fraction) * rate >= width:
        with pytest.raises(SettingsError, match="fewer than W / R"):
            ours(width, rate, fraction, 0)
        return
    for offset in range(spacing):
        lines, count = theirs([fraction], [rate])((1, 1, width, 2), offset=offset)
        mask = ours(width, rate, fraction, offset)
        assert mask.acs_count == count
        assert np.array_equal(mask.lines, lines.numpy().ravel().astype(bool)), offset


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
    lines = np.ones(8, bool)
    kept = SamplingMask(lines, (0, 8))
    lines[0] = False  # the caller's own, and not the mask's
    assert kept.full
    with pytest.raises(SettingsError):
        snu_mask(0, 4)


PLANES = ["variable_density", "poisson_disc"]


def drawn(name: str, hw: tuple[int, int], rate: int, share: float, seed: int = 0) -> SamplingMask:
    return FAMILIES[name].draw(hw, rate, share, np.random.default_rng([seed, rate]))


@pytest.mark.parametrize("name", FAMILIES.names)
@pytest.mark.parametrize("hw", [(96, 80), (63, 97)])
def test_every_family_samples_its_acs_and_repeats_itself(name: str, hw: tuple[int, int]) -> None:
    for rate in (3, 4, 8):
        mask = drawn(name, hw, rate, 0.08)
        assert mask.lines.shape == (hw if name in PLANES else hw[1:])
        assert mask.lines[mask.acs_lines()].all()
        assert mask.acs_count == round(0.08 * hw[1])
        assert (mask.family, mask.nominal) == (name, rate)
        assert mask == drawn(name, hw, rate, 0.08)
        assert np.abs(mask.psf()).max() == pytest.approx(1)
        assert np.abs(mask.psf()).argmax() == np.ravel_multi_index(
            [size // 2 for size in mask.lines.shape], mask.lines.shape
        )
    if name != "snu":
        assert len({drawn(name, hw, 4, 0.08, seed) for seed in range(20)}) > 1


@pytest.mark.parametrize("name", ["equispaced_fraction", "magic_fraction"])
@pytest.mark.parametrize("rate", [4, 6, 8])
def test_fractions_meet_the_acceleration_with_all_lines(name: str, rate: int) -> None:
    counts = [drawn(name, (8, 368), rate, 0.04, seed).lines.sum() for seed in range(8)]
    assert np.mean(counts) == pytest.approx(368 / rate, rel=0.1)


@pytest.mark.parametrize("name", PLANES)
@pytest.mark.parametrize("rate", [4, 8, 12])
def test_planes_meet_the_acceleration(name: str, rate: int) -> None:
    mask = drawn(name, (128, 96), rate, 0.1)
    assert mask.effective == pytest.approx(rate, rel=0.05)


def test_bins_hold_one_line_each() -> None:
    mask = drawn("binned", (8, 100), 7, 0.08)
    apart = mask.lines & ~mask.acs_lines()
    for start in range(0, 100, 7):
        if start + 7 <= mask.acs[0] or start >= mask.acs[1]:
            assert apart[start : start + 7].sum() == 1


def test_partial_fourier_leaves_one_side_out() -> None:
    for seed in range(6):
        lines = drawn("partial_fourier", (8, 200), 2, 0.08, seed).lines
        assert not (lines[150:].any() and lines[:50].any())
        assert lines[50:150].sum() > 50
    with pytest.raises(SettingsError, match="above 0.5"):
        partial_fourier_mask(200, 2, 0.08, np.random.default_rng(0), share=0.4)


def test_density_falls_from_the_centre_outwards() -> None:
    mask = drawn("variable_density", (200, 200), 6, 0.05)
    y, x = np.mgrid[-1:1:200j, -1:1:200j]
    rings = [mask.lines[(np.hypot(y, x) >= r) & (np.hypot(y, x) < r + 0.2)].mean()
             for r in (0.2, 0.4, 0.6, 0.8)]  # fmt: skip
    assert rings == sorted(rings, reverse=True)
    assert rings[0] > 3 * rings[-1]


def test_poisson_discs_meet_the_acceleration_to_one_sample_or_say_why_not() -> None:
    for hw, rate in (((63, 97), 7), ((96, 80), 2), ((40, 200), 5)):
        lines = drawn("poisson_disc", hw, rate, 0.08).lines
        assert lines.sum() == round(lines.size / rate)
    with pytest.raises(SettingsError, match="centre_fraction.*fewer than H W / R"):
        drawn("poisson_disc", (64, 64), 4, 0.5)
