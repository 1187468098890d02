"""Random anatomy, brain-like and knee-like, rendered finer than any scan of it.

Not real anatomy: layered shapes with folded, fibrous and granular structure, so that a network that
learns on it learns to tell structure from aliasing. Coordinates: y runs along the readout, x along
phase encode, in units in which the target's smaller half is 1; the grid may reach further.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from dealias.randomness import generator

Field = npt.NDArray[np.floating[Any]]
Point = tuple[float, float]
Tissues = dict[str, float]
EDGE = 0.006
"""Width of a border between tissues, about a pixel of a large scan."""

# ranges of mean signal by contrast: T2-, FLAIR- and T1-weighted heads, proton density without and
# with suppressed fat for knees
_BRAIN: tuple[dict[str, Point], ...] = (
    {"fat": (1.7, 2.3), "fluid": (1.8, 2.3), "grey": (1.05, 1.25), "white": (0.65, 0.8)},
    {"fat": (1.4, 2.0), "fluid": (0.15, 0.3), "grey": (1.15, 1.35), "white": (0.8, 0.95)},
    {"fat": (2.0, 2.6), "fluid": (0.2, 0.4), "grey": (0.7, 0.85), "white": (1.15, 1.35)},
)
_KNEE: tuple[dict[str, Point], ...] = (
    {"fat": (1.5, 2.0), "marrow": (1.2, 1.6), "muscle": (0.7, 0.9), "cartilage": (1.1, 1.4),
     "fluid": (1.5, 2.0), "dark": (0.08, 0.2)},
    {"fat": (0.45, 0.7), "marrow": (0.35, 0.6), "muscle": (0.9, 1.2), "cartilage": (1.5, 1.9),
     "fluid": (2.2, 3.0), "dark": (0.08, 0.2)},
)  # fmt: skip


@dataclass(frozen=True)
class Grid:
    """The rendering grid.

    Attributes:
        shape_hw: Pixels along (y, x).
        reach_y: Half the extent in y.
        reach_x: Half the extent in x.
    """

    shape_hw: tuple[int, int]
    reach_y: float = 1.0
    reach_x: float = 1.0

    def coordinates(self) -> tuple[Field, Field]:
        """Pixel centres y (H, 1) and x (1, W); 0 is pixel N//2."""
        height, width = self.shape_hw
        y = (np.arange(height) - height // 2) * (2 * self.reach_y / height)
        x = (np.arange(width) - width // 2) * (2 * self.reach_x / width)
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


def render(anatomy: str, subject: Subject, grid: Grid, depths: npt.NDArray[np.float64]) -> Field:
    """Slices of one subject; neighbouring slices show nearly the same.

    Args:
        anatomy: "brain" (axial) or "knee" (coronal).
        subject: Whose.
        grid: Rendering grid, at least three times finer than the acquired one.
        depths: Position of each slice, -1..1 through the body.

    Returns:
        (Z, H, W) float32, >= 0, of the order of 1 inside.
    """
    draw = {"brain": _brain, "knee": _knee}[anatomy]
    textures = Textures(subject, grid)
    return np.stack([draw(_Canvas(subject, textures, float(depth))) for depth in depths])


def smooth_noise(rng: np.random.Generator, grid: Grid, size: float, stretch: float = 1.0) -> Field:
    """A Gaussian random field of unit variance.

    Args:
        rng: Where from.
        grid: On which grid.
        size: Correlation length.
        stretch: How much longer it is along y.

    Returns:
        (H, W) float32.
    """
    height, width = grid.shape_hw
    white = rng.standard_normal(grid.shape_hw, dtype=np.float32)
    ky = np.fft.fftfreq(height, 2 * grid.reach_y / height)[:, None]
    kx = np.fft.rfftfreq(width, 2 * grid.reach_x / width)[None]
    window = np.exp(-2 * (np.pi * size) ** 2 * ((ky * stretch) ** 2 + kx**2)).astype(np.float32)
    field = np.fft.irfft2(np.fft.rfft2(white) * window, s=grid.shape_hw).astype(np.float32)
    return field / max(float(field.std()), 1e-12)


@dataclass(frozen=True)
class Textures:
    """Random fields of a subject that turn smoothly from slice to slice."""

    subject: Subject
    grid: Grid
    _pairs: dict[tuple[int, float, float], tuple[Field, Field]] = field(default_factory=dict)

    def at(self, stream: int, size: float, angle: float, stretch: float = 1.0) -> Field:
        """A field of unit variance; angles far apart give unrelated ones."""
        key = (stream, size, stretch)
        if key not in self._pairs:
            first, second = (
                smooth_noise(self.subject.rng(stream, part), self.grid, size, stretch)
                for part in (0, 1)
            )
            self._pairs[key] = first, second
        one, other = self._pairs[key]
        return np.float32(np.cos(angle)) * one + np.float32(np.sin(angle)) * other


class _Canvas:
    """One slice: an image that tissues are laid on, one over the other."""

    def __init__(self, subject: Subject, textures: Textures, depth: float) -> None:
        self.subject, self.grid, self.depth = subject, textures.grid, depth
        self.y, self.x = self.grid.coordinates()
        self.image = np.zeros(self.grid.shape_hw, np.float32)
        self._textures = textures

    def texture(self, stream: int, size: float, turn: float, stretch: float = 1.0) -> Field:
        """A random field that changes over about 1 / turn in depth."""
        return self._textures.at(stream, size, turn * self.depth, stretch)

    def finished(self) -> Field:
        """With fine grain and slow shading, as tissue has."""
        grain = 1 + 0.05 * self.texture(90, 0.007, 6) + 0.05 * self.texture(91, 0.2, 1)
        return (self.image * grain).clip(0).astype(np.float32)

    def put(self, within: Field, value: Field | float, width: float = EDGE) -> None:
        """Lay a tissue where the distance to its border (positive inside) says."""
        weight = np.clip(within * np.float32(1 / width) + np.float32(0.5), 0, 1)
        self.image += weight * (np.float32(1) * value - self.image)

    def spot(
        self, centre: Point, radii: Point, value: float, turn: float = 0.0, width: float = EDGE
    ) -> None:
        """Lay an ellipse, working in its bounding box alone."""
        if min(radii) <= 0:
            return
        reach = max(radii) + width
        rows = np.flatnonzero(np.abs(self.y[:, 0] - centre[0]) <= reach)
        columns = np.flatnonzero(np.abs(self.x[0] - centre[1]) <= reach)
        if rows.size == 0 or columns.size == 0:
            return
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        within = _ellipse(self.y[box[0]], self.x[:, box[1]], centre, radii, turn)
        weight = np.clip(within / np.float32(width) + np.float32(0.5), 0, 1)
        self.image[box] += weight * (np.float32(value) - self.image[box])


def _ellipse(y: Field, x: Field, centre: Point, radii: Point, turn: float = 0.0) -> Field:
    """About the distance to the edge, positive inside."""
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    dy, dx = y - np.float32(centre[0]), x - np.float32(centre[1])
    a, b = (cos * dy + sin * dx) / radii[0], (cos * dx - sin * dy) / radii[1]
    return ((1 - np.sqrt(a * a + b * b)) * min(radii)).astype(np.float32)


def _line_distance(f: Field, grid: Grid) -> Field:
    """About the distance to the lines where a field is 0."""
    step_y, step_x = (2 * r / n for r, n in zip((grid.reach_y, grid.reach_x), f.shape, strict=True))
    slope = np.sqrt((np.gradient(f, axis=0) / step_y) ** 2 + (np.gradient(f, axis=1) / step_x) ** 2)
    # flat spots near 0 would else make wide blots
    return (np.abs(f) / (slope + 0.25 * slope.mean())).astype(np.float32)


def _drawn(rng: np.random.Generator, contrasts: tuple[dict[str, Point], ...]) -> Tissues:
    kind = contrasts[int(rng.integers(len(contrasts)))]
    return {name: float(rng.uniform(*limits)) for name, limits in kind.items()}


def _brain(canvas: _Canvas) -> Field:
    rng, tissue = canvas.subject.rng(99), _drawn(canvas.subject.rng(98), _BRAIN)
    y, x, depth = canvas.y, canvas.x, canvas.depth
    tall, wide, tilt = rng.uniform([0.84, 0.66, -0.08], [0.92, 0.76, 0.08])
    shift: Point = tuple(rng.uniform(-0.02, 0.02, 2))
    size = np.sqrt(1 - 0.7 * depth**2)
    bumps = 0.012 * canvas.texture(0, 0.3, 1)
    head = _ellipse(y, x, shift, (tall * size, wide * size), tilt) + bumps
    scalp, table, dura = rng.uniform([0.045, 0.06, 0.015], [0.08, 0.09, 0.03])
    canvas.put(head, tissue["fat"])
    canvas.put(head - scalp, 0.08)
    canvas.put(np.minimum(head - scalp - 0.3 * table, 0.4 * table + scalp - head), 0.6)
    canvas.put(head - scalp - table, tissue["fluid"])
    inner = head - scalp - table - dura
    _cortex(canvas, inner, tissue, shift[1])
    _deep_structures(canvas, tissue, shift)
    if depth < -0.25:
        _hind_brain(canvas, inner, tissue, shift)
    _spots(canvas, tissue)
    return canvas.finished()


def _cortex(canvas: _Canvas, inner: Field, tissue: Tissues, middle: float) -> None:
    """White matter with grey folds around fluid: lines that a random field draws, cut short."""
    lines = canvas.texture(1, 0.042, 2.0) + 0.4 * canvas.texture(2, 0.021, 3.0)
    folds = _line_distance(lines, canvas.grid)
    ribbon = 0.028 + 0.005 * canvas.texture(3, 0.1, 1)
    # a fold opens at the surface and closes at a depth that differs from place to place
    reach = 0.27 + 0.35 * max(canvas.depth - 0.2, 0) + 0.07 * canvas.texture(4, 0.12, 1.5)
    reach = reach.clip(0.1)
    gap = np.clip(0.013 * (1 - inner / reach), -0.02, 0.013)
    wander = canvas.x - np.float32(middle) - 0.02 * canvas.texture(5, 0.3, 1)
    fissure = np.abs(wander) - 0.010 - 0.02 * min(max(canvas.depth - 0.1, 0.0), 0.5)
    fissure = fissure + 0.5 * np.clip(inner - 0.22 - 0.8 * max(canvas.depth, 0), 0, 0.2)
    surface = np.minimum(np.minimum(inner, folds - gap), fissure)
    near = np.clip(1.6 - 1.2 * inner / reach, 0, 1)
    canvas.put(surface, tissue["grey"])
    fibres = tissue["white"] * (1 + 0.05 * canvas.texture(6, 0.018, 3))
    core = np.minimum(np.minimum(inner, fissure), folds - gap + (1 - near) * 0.1) - ribbon
    canvas.put(core, fibres, 2 * EDGE)


def _deep_structures(canvas: _Canvas, tissue: Tissues, shift: Point) -> None:
    """Ventricles, thalamus, caudate, lentiform nucleus, third ventricle."""
    rng, depth = canvas.subject.rng(7), canvas.depth
    length, width, angle, nuclei = rng.uniform([0.16, 0.025, 0.2, 0.9], [0.22, 0.055, 0.4, 1.15])
    pale = 0.4 * tissue["grey"] + 0.6 * tissue["white"]
    open_, seen = (max(1 - (2.0 * (depth - at)) ** 2, 0.0) for at in (0.1, -0.05))
    cy, cx = shift
    mixed = 0.75 * tissue["grey"] + 0.25 * tissue["white"]
    nuclei_of_a_side = (  # lentiform, its pale core, thalamus, caudate: y, x, radii, signal, turn
        (0.04, 0.29, 0.19, 0.065, tissue["grey"], -0.25),
        (0.05, 0.245, 0.10, 0.035, pale, -0.25),
        (0.13, 0.10, 0.13, 0.085, mixed, 0.3),
        (-0.13, 0.155, 0.10, 0.05, tissue["grey"], 0.2),
    )
    for side in (-1, 1):
        for down, out, tall, wide, value, turn in nuclei_of_a_side:
            radii = (tall * nuclei * seen, wide * nuclei * seen)
            canvas.spot((cy + down, cx + side * out), radii, value, side * turn, 0.02)
        for at, lean, long in ((-0.14, angle, 0.8), (0.20, -1.4 * angle, 1.0)):
            place = (cy + at, cx + side * (0.085 if at < 0 else 0.16))
            radii = (length * long * open_, width * open_)
            canvas.spot(place, radii, tissue["fluid"], -side * lean)
    canvas.spot((cy + 0.12, cx), (0.13 * seen, 0.014 * seen), tissue["fluid"])


def _hind_brain(canvas: _Canvas, inner: Field, tissue: Tissues, shift: Point) -> None:
    """Cerebellum with fine leaves, brain stem and eyes, towards the neck."""
    grown = min((-0.25 - canvas.depth) * 3, 1.0)
    cy, cx = shift
    lobe = _ellipse(canvas.y, canvas.x, (cy + 0.42, cx), (0.34 * grown, 0.46 * grown))
    lobe = np.minimum(lobe, inner)
    canvas.put(lobe + 0.02, tissue["fluid"])
    leaves = np.sin(140 * lobe + 2.0 * canvas.texture(8, 0.08, 2))
    canvas.put(lobe, tissue["grey"])
    mix = tissue["white"] + (tissue["fluid"] - tissue["white"]) * 0.8 * (leaves > 0.4)
    canvas.put(np.minimum(lobe - 0.01, (leaves - 0.4) * 0.01), mix)
    canvas.put(lobe - 0.15 * grown, tissue["white"], 0.02)
    canvas.spot((cy + 0.13, cx), (0.13 * grown, 0.14 * grown), tissue["fluid"])
    canvas.spot((cy + 0.12, cx), (0.11 * grown, 0.12 * grown), tissue["white"])
    canvas.spot((cy + 0.25, cx), (0.025 * grown, 0.05 * grown), tissue["fluid"])
    for side in (-1, 1):
        canvas.spot((cy - 0.55, cx + side * 0.24), (0.12 * grown, 0.12 * grown), tissue["fluid"])


def _spots(canvas: _Canvas, tissue: Tissues) -> None:
    """Vessels and small lesions, seen on the few slices that cut them."""
    rng, depth = canvas.subject.rng(97), canvas.depth
    for kind in ("vessel",) * 60 + ("lesion",) * int(rng.integers(1, 8)):
        away, angle, at = (
            0.4 * np.sqrt(rng.uniform()),
            rng.uniform(0, 2 * np.pi),
            rng.uniform(-1, 1),
        )
        where = (1.1 * away * np.cos(angle), 0.9 * away * np.sin(angle))
        seen = max(1 - 3 * abs(depth - 0.75 * at), 0.0)
        if kind == "vessel":
            radius, value = rng.uniform(0.006, 0.016) * seen, rng.choice([0.1, 1.2])
            canvas.spot(where, (radius, radius), float(value * tissue["fluid"]))
        else:
            tall, wide, value, turn = rng.uniform([0.012, 0.012, 0.4, 0], [0.05, 0.05, 2.0, 3])
            canvas.spot(where, (tall * seen, wide * seen), value, turn, 0.015)


def _knee(canvas: _Canvas) -> Field:
    rng, tissue = canvas.subject.rng(99), _drawn(canvas.subject.rng(98), _KNEE)
    joint, lean, thick, girth = rng.uniform([-0.1, -0.08, 0.07, 0.90], [0.1, 0.08, 0.16, 1.04])
    mirror, wide = float(rng.choice([-1, 1])), rng.uniform(0.50, 0.58)
    y = canvas.y - np.float32(joint)
    x = mirror * (canvas.x - np.float32(lean) * canvas.y)
    # the leg runs through the field of view from end to end, and touches its sides
    leg = girth + 0.10 * y**2 - np.abs(x) + 0.02 * canvas.texture(0, 0.3, 1)
    canvas.put(leg, tissue["fat"])
    septa = _line_distance(canvas.texture(1, 0.06, 1, stretch=0.6), canvas.grid)
    canvas.put(np.minimum(0.006 - septa, leg - 0.03), 0.6 * tissue["fat"])
    flesh = leg - thick - 0.05 * (1 + canvas.texture(2, 0.3, 1))
    _muscles(canvas, flesh, tissue)
    size = np.sqrt(1 - 0.45 * canvas.depth**2)
    femur = _femur(y, x, wide * size, canvas.depth)
    tibia = _tibia(y, x, wide * size)
    _capsule(canvas, y, x, wide * size, tissue)
    for bone in (femur, tibia):
        _bone(canvas, bone, y, tissue)
    fibula = _ellipse(y, x, (0.95, -0.80 * wide - 0.10), (0.62, 0.085 * size))
    _bone(canvas, fibula, y, tissue)
    _ligaments(canvas, y, x, wide * size, tissue)
    # the coils' and the receiver's reach along the readout
    fade = np.clip((1.75 - np.abs(canvas.y)) / 0.5, 0.05, 1)
    canvas.image *= fade
    return canvas.finished()


def _muscles(canvas: _Canvas, inside: Field, tissue: Tissues) -> None:
    """Bundles of fibres between sheets of fat, under a dark fascia."""
    fibres = 0.6 * canvas.texture(10, 0.010, 2, 9.0) + 0.4 * canvas.texture(11, 0.03, 1, 6.0)
    canvas.put(inside + 0.012, tissue["dark"])
    canvas.put(inside, tissue["muscle"] * (1 + 0.16 * fibres))
    sheets = _line_distance(canvas.texture(12, 0.11, 1.5, 5.0), canvas.grid)
    canvas.put(np.minimum(0.010 - sheets, inside - 0.01), 0.9 * tissue["fat"])


def _femur(y: Field, x: Field, wide: float, depth: float) -> Field:
    """Shaft, flare and two condyles with a notch between them; y = 0 is the joint."""
    flare = wide * (0.48 + 0.50 / (1 + np.exp((-y - 0.52) * 12)))
    shaft = np.minimum(flare - np.abs(x), -y - 0.22)
    condyles = np.maximum(
        _ellipse(y, x, (-0.28, -0.52 * wide), (0.255, 0.47 * wide)),
        _ellipse(y, x, (-0.27, 0.52 * wide), (0.250, 0.47 * wide)),
    )
    notch = _ellipse(y, x, (0.0, 0.0), (0.20 - 0.10 * depth, 0.20 * wide))
    return np.minimum(np.maximum(shaft, condyles), -notch)


def _tibia(y: Field, x: Field, wide: float) -> Field:
    """Plateau with two spines, narrowing to the shaft."""
    narrowing = wide * (0.46 + 0.54 / (1 + np.exp((y - 0.40) * 10)))
    spines = 0.05 * (np.exp(-(((x - 0.05) / 0.035) ** 2)) + np.exp(-(((x + 0.05) / 0.035) ** 2)))
    top = y - 0.035 + spines - 0.04 * (x / wide) ** 2
    return np.minimum(narrowing - np.abs(x), top).astype(np.float32)


def _bone(canvas: _Canvas, bone: Field, y: Field, tissue: Tissues) -> None:
    """Dark cortex around marrow with trabeculae, vessels and the scar of the growth plate."""
    mesh = 0.6 * canvas.texture(20, 0.010, 4, 2.5) + 0.4 * canvas.texture(21, 0.06, 1)
    canvas.put(bone, tissue["dark"])
    canvas.put(bone - 0.022, tissue["marrow"] * (1 + 0.13 * mesh), 2 * EDGE)
    scar = np.abs(np.abs(y) - 0.46 - 0.025 * canvas.texture(22, 0.15, 1))
    canvas.put(np.minimum(0.007 - scar, bone - 0.03), 0.4 * tissue["marrow"])


def _capsule(canvas: _Canvas, y: Field, x: Field, wide: float, tissue: Tissues) -> None:
    """Joint space: fat around, cartilage on both bones, a film of fluid, and the menisci."""
    around = np.minimum(0.20 - np.abs(y + 0.05), wide + 0.03 - np.abs(x))
    canvas.put(around, 0.8 * tissue["fat"], 0.03)
    space = np.minimum(0.075 - np.abs(y + 0.01), 0.97 * wide - np.abs(x))
    canvas.put(space, tissue["cartilage"] * (1 + 0.05 * canvas.texture(30, 0.02, 2)))
    film = np.minimum(0.007 - np.abs(y + 0.005), 0.9 * wide - np.abs(x))
    canvas.put(film, tissue["fluid"])
    wedge = (np.abs(x) - 0.62 * wide) * 0.16 - np.abs(y + 0.005)
    canvas.put(np.minimum(wedge, 1.0 * wide - np.abs(x)), tissue["dark"])


def _ligaments(canvas: _Canvas, y: Field, x: Field, wide: float, tissue: Tissues) -> None:
    """Collateral bands at both sides, cruciate ones in the notch, fluid around them."""
    for side, top, bottom in ((-1, -0.36, 0.30), (1, -0.36, 0.50)):
        bow = wide * (1.03 - 0.35 * (y + 0.03) ** 2)
        band = 0.016 - np.abs(x - side * bow)
        canvas.put(np.minimum(band, np.minimum(y - top, bottom - y)), tissue["dark"], 2 * EDGE)
    notch = _ellipse(y, x, (-0.07, 0.0), (0.11 - 0.05 * canvas.depth, 0.15 * wide))
    canvas.put(notch, tissue["fluid"])
    stripes = 1 + 0.8 * np.abs(canvas.texture(31, 0.01, 1, 4.0))
    for side, slant in ((-1, 0.75), (1, 0.45)):
        band = 0.024 - np.abs(x - side * (0.02 + slant * (y + 0.08)))
        canvas.put(np.minimum(band, 0.10 - np.abs(y + 0.09)), tissue["dark"] * stripes)
