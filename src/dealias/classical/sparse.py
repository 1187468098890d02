"""SENSE with a sparsity penalty: L1-wavelet and total variation.

Lustig et al., Sparse MRI, Magn Reson Med 58:1182 (2007). Weights are relative to the largest
magnitude of A^H y, so that they mean the same for data of any scale.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn.functional import pad

from dealias.classical.iterative import IterativeSense, Problem
from dealias.physics.coils import divide
from dealias.physics.wavelet import inverse_wavelet, wavelet
from dealias.randomness import generator
from dealias.scan.measurement import Estimate, Measurement

_STRICT = ConfigDict(extra="forbid")
INNER = 5
"""Steps towards each proximal point of total variation, from where the last ones ended: its
objective comes within 0.2 % of the minimum (one step: 1 %)."""
_NORM = 8.0
"""The squared norm of the gradient of an image, at most (Chambolle 2004)."""
Proximal = Callable[[Tensor, Tensor, int], Tensor]


@dataclass(frozen=True, config=_STRICT)
class FistaSense(IterativeSense):
    """`IterativeSense` by FISTA; `regularisation` is lambda."""

    regularisation: float = Field(default=0.002, ge=0, le=1e6, allow_inf_nan=False)
    iterations: int = Field(default=80, ge=1, le=10_000)


@dataclass(frozen=True, config=_STRICT)
class L1Wavelet(FistaSense):
    """1/2 |A x - y|^2 + lambda |W x|_1, W Daubechies wavelets shifted anew in each iteration.

    Attributes:
        levels: How often the transform splits the coarse image: 2 for a head, more for large smooth
            bodies.
    """

    levels: int = Field(default=2, ge=1, le=8)

    def __call__(self, measurement: Measurement) -> Estimate:
        """Reconstruct each item's centre slice; see `CgSense`."""
        problem = Problem.of(measurement, "l1-wavelet")

        def shrink(x: Tensor, weight: Tensor, iteration: int) -> Tensor:
            return _shrunk(x, self.regularisation * weight, self.levels, iteration)

        return problem.estimate(fista(problem, shrink, self.iterations))


@dataclass(frozen=True, config=_STRICT)
class TotalVariation(FistaSense):
    """1/2 |A x - y|^2 + lambda sum of |grad x|, the magnitude taken over both axes.

    Rudin, Osher, Fatemi, Physica D 60:259 (1992); the gradient is periodic.
    """

    def __call__(self, measurement: Measurement) -> Estimate:
        """Reconstruct each item's centre slice; see `CgSense`."""
        problem = Problem.of(measurement, "total-variation")
        dual = torch.zeros_like(_gradient(problem.start))

        def smooth(x: Tensor, weight: Tensor, iteration: int) -> Tensor:
            nonlocal dual
            dual = _flattening(x, self.regularisation * weight, dual)
            return x - _gradient_adjoint(dual)

        return problem.estimate(fista(problem, smooth, self.iterations))


def fista(problem: Problem, proximal: Proximal, iterations: int) -> Tensor:
    """Minimise 1/2 |A x - y|^2 plus the penalty of `proximal`.

    Beck and Teboulle, SIAM J Imaging Sci 2:183 (2009).

    Args:
        problem: A and y.
        proximal: (x, weight, iteration) to the proximal point, weight being the data's peak over
            the gradient's Lipschitz bound.
        iterations: How many.

    Returns:
        x, of the shape of A^H y.
    """
    x = moved = problem.start
    weight, momentum = divide(problem.peak, problem.bound), 1.0
    for iteration in range(iterations):
        fresh = proximal(moved - divide(problem.slope(moved), problem.bound), weight, iteration)
        ahead, momentum = _ahead(momentum)
        moved = fresh + ahead * (fresh - x)
        x = fresh
    return x


def _ahead(momentum: float) -> tuple[float, float]:
    """How far to go on in the direction of the last step, and the momentum that follows."""
    following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
    return (momentum - 1) / following, following


def _shrunk(x: Tensor, weight: Tensor, levels: int, iteration: int) -> Tensor:
    """The image of soft-thresholded coefficients, under a shift that the iteration decides."""
    height, width = x.shape[-2:]
    unit = 1 << levels
    shift_y, shift_x = generator(0, "wavelet", iteration).integers(unit, size=2).tolist()
    # zeros up to a whole number of the coarsest pixels
    padded = pad(x, (0, -width % unit, 0, -height % unit)).roll((shift_y, shift_x), (-2, -1))
    coefficients = wavelet(padded, levels)
    size = coefficients.abs()
    kept = coefficients * divide((size - weight).clamp(min=0), size)
    image = inverse_wavelet(kept, levels).roll((-shift_y, -shift_x), (-2, -1))
    return image[..., :height, :width]


def _flattening(x: Tensor, limit: Tensor, dual: Tensor) -> Tensor:
    """The field p, |p| <= limit, for which x - grad^H p is the proximal point of limit * TV.

    Fast gradient projection (Beck and Teboulle, IEEE Trans Image Process 18:2419, 2009).
    """
    moved, momentum = dual, 1.0
    for _ in range(INNER):
        fresh = moved + _gradient(x - _gradient_adjoint(moved)) / _NORM
        size = (fresh.real**2 + fresh.imag**2).sum(0).sqrt()
        fresh = fresh * torch.where(size > limit, divide(limit, size), torch.ones_like(size))
        ahead, momentum = _ahead(momentum)
        moved = fresh + ahead * (fresh - dual)
        dual = fresh
    return dual


def _gradient(x: Tensor) -> Tensor:
    """Differences to the next row and column: (2, ...)."""
    return torch.stack([x.roll(-1, -2) - x, x.roll(-1, -1) - x])


def _gradient_adjoint(field: Tensor) -> Tensor:
    down, across = field
    return down.roll(1, -2) - down + across.roll(1, -1) - across
