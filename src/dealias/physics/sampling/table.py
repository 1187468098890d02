"""The families of masks that can be drawn, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dealias.physics.sampling import density, fastmri
from dealias.physics.sampling.mask import SamplingMask
from dealias.physics.sampling.poisson import poisson_disc_mask
from dealias.physics.sampling.snu import snu_mask
from dealias.table import Table

HW = tuple[int, int]
Rng = np.random.Generator
Draw = Callable[[HW, int, float, Rng], SamplingMask]


@dataclass(frozen=True)
class MaskFamily:
    """A row of the table.

    Attributes:
        name: As recipes and the command line name it.
        draw: (H, W), acceleration, share of ACS lines and a generator to a mask.
        about: What it is, in a line.
        axes: Of its masks, as `SamplingMask.axes` has them.
    """

    name: str
    draw: Draw
    about: str
    axes: tuple[int, ...] = (-1,)


def _lattice(hw: HW, rate: int, share: float, rng: Rng) -> SamplingMask:
    return fastmri.equispaced_mask(hw[1], rate, share, int(rng.integers(rate)))


def _fraction(hw: HW, rate: int, share: float, rng: Rng) -> SamplingMask:
    spacing = fastmri.fraction_spacing(hw[1], rate, share)
    return fastmri.equispaced_fraction_mask(hw[1], rate, share, int(rng.integers(round(spacing))))


def _magic(hw: HW, rate: int, share: float, rng: Rng) -> SamplingMask:
    return fastmri.magic_mask(hw[1], rate, share, int(rng.integers(rate)))


def _magic_fraction(hw: HW, rate: int, share: float, rng: Rng) -> SamplingMask:
    spacing = fastmri.magic_fraction_spacing(hw[1], rate, share)[1]
    offset = int(rng.integers(max(spacing, 1)))
    return fastmri.magic_fraction_mask(hw[1], rate, share, offset)


FAMILIES: Table[MaskFamily] = Table(
    "mask family",
    (
        MaskFamily("snu", lambda hw, rate, share, rng: snu_mask(hw[1], rate),
                   "the challenge's rule: a fixed lattice, 8 % ACS"),
        MaskFamily("equispaced", _lattice, "every R-th line from a random start"),
        MaskFamily("equispaced_fraction", _fraction, "nearly equispaced, W / R lines in all"),
        MaskFamily("random", lambda hw, rate, share, rng: fastmri.random_mask(
            hw[1], rate, share, rng), "lines drawn independently, W / R expected in all"),
        MaskFamily("magic", _magic, "two sides whose mirror images interleave"),
        MaskFamily("magic_fraction", _magic_fraction, "the same, W / R lines in all"),
        MaskFamily("binned", lambda hw, rate, share, rng: density.binned_mask(
            hw[1], rate, share, rng), "one random line in every bin of R"),
        MaskFamily("bernoulli", lambda hw, rate, share, rng: density.bernoulli_mask(
            hw[1], rate, share, rng), "lines drawn independently with chance 1/R, and the ACS"),
        MaskFamily("two_lattices", lambda hw, rate, share, rng: density.two_lattices_mask(
            hw[1], rate, share, rng), "left and right lattices with starts of their own"),
        MaskFamily("partial_fourier", lambda hw, rate, share, rng: density.partial_fourier_mask(
            hw[1], rate, share, rng), "a lattice over three quarters of k-space"),
        MaskFamily("variable_density", density.variable_density_mask,
                   "two phase encodes, samples denser towards the centre", (-2, -1)),
        MaskFamily("poisson_disc", poisson_disc_mask,
                   "two phase encodes, samples that keep their distance from each other", (-2, -1)),
    ),
)  # fmt: skip
