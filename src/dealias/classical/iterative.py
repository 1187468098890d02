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
        right: A^H y, (B, S, H, W).
        sens_BSCHW: The maps.
        weight_BSHW: Their root-sum-of-squares.
        bound: The largest eigenvalue that A^H A can have, (B, 1, 1, 1).
    """

    A: Sense
    right: Tensor
    sens_BSCHW: Tensor
    weight_BSHW: Tensor
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
        weight_BSHW = rss(sens_BSCHW, coil_axis=2)
        bound = weight_BSHW.amax((1, 2, 3), keepdim=True) ** 2
        return Problem(A, A.adjoint(measurement.kspace_BSCHW), sens_BSCHW, weight_BSHW, bound)

    @property
    def start(self) -> Tensor:
        """Zeros to begin with."""
        return torch.zeros_like(self.right)

    @property
    def peak(self) -> Tensor:
        """The largest magnitude of A^H y: (B, 1, 1, 1)."""
        return self.right.abs().amax((1, 2, 3), keepdim=True)

    def slope(self, x_BSHW: Tensor) -> Tensor:
        """The gradient of 1/2 |A x - y|^2."""
        return self.A.normal(x_BSHW) - self.right

    def estimate(self, x_BSHW: Tensor) -> Estimate:
        """The root-sum-of-squares over coils of S x, as the target is one, with x and the maps."""
        centre = x_BSHW.shape[1] // 2
        image_BHW = x_BSHW[:, centre].abs() * self.weight_BSHW[:, centre]
        return Estimate(image_BHW, x_BSHW, self.sens_BSCHW)


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
class CgSense:
    """Iterative SENSE: (A^H A + lambda I) x = A^H y by conjugate gradients.

    Pruessmann et al., Advances in sensitivity encoding with arbitrary k-space trajectories,
    Magn Reson Med 46:638 (2001); Tikhonov-regularised.

    Attributes:
        regularisation: lambda relative to the largest eigenvalue that S^H S has (1 for maps of unit
            root-sum-of-squares), so it means the same for data of any scale.
        iterations: Conjugate gradient steps, always all of them.
        crop: Of the maps; see `Needs`.
    """

    regularisation: float = Field(default=0.01, ge=0, le=1e6, allow_inf_nan=False)
    iterations: int = Field(default=20, ge=1, le=10_000)
    crop: float = Field(default=CROP, ge=0, lt=1)

    @property
    def needs(self) -> Needs:
        """ESPIRiT maps; all readout rows, so that masks over both axes work as well."""
        return Needs(maps="espirit", crop=self.crop)

    def __call__(self, measurement: Measurement) -> Estimate:
        """Reconstruct each item's centre slice.

        Args:
            measurement: With `sens_BSCHW`.

        Returns:
            The root-sum-of-squares over coils of S x, as the target is one, with x and the maps.
        """
        problem = Problem.of(measurement, "cg-sense")
        shift = self.regularisation * problem.bound

        def system(x_BSHW: Tensor) -> Tensor:
            return problem.A.normal(x_BSHW) + shift * x_BSHW

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
