"""What measure() does to k-space: nothing that changes a value."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dealias.errors import SettingsError
from dealias.physics.coils import rss
from dealias.physics.fourier import fft, ifft
from dealias.physics.readout import centre_crop_or_pad
from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.measurement import Estimate, Needs, measure, residual


def kspace(*shape: int, scale: float = 1.0, dtype: torch.dtype = torch.complex64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return scale * torch.randn(*shape, dtype=dtype, generator=generator)


def every_third(width: int) -> SamplingMask:
    lines = np.zeros(width, bool)
    lines[::3] = True
    return SamplingMask(lines, (width // 2, width // 2))


def test_samples_off_the_mask_are_exactly_zero_even_when_they_were_nan() -> None:
    y = kspace(1, 1, 2, 8, 9)
    y[..., 1] = float("nan")
    m = measure(y, [every_third(9)], (8, 8), Needs())
    assert torch.equal(m.kspace_BSCHW[..., 1], torch.zeros(1, 1, 2, 8, dtype=torch.complex64))
    assert torch.isfinite(torch.view_as_real(m.kspace_BSCHW)).all()


@pytest.mark.parametrize("scale", [1e-25, 1e-4, 1.0, 1e25])
@pytest.mark.parametrize("hw", [(12, 10), (11, 9)])
def test_zero_filled_is_the_rss_rule_at_any_scale(scale: float, hw: tuple[int, int]) -> None:
    y = kspace(2, 1, 3, *hw, scale=scale)
    mask = every_third(hw[1])
    m = measure(y, [mask, mask], (8, 14), Needs())
    got = m.window(m.zero_filled()).double()
    masked = y.to(torch.complex128) * torch.tensor(mask.lines)
    wanted = centre_crop_or_pad(rss(ifft(masked[:, 0]), 1), (8, 14))
    assert torch.linalg.norm(got - wanted) <= 1e-6 * torch.linalg.norm(wanted)


def test_the_scale_is_a_power_of_two_so_that_values_keep_their_bits() -> None:
    y = kspace(2, 1, 2, 6, 8, scale=3.7e-5)
    m = measure(y, [SamplingMask(np.ones((6, 8), bool), (0, 8))] * 2, (6, 8), Needs())
    back = m.kspace_BSCHW / m.scale_B[:, None, None, None, None]
    assert torch.equal(torch.view_as_real(back), torch.view_as_real(y))
    peak = torch.view_as_real(m.kspace_BSCHW).abs().flatten(1).amax(1)
    assert ((peak >= 0.5) & (peak < 1)).all()


def test_masked_and_full_data_have_the_same_scale_whatever_lies_off_the_mask() -> None:
    y = kspace(1, 1, 2, 8, 9)
    mask = every_third(9)
    masked = torch.where(torch.tensor(mask.lines), y, 0)
    y[..., 1] *= 1e6
    full, alone = (measure(one, [mask], (8, 8), Needs()) for one in (y, masked))
    assert torch.equal(full.scale_B, alone.scale_B)
    assert torch.equal(full.kspace_BSCHW, alone.kspace_BSCHW)


def test_cropped_rows_are_the_rows_of_the_uncropped_measurement() -> None:
    y = kspace(1, 1, 2, 20, 8, dtype=torch.complex128)
    whole = measure(y, [every_third(8)], (6, 8), Needs())
    cropped = measure(y, [every_third(8)], (6, 8), Needs(readout_crop=1))
    assert cropped.kspace_BSCHW.shape[-2] == 8
    assert torch.equal(cropped.kspace_BSCHW, whole.kspace_BSCHW[..., 6:14, :])
    same = cropped.window(cropped.zero_filled()) - whole.window(whole.zero_filled())
    assert same.abs().max() < 1e-14


def test_a_crop_is_refused_for_a_mask_that_mixes_rows() -> None:
    lines = np.eye(8, dtype=bool)
    with pytest.raises(SettingsError, match="readout_crop.*2-D mask"):
        measure(kspace(1, 1, 1, 8, 8), [SamplingMask(lines, (4, 4))], (4, 4), Needs(readout_crop=0))


def test_residual_is_zero_for_the_truth_and_one_for_nothing() -> None:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(1, 1, 8, 9, dtype=torch.complex128, generator=generator)
    sens = torch.randn(1, 1, 3, 8, 9, dtype=torch.complex128, generator=generator)
    y = fft(sens * x.unsqueeze(2))
    m = measure(y, [every_third(9)], (8, 9), Needs())
    truth = Estimate(x[:, 0].abs(), x * m.scale_B, sens)
    nothing = Estimate(x[:, 0].abs(), 0 * x, sens)
    for estimate, wanted in ((truth, 0.0), (nothing, 1.0)):
        found = residual(m, estimate)
        assert found is not None
        assert abs(float(found) - wanted) < 1e-12
    blank = measure(0 * y, [every_third(9)], (8, 9), Needs())
    assert float(residual(blank, nothing)) == 0.0  # type: ignore[arg-type]
    assert residual(m, Estimate(x[:, 0].abs())) is None


def test_full_k_space_is_its_own_target_and_masked_k_space_is_none() -> None:
    """Against NumPy: RSS of the centred orthonormal inverse FFT, centre-cropped."""
    import dataclasses

    import numpy as np

    from dealias.scan.scan import Geometry, Scan

    rng = np.random.default_rng(0)
    kspace = (rng.standard_normal((2, 3, 9, 12)) + 1j * rng.random((2, 3, 9, 12))).astype("c8")

    class Source:
        def kspace(self, z: slice) -> np.ndarray:
            return kspace[z]

        def image(self, kind: str, z: slice) -> None:
            return None

    scan = Scan("a", kspace.shape, None, True, Geometry((9, 12), (7, 6)), Source())  # type: ignore[arg-type]
    coils = np.fft.fftshift(
        np.fft.ifft2(np.fft.ifftshift(kspace, axes=(2, 3)), norm="ortho"), axes=(2, 3)
    )
    expected = np.sqrt((np.abs(coils) ** 2).sum(1))[:, 1:8, 3:9]
    found = scan.target(1)
    assert found is not None
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected[1:2], rtol=1e-5)
    assert dataclasses.replace(scan, full=False).target(0) is None
