"""Complex noise, white or of a covariance that is hard to mistake."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

Draw = Callable[..., torch.Tensor]


@pytest.fixture
def white() -> Draw:
    """white(*shape, seed=0): noise of variance 1 (1/2 in each part)."""

    def draw(*shape: int, seed: int = 0) -> torch.Tensor:
        rng = torch.Generator().manual_seed(seed)
        return torch.randn(shape, dtype=torch.complex128, generator=rng)

    return draw


@pytest.fixture
def make_psi(white: Draw) -> Draw:
    """make_psi(coils, scale): Hermitian, positive; very different coils, strongly correlated."""

    def make(coils: int = 4, scale: float = 1.0) -> torch.Tensor:
        mixing = white(coils, coils, seed=3) + 0.5 * torch.eye(coils)
        mixing = torch.diag(torch.logspace(0, 0.8, coils, dtype=torch.float64)).to(mixing) @ mixing
        return scale * mixing @ mixing.mH

    return make


@pytest.fixture
def noise_of(white: Draw) -> Draw:
    """noise_of(psi_CC, *shape): noise (C, ...) of that covariance, by NumPy's Cholesky factor."""

    def draw(psi_CC: torch.Tensor, *shape: int) -> torch.Tensor:
        root = torch.from_numpy(np.linalg.cholesky(psi_CC.numpy()))
        return torch.tensordot(root, white(len(psi_CC), *shape), dims=1)

    return draw
