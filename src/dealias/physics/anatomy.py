"""Random anatomy, brain-like and knee-like, rendered finer than any scan of it.

Not real anatomy: layered shapes with folded, fibrous and granular structure, so that a network that
learns on it learns to tell structure from aliasing. Coordinates: y runs along the readout, x along
phase encode, both -1..1 over the target's field of view; the grid may reach further in y.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dealias.randomness import generator

Field = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Grid:
    """The rendering grid.

    Attributes:
        shape_hw: Pixels along (y, x).
        reach_y: Half the extent in y, in units of the target's half field of view.
    """

    shape_hw: tuple[int, int]
    reach_y: float = 1.0

    def coordinates(self) -> tuple[Field, Field]:
        """Pixel centres y (H, 1) and x (1, W); 0 is pixel N//2."""
        height, width = self.shape_hw
        y = (np.arange(height) - height // 2) * (2 * self.reach_y / height)
        x = (np.arange(width) - width // 2) * (2 / width)
        return y.astype(np.float32)[:, None], x.astype(np.float32)[None]


@dataclass(frozen=True)
class Subject:
    """One person: the same seed and number give the same anatomy at every slice.

    Attributes:
        seed: Of the data set.
        number: Of the person.
    """

    seed: int
    number: int

    def rng(self, *stream: int) -> np.random.Generator:
        """Draws that belong to this person."""
        return generator(self.seed, "anatomy", self.number, *stream)


def smooth_noise(rng: np.random.Generator, grid: Grid, size: float, stretch: float = 1.0) -> Field:
    """A Gaussian random field of unit variance.

    Args:
        rng: Where from.
        grid: On which grid.
        size: Correlation length in units of the half field of view.
        stretch: How much longer it is along y.

    Returns:
        (H, W) float32.
    """
    height, width = grid.shape_hw
    white = rng.standard_normal(grid.shape_hw, dtype=np.float32)
    ky = np.fft.fftfreq(height, 2 * grid.reach_y / height)[:, None]
    kx = np.fft.rfftfreq(width, 2 / width)[None]
    window = np.exp(-2 * (np.pi * size) ** 2 * ((ky * stretch) ** 2 + kx**2)).astype(np.float32)
    field = np.fft.irfft2(np.fft.rfft2(white) * window, s=grid.shape_hw).astype(np.float32)
    return field / max(float(field.std()), 1e-12)


def render(anatomy: str, subject: Subject, grid: Grid, depths: npt.NDArray[np.float64]) -> Field:
    """Slices of one subject.

    Args:
        anatomy: "brain" or "knee".
        subject: Whose.
        grid: Rendering grid, at least three times finer than the acquired one.
        depths: Position of each slice, -1..1 through the body.

    Returns:
        (Z, H, W) float32, mean signal about 1 inside.
    """
    draw: Callable[[Subject, Grid, float, _Texture], Field] = {"brain": _brain, "knee": _knee}[
        anatomy
    ]
    texture = _Texture(subject, grid)
    return np.stack([draw(subject, grid, float(depth), texture) for depth in depths])


class _Texture:
    """Random fields of a subject that turn smoothly from slice to slice."""

    def __init__(self, subject: Subject, grid: Grid) -> None:
        self._pairs: dict[tuple[int, float, float], tuple[Field, Field]] = {}
        self._subject, self._grid = subject, grid

    def at(self, stream: int, size: float, depth: float, turn: float, stretch: float = 1) -> Field:
        key = (stream, size, stretch)
        if key not in self._pairs:
            first, second = (self._subject.rng(stream, part) for part in (0, 1))
            self._pairs[key] = (
                smooth_noise(first, self._grid, size, stretch),
                smooth_noise(second, self._grid, size, stretch),
            )
        one, other = self._pairs[key]
        angle = turn * depth
        return np.float32(np.cos(angle)) * one + np.float32(np.sin(angle)) * other


def _soft(inside: Field, width: float) -> Field:
    """1 where inside > 0, 0 where below, over a transition of that width."""
    return np.clip(inside / width + 0.5, 0, 1)


def _ellipse(
    y: Field, x: Field, centre: tuple[float, float], radii: tuple[float, float], turn: float = 0.0
) -> Field:
    """1 at the centre, 0 on the edge, negative outside."""
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    dy, dx = y - np.float32(centre[0]), x - np.float32(centre[1])
    a, b = (cos * dy + sin * dx) / radii[0], (cos * dx - sin * dy) / radii[1]
    return (1 - np.sqrt(a * a + b * b)).astype(np.float32)


def _put(image: Field, inside: Field, value: Field | float, width: float = 0.01) -> Field:
    """Lay a tissue over the image."""
    weight = _soft(inside, width)
    return image * (1 - weight) + weight * np.float32(1) * value


def _brain(subject: Subject, grid: Grid, depth: float, texture: _Texture) -> Field:
    rng = subject.rng(99)
    y, x = grid.coordinates()
    tall, wide = rng.uniform(0.84, 0.93), rng.uniform(0.68, 0.80)
    shrink = np.sqrt(1 - 0.75 * depth**2)
    tilt, shift = rng.uniform(-0.08, 0.08), rng.uniform(-0.03, 0.03, 2)
    bumps = 0.02 * texture.at(0, 0.25, depth, 1.0)
    head = _ellipse(y, x, tuple(shift), (tall * shrink, wide * shrink), tilt) + bumps
    fat, bone, fluid = rng.uniform([1.6, 0.05, 1.5], [2.4, 0.2, 2.2])
    white, grey = rng.uniform([0.7, 1.0], [0.9, 1.3])
    image = _put(np.zeros(grid.shape_hw, np.float32), head, fat)
    image = _put(image, head - rng.uniform(0.05, 0.08), bone)
    brain = head - rng.uniform(0.12, 0.16)
    image = _put(image, brain, fluid)
    folds = np.abs(texture.at(1, 0.045, depth, 2.5) + 0.5 * texture.at(2, 0.02, depth, 4.0))
    # sulci open towards the surface; the ribbon of grey matter follows them
    opening = np.clip(0.35 - 0.9 * brain, 0.02, 0.35)
    cortex = brain - 0.03
    image = _put(image, np.minimum(cortex, (folds - opening) * 0.2), grey)
    core = np.minimum(brain - 0.07, (folds - opening - 0.45) * 0.2)
    image = _put(image, core, white)
    image = _deep_structures(image, subject, y, x, depth, (fluid, grey, white), tuple(shift))
    grain = 1 + 0.04 * texture.at(3, 0.008, depth, 6.0) + 0.05 * texture.at(4, 0.12, depth, 1.5)
    return (image * grain * (_soft(head, 0.01))).astype(np.float32).clip(0)


def _deep_structures(
    image: Field, subject: Subject, y: Field, x: Field, depth: float,
    tissue: tuple[float, float, float], shift: tuple[float, ...],
) -> Field:  # fmt: skip
    rng = subject.rng(7)
    fluid, grey, white = tissue
    size = max(1 - 2 * abs(depth - 0.1), 0.0)
    length, width, angle = rng.uniform([0.22, 0.05, 0.15], [0.34, 0.10, 0.35])
    for side in (-1, 1):
        nucleus = (shift[0] + 0.06, shift[1] + side * 0.22)
        image = _put(image, _ellipse(y, x, nucleus, (0.17, 0.09), side * 0.4), grey)
        centre = (shift[0] - 0.02, shift[1] + side * 0.10)
        horn = _ellipse(y, x, centre, (length * size + 1e-3, width * size + 1e-3), side * angle)
        image = _put(image, horn, fluid)
    for _ in range(int(rng.integers(2, 9))):
        where, radius = rng.uniform(-0.45, 0.45, 2), rng.uniform(0.01, 0.05)
        seen = radius * max(1 - 4 * abs(depth - rng.uniform(-0.8, 0.8)), 0.0)
        spot = _ellipse(y, x, (where[0], where[1]), (seen + 1e-3, 0.8 * seen + 1e-3))
        image = _put(image, spot, rng.uniform(0.3, 2.0))
    return image


def _knee(subject: Subject, grid: Grid, depth: float, texture: _Texture) -> Field:
    rng = subject.rng(98)
    y, x = grid.coordinates()
    fat, muscle, marrow, cartilage, fluid, cortical = rng.uniform(
        [1.5, 0.7, 1.2, 1.6, 2.0, 0.05], [2.2, 1.0, 1.7, 2.1, 2.6, 0.15]
    )
    bumps = 0.03 * texture.at(0, 0.3, depth, 1.0)
    # the leg leaves the field of view above and below, and touches it left and right
    leg = 0.98 - np.abs(x + 0.04 * np.sin(3 * y)) + bumps - 0.25 * (np.abs(y) > 1.25)
    image = _put(np.zeros(grid.shape_hw, np.float32), leg, fat)
    fibres = texture.at(1, 0.015, depth, 2.0, stretch=8.0)
    tone = np.float32(muscle) * (1 + 0.15 * fibres)
    image = _put(image, leg - rng.uniform(0.10, 0.22) + 0.5 * bumps, tone)
    joint = rng.uniform(-0.08, 0.08)
    turn = rng.uniform(-0.15, 0.15)
    trabeculae = 1 + 0.10 * texture.at(2, 0.012, depth, 4.0, stretch=2.0)
    width = rng.uniform(0.46, 0.56) * np.sqrt(1 - 0.5 * depth**2)
    femur = np.maximum(
        _ellipse(y, x, (joint - 0.30, 0.02), (0.27, width), turn),
        _ellipse(y, x, (joint - 1.05, 0.0), (0.90, 0.6 * width), turn),
    )
    tibia = np.maximum(
        _ellipse(y, x, (joint + 0.30, -0.02), (0.24, width), turn),
        _ellipse(y, x, (joint + 1.05, 0.0), (0.90, 0.55 * width), turn),
    )
    image = _put(image, np.minimum(0.10 - np.abs(y - joint), width - np.abs(x)), fluid, 0.02)
    for bone in (femur, tibia):
        image = _put(image, bone + 0.07, cartilage * (1 + 0.05 * fibres))
        image = _put(image, bone + 0.015, cortical)
        image = _put(image, bone - 0.02, marrow * trabeculae)
    patella = _ellipse(y, x, (joint - 0.25, 0.72), (0.22, 0.10), 0.1)
    image = _put(image, patella + 0.1, cartilage)
    image = _put(image, patella, cortical)
    image = _put(image, patella - 0.12, marrow * trabeculae)
    for side in (-1, 1):
        band = 0.02 - np.abs(x - side * 0.12 - 0.8 * side * (y - joint))
        image = _put(image, np.minimum(band, 0.12 - np.abs(y - joint)), 0.2)
    meniscus = _ellipse(y, x, (joint, -0.30), (0.05, 0.16), 0.05)
    image = _put(image, meniscus, 0.15)
    grain = 1 + 0.04 * texture.at(3, 0.008, depth, 6.0) + 0.06 * texture.at(4, 0.15, depth, 1.5)
    return (image * grain * _soft(leg, 0.01)).astype(np.float32).clip(0)
