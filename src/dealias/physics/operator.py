"""The linear operator every physics model is."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


class LinearOperator(ABC):
    """A linear map between two spaces of complex tensors, with its adjoint.

    Attributes:
        domain: Shape of the tensors it acts on.
        range: Shape of the tensors it gives.
    """

    domain: tuple[int, ...]
    range: tuple[int, ...]

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """A x."""

    @abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """A^H y."""

    def normal(self, x: Tensor) -> Tensor:
        """A^H A x."""
        return self.adjoint(self.forward(x))
