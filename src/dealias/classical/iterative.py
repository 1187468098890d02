"""Classical reconstructions that stand where a model stands: Measurement in, Estimate out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass as plain_dataclass

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from dealias.errors import SettingsError
from dealias.physics.coils import divide, rss
from dealias.physics.sense import Sense
from dealias.scan.measurement import CROP, Estimate, Measurement, Needs

_STRICT = ConfigDict(extra="forbid")


@plain_dataclass(frozen=True)
class Problem:
    """What iterative SENSE solves: the image x of which A x is what was measured.

    Attributes:
        A: The encoding operator.
        right: A^H y, (B, S, H, W), or (B, S, M, H, W) for M sets of maps.
        sens_BSCHW: The maps.
        bound: The largest eigenvalue that A^H A can have, of the shape (B, 1, ...).
    """

    A: Sense
    right: Tensor
    sens_BSCHW: Tensor
    bound: Tensor

    @staticmethod
    def of(measurement: Measurement, method: str) -> Problem:
        """The problem of a measurement.

        Raises:
            SettingsError: The measurement has no sensitivity maps.
        """
        sens_BSCHW = measurement.sens_BSCHW
        if sens_BSCHW is None:
            raise SettingsError(method, "no sensitivity maps", "maps in the measurement")
        A = measurement.operator(sens_BSCHW)
        # several sets are orthogonal to each other: no eigenvalue is above the largest set's
        bound = _largest(rss(sens_BSCHW, coil_axis=-3)) ** 2
        return Problem(A, A.adjoint(measurement.kspace_BSCHW), sens_BSCHW, bound)

    @property
    def start(self) -> Tensor:
        """Zeros to begin with."""
        return torch.zeros_like(self.right)

    @property
    def peak(self) -> Tensor:
        """The largest magnitude of A^H y, of the shape (B, 1, ...)."""
        return _largest(self.right.abs())

    def slope(self, x: Tensor) -> Tensor:
        """The gradient of 1/2 |A x - y|^2."""
        return self.A.normal(x) - self.right

    def estimate(self, x: Tensor) -> Estimate:
        """The root-sum-of-squares over coils of S x, as the target is one, with x and the maps."""
        image_BSHW = self.A.magnitude(x)
        return Estimate(image_BSHW[:, x.shape[1] // 2], x, self.sens_BSCHW)


def _largest(x: Tensor) -> Tensor:
    return x.amax(tuple(range(1, x.ndim)), keepdim=True)


@dataclass(frozen=True, config=_STRICT)
class ZeroFilled:
    """Root-sum-of-squares of the coil images with zeros where nothing was measured."""

    @property
    def needs(self) -> Needs:
        """Nothing but k-space."""
        return Needs()

    def __call__(self, measurement: Measurement) -> Estimate:
        """Combine the zero-filled coil images of each item's centre slice."""
        return Estimate(measurement.zero_filled())


@dataclass(frozen=True, config=_STRICT)
class IterativeSense:
    """What iterative SENSE is set by, whatever its penalty.

    Attributes:
        regularisation: Weight of the penalty; the method says relative to what.
        iterations: Always all of them.
        crop: Of the maps; see `Needs`.
        sets: Of maps: 2 where the field of view is smaller than the body.
    """

    regularisation: float = Field(default=0.01, ge=0, le=1e6, allow_inf_nan=False)
    iterations: int = Field(default=20, ge=1, le=10_000)
    crop: float = Field(default=CROP, ge=0, lt=1)
    sets: int = Field(default=1, ge=1, le=4)

    @property
    def needs(self) -> Needs:
        """ESPIRiT maps; all readout rows, so that masks over both axes work as well."""
        return Needs(maps="espirit", crop=self.crop, sets=self.sets)


@dataclass(frozen=True, config=_STRICT)
class CgSense(IterativeSense):
    """Iterative SENSE: (A^H A + lambda I) x = A^H y by conjugate gradients.

    Pruessmann et al., Advances in sensitivity encoding with arbitrary k-space trajectories,
    Magn Reson Med 46:638 (2001); Tikhonov-regularised.

    `regularisation` is lambda relative to the largest eigenvalue that S^H S has (1 for maps of unit
    root-sum-of-squares), so it means the same for data of any scale.
    """

    def __call__(self, measurement: Measurement) -> Estimate:
        """Reconstruct each item's centre slice.

        Args:
            measurement: With `sens_BSCHW`.

        Returns:
            The root-sum-of-squares over coils of S x, as the target is one, with x and the maps.
        """
        problem = Problem.of(measurement, "cg-sense")
        shift = self.regularisation * problem.bound

        def system(x: Tensor) -> Tensor:
            return problem.A.normal(x) + shift * x

        return problem.estimate(conjugate_gradients(system, problem.right, self.iterations))


def conjugate_gradients(
    system: Callable[[Tensor], Tensor], right: Tensor, iterations: int
) -> Tensor:
    """Solve system(x) = right from x = 0, each item of axis 0 with step sizes of its own.

    Hestenes and Stiefel, Methods of conjugate gradients for solving linear systems (1952).

    Args:
        system: A Hermitian positive semidefinite operator that does not mix items.
        right: (B, ...) complex.
        iterations: Steps to take; one that has nothing left to do changes nothing.

    Returns:
        x, of the same shape; zeros for an item whose right side is zero.
    """
    x = torch.zeros_like(right)
    residual = direction = right
    energy = _dot(residual, residual)
    # below rounding there is only noise left, which further steps would blow up
    solved = energy * torch.finfo(energy.dtype).eps ** 2
    for _ in range(iterations):
        image = system(direction)
        curvature = _dot(direction, image)
        going = (energy > solved) & (curvature > 0)
        step = divide(energy * going, curvature)
        x = x + step * direction
        residual = residual - step * image
        fresh = _dot(residual, residual)
        direction = residual + divide(fresh * going, energy) * direction
        energy = fresh
    return x


def _dot(a: Tensor, b: Tensor) -> Tensor:
    product = (a.conj() * b).real.flatten(1).sum(1)
    return product.reshape(-1, *(1 for _ in range(a.ndim - 1)))
