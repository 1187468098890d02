"""Every family is told from its lines alone; where two give the same lines, the first is named."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from dealias.errors import SettingsError
from dealias.physics.sampling import fastmri
from dealias.physics.sampling.identify import identify
from dealias.physics.sampling.mask import SamplingMask
from dealias.physics.sampling.snu import snu_mask
from dealias.physics.sampling.table import FAMILIES

ORDER = ["snu", "equispaced", "equispaced_fraction", "magic", "magic_fraction", "partial_fourier",
         "two_lattices", "binned", "random"]  # fmt: skip
PLANES = ["variable_density", "poisson_disc"]
WIDTHS = [128, 200, 323, 368, 371, 640]


def draws(name: str) -> Iterator[SamplingMask]:
    for width, rate, share, seed in itertools.product(WIDTHS, range(2, 13), (0.04, 0.08), (0, 1)):
        rng = np.random.default_rng([seed, rate, width])
        try:
            yield FAMILIES[name].draw((8, width), rate, share, rng)
        except SettingsError:
            assert name == "equispaced_fraction"  # the ACS lines alone are W / R or more


def remade(mask: SamplingMask) -> bool:
    """Whether the family that a mask names, with what it names, gives these very lines."""
    width, rate, (start, stop) = mask.width, int(mask.nominal or 0), mask.acs
    share, inside = (stop - start) / width, np.zeros(mask.width, bool)
    inside[start:stop] = True
    if mask.family == "snu":
        made = [snu_mask(width, rate).lines]
    elif mask.family == "equispaced":
        # the ACS may be off fastMRI's centre by a lattice line that touches it
        made = [np.arange(width) % rate == mask.offset]
    elif mask.family == "two_lattices":
        left = np.arange(width) < width // 2
        phase = np.where(left, np.arange(width), np.arange(width) - width // 2) % rate
        made = [phase == np.where(left, a, b) for a in range(rate) for b in range(rate)]
    else:
        rule = {"equispaced_fraction": fastmri.equispaced_fraction_mask,
                "magic": fastmri.magic_mask,
                "magic_fraction": fastmri.magic_fraction_mask}[mask.family]  # fmt: skip
        made = [rule(width, rate, share, offset).lines for offset in range(width // 2)]
    return any(np.array_equal(lines | inside, mask.lines) for lines in made)


def outside(mask: SamplingMask) -> int:
    return int((mask.lines & ~mask.acs_lines()).sum())


@pytest.mark.parametrize("name", ORDER)
def test_family_acceleration_and_acs_are_found(name: str) -> None:
    same = number = 0
    for mask in draws(name):
        number += 1
        found = identify(np.array(mask.lines))
        assert found == mask
        assert found.lines[found.acs_lines()].all()
        if found.family == name and name != "random":
            same += 1
            assert found.nominal == mask.nominal
            # the widest ACS that fits: it may have lines of the rule that touch it
            assert found.acs[0] <= mask.acs[0] <= mask.acs[1] <= found.acs[1]
            assert found.acs_count <= mask.acs_count + (4 if name == "binned" else 2)
        elif found.family == "random":
            # nothing is told from so few lines; independent lines follow no rule
            assert name == "random" or outside(mask) <= 4
            lost = abs(mask.lines.sum() - mask.width / (mask.nominal or 1))
            assert name != "random" or lost < 5 * np.sqrt(mask.width / (mask.nominal or 1))
        else:
            assert ORDER.index(found.family) < ORDER.index(name)
            assert remade(found), found
    assert name in ("random", "magic_fraction") or same >= 0.6 * number
    assert name not in ("snu", "binned", "partial_fourier") or same == number


def test_at_which_acs_the_rules_are_told() -> None:
    """At W 368 with 8 %, where nothing touches the ACS, everything is exact."""
    for name in ORDER[2:-1]:
        exact = [mask for mask in draws(name) if mask.width == 368 and mask.acs_count == 29
                 and not mask.lines[[mask.acs[0] - 1, mask.acs[1]]].any()
                 and outside(mask) > 3]  # fmt: skip
        assert len(exact) > 5
        for mask in exact:
            assert identify(mask.lines).acs == mask.acs, name


def test_the_fractions_of_fastmri() -> None:
    """The public data's rule by name, from a real file's numbers: W 368, X4, 8 %, and X8, 4 %."""
    for rate, share in ((4, 0.08), (8, 0.04)):
        for offset in range(round(fastmri.fraction_spacing(368, rate, share))):
            found = identify(fastmri.equispaced_fraction_mask(368, rate, share, offset).lines)
            assert (found.family, found.nominal) == ("equispaced_fraction", rate)
            assert found.acs == fastmri.acs_range(368, share)


def test_what_follows_no_rule_is_not_named_by_one() -> None:
    """A line more, or a line less, than a rule gives."""
    for name in ("magic", "two_lattices", "equispaced_fraction", "partial_fourier"):
        mask = FAMILIES[name].draw((8, 371), 5, 0.08, np.random.default_rng(1))
        for column in (3, 90, 300):
            lines = np.array(mask.lines)
            lines[column : column + 2] ^= True
            assert identify(lines).family == "random", name
    empty_centre = np.zeros(96, bool)
    empty_centre[[3, 17, 60, 61, 90]] = True
    assert (identify(empty_centre).family, identify(empty_centre).acs) == ("custom", (48, 48))


def test_bins_are_not_found_where_chance_would_have_them() -> None:
    """Random lines of few columns fit some bin size easily; no bin has two lines, at any end."""
    by_chance = sum(
        identify(fastmri.random_mask(64, rate, 0.08, np.random.default_rng(seed)).lines).family
        == "binned" for rate in (5, 6, 7, 8) for seed in range(100)
    )  # fmt: skip
    assert by_chance <= 2
    mask = FAMILIES["binned"].draw((8, 200), 8, 0.08, np.random.default_rng(4))
    lines, start = np.array(mask.lines), mask.acs[0] // 8 * 8
    lines[start : mask.acs[0]] = False
    lines[[start, start + 1]] = True  # both in the bin that the ACS reaches into
    assert mask.acs[0] - start > 2
    assert identify(lines).family == "random"


@pytest.mark.parametrize("name", PLANES)
@pytest.mark.parametrize("hw", [(128, 128), (257, 190)])
def test_planes_are_told_by_their_neighbours(name: str, hw: tuple[int, int]) -> None:
    for rate, seed in itertools.product((3, 4, 6, 8, 12), range(2)):
        mask = FAMILIES[name].draw(hw, rate, 0.06, np.random.default_rng([seed, rate]))
        found = identify(np.array(mask.lines))
        assert (found.family, found.nominal) == (name, rate)
        (top, bottom), (rows, columns) = mask.acs_rows or (0, 0), (found.acs_rows, found.acs)
        assert rows is not None and rows[0] <= top <= bottom <= rows[1]
        assert columns[0] <= mask.acs[0] <= mask.acs[1] <= columns[1]
        assert found.lines[found.acs_lines()].all()


def test_other_planes_are_custom() -> None:
    rng = np.random.default_rng(0)
    uniform, lattice = rng.random((128, 128)) < 0.2, np.zeros((128, 128), bool)
    lattice[::2, ::3] = True
    rows = np.repeat(rng.random((128, 1)) < 0.3, 128, 1) & (rng.random((128, 128)) < 0.5)
    discs = FAMILIES["poisson_disc"].draw((128, 128), 12, 0.06, rng).lines
    twins = discs | np.roll(discs, 1, 1)
    for lines in (uniform, lattice, rows, twins, twins.T.copy()):
        lines[58:70, 60:68] = True
        found = identify(lines)
        assert (found.family, found.nominal) == ("custom", None)
        assert lines[found.acs_lines()].all()
        assert found.acs_lines()[60:68, 61:67].all()
    for seed in range(20):  # with few samples, none side by side is chance
        few = FAMILIES["variable_density"].draw((32, 32), 12, 0.06, np.random.default_rng(seed))
        assert identify(few.lines).family == "custom"
    lines[64, 64] = False
    assert identify(lines).acs_count == 0
    assert identify(np.ones((8, 9), bool)).family == "full"
