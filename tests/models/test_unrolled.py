"""The state of unrolled networks against the k-space that it stands for, written out."""

from __future__ import annotations

import pytest
import torch

from dealias.models.unrolled import START, estimate, refine, soft_consistency
from dealias.physics.coils import rss
from dealias.physics.fourier import fft, ifft
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.measurement import Measurement, Needs, measure, residual


def complex_normal(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.complex128, generator=generator)


def measured() -> tuple[Measurement, torch.Tensor]:
    """Two items of one slice with maps that are nobody's: not of unit norm, not what coils saw."""
    m = measure(complex_normal(2, 1, 3, 10, 24, seed=1), [snu_mask(24, 4)] * 2, (10, 24), Needs())
    return m, complex_normal(2, 1, 3, 10, 24, seed=2)


def explicit(
    m: Measurement, maps: torch.Tensor, step: float, changes: list[torch.Tensor]
) -> torch.Tensor:
    """k - step M (k - y) - F S change, again and again (Sriram et al. 2020, arXiv:2004.06688)."""
    y = k = m.kspace_BSCHW
    for change in changes:
        k = k - step * torch.where(m.mask_B11HW, k - y, 0) - fft(maps * change[:, :, None], m.axes)
    return k


@pytest.mark.parametrize("step", [0.0, 0.6, 1.0])
def test_image_and_residual_are_those_of_the_k_space(step: float) -> None:
    m, maps = measured()
    changes = [complex_normal(2, 1, 10, 24, seed=seed) for seed in (3, 4, 5)]
    state = START
    for change in changes:
        state = refine(soft_consistency(state, torch.tensor([step], dtype=torch.float64)), change)
    found = estimate(state, m.operator(maps), m, maps)
    k = explicit(m, maps, step, changes)
    torch.testing.assert_close(found.image_BHW, rss(ifft(k[:, 0], m.axes), 1), rtol=1e-12, atol=0)
    off = torch.where(m.mask_B11HW, k - m.kspace_BSCHW, 0).flatten(1)
    wanted = (
        off.abs().square().sum(1).sqrt() / m.kspace_BSCHW.abs().square().sum((1, 2, 3, 4)).sqrt()
    )
    torch.testing.assert_close(residual(m, found), wanted, rtol=1e-12, atol=0)
    assert (wanted > 0.1).all()


def test_samples_put_back_last_leave_no_residual_whatever_the_maps() -> None:
    """Through these maps the coil combination would seem far from what was measured."""
    m, maps = measured()
    A, whole = m.operator(maps), torch.ones(1, dtype=torch.float64)
    state = soft_consistency(refine(START, complex_normal(2, 1, 10, 24, seed=3)), whole)
    found = estimate(state, A, m, maps)
    assert float(residual(m, found).max()) < 1e-12  # type: ignore[union-attr]
    by_maps = residual(m, found._replace(coil_images_BSCHW=None))
    assert float(by_maps.min()) > 1  # type: ignore[union-attr]
