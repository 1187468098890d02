"""The wavelet transform: orthonormal, and PyWavelets' own."""

from __future__ import annotations

import numpy as np
import pytest
import pywt
import torch

from dealias.physics.wavelet import inverse_wavelet, wavelet


def complex_normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.complex128, generator=generator)


@pytest.mark.parametrize("levels", [0, 1, 2, 3])
@pytest.mark.parametrize("hw", [(16, 24), (8, 8), (40, 16)])
def test_it_is_orthonormal(hw: tuple[int, int], levels: int) -> None:
    x, y = complex_normal(2, 3, *hw), complex_normal(2, 3, *hw, seed=1)
    there = wavelet(x, levels)
    torch.testing.assert_close(inverse_wavelet(there, levels), x, rtol=1e-12, atol=1e-13)
    left = torch.vdot(y.flatten(), there.flatten())
    right = torch.vdot(inverse_wavelet(y, levels).flatten(), x.flatten())
    torch.testing.assert_close(left, right, rtol=1e-12, atol=0)


def test_pywavelets_agrees_but_for_where_it_begins() -> None:
    x = complex_normal(16, 24)
    ours = wavelet(x.roll((1, 1), (0, 1)), 1).numpy()
    coarse, (rows, columns, both) = pywt.dwt2(x.numpy(), "db2", mode="periodization")
    np.testing.assert_allclose(ours[:8, :12], coarse, atol=1e-12)
    # the sign of a detail is a convention
    for detail, block in ((rows, ours[8:, :12]), (columns, ours[:8, 12:]), (both, ours[8:, 12:])):
        np.testing.assert_allclose(np.abs(block), np.abs(detail), atol=1e-12)


def test_details_of_straight_lines_are_zero() -> None:
    """Two vanishing moments; the edges are wrapped and are none of it."""
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    details = wavelet((2 * x - 3 * y + 1).double(), 1)
    assert details[:7, 8:15].abs().max() < 1e-12
    assert details[8:15, :7].abs().max() < 1e-12
    assert details[:7, :7].abs().min() > 0.5
