"""Combining coils, and what may be done along the readout."""

from __future__ import annotations

import warnings

import pytest
import torch

from dealias.errors import SettingsError
from dealias.physics.coils import combine, divide, rss
from dealias.physics.fourier import fft, ifft
from dealias.physics.readout import centre_crop_or_pad, row_window
from dealias.physics.sampling.snu import snu_mask
from dealias.physics.sense import Sense
from dealias.scan.measurement import Needs, measure

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastmri.data.transforms import center_crop


def complex_normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.complex128, generator=generator)


def test_rss_is_the_root_of_the_sum_of_squares_and_flat_at_zero() -> None:
    x = complex_normal(3, 4, 5).requires_grad_()
    expected = (x.real**2 + x.imag**2).sum(0).sqrt()
    torch.testing.assert_close(rss(x, 0), expected)
    zero = torch.zeros(3, 4, 5, dtype=torch.complex128, requires_grad=True)
    rss(zero, 0).sum().backward()
    assert zero.grad is not None
    assert (zero.grad == 0).all()


def test_divide_is_zero_where_nothing_is_and_exact_elsewhere() -> None:
    numerator = torch.tensor([0.0, 3.0, -1.0], dtype=torch.float64, requires_grad=True)
    denominator = torch.tensor([0.0, 7.0, 3.0], dtype=torch.float64)
    found = divide(numerator, denominator)
    assert found.tolist() == [0.0, 3 / 7, -1 / 3]
    found.sum().backward()
    assert numerator.grad is not None
    assert torch.isfinite(numerator.grad).all()


def test_combine_inverts_sensitivities_of_unit_rss() -> None:
    image, maps = complex_normal(1, 1, 6, 7), complex_normal(1, 1, 5, 6, 7, seed=1)
    maps = maps / rss(maps, 2).unsqueeze(2)
    torch.testing.assert_close(combine(maps * image.unsqueeze(2), maps), image)


@pytest.mark.parametrize("have", [(8, 8), (9, 8), (7, 11)])
@pytest.mark.parametrize("more", [(4, 6), (3, 5), (1, 0)])
def test_cropping_undoes_padding(have: tuple[int, int], more: tuple[int, int]) -> None:
    x = complex_normal(2, *have)
    larger = (have[0] + more[0], have[1] + more[1])
    padded = centre_crop_or_pad(x, larger)
    assert torch.equal(centre_crop_or_pad(padded, have), x)
    assert float(padded.abs().sum()) == pytest.approx(float(x.abs().sum()), rel=1e-12)


@pytest.mark.parametrize(("have", "size"), [((16, 12), (8, 6)), ((15, 11), (8, 6)),
                                            ((15, 13), (7, 5))])  # fmt: skip
def test_fastmri_crops_the_same_pixels(have: tuple[int, int], size: tuple[int, int]) -> None:
    """All but an odd size out of an even one, where fastMRI's centre is not index N//2."""
    x = torch.rand(2, *have)
    assert torch.equal(centre_crop_or_pad(x, size), center_crop(x, size))


def test_the_centre_stays_the_centre() -> None:
    for have in range(5, 10):
        for size in range(1, 12):
            x = torch.zeros(have, have)
            x[have // 2, have // 2] = 1
            cropped = centre_crop_or_pad(x, (size, size))
            assert cropped[size // 2, size // 2] == 1


def test_a_row_window_keeps_the_centre_row_in_place() -> None:
    for rows in range(2, 30):
        for keep in range(1, rows + 1):
            start, stop = row_window(rows, keep)
            assert stop - start == keep
            assert start + keep // 2 == rows // 2
    with pytest.raises(SettingsError, match="at most 4 rows"):
        row_window(4, 5)


@pytest.mark.parametrize("hw", [(24, 16), (25, 17)])
def test_cropping_the_readout_is_cropping_the_image(hw: tuple[int, int]) -> None:
    """For a mask along the phase encode, rows do not mix: operator and residual stay the same."""
    kspace, mask = complex_normal(1, 1, 3, *hw), snu_mask(hw[1], 2)
    size = (12, hw[1])
    whole = measure(kspace, (mask,), size, Needs())
    cropped = measure(kspace, (mask,), size, Needs(readout_crop=2))
    start, stop = row_window(hw[0], 16)
    assert cropped.kspace_BSCHW.shape[-2] == 16
    scale = cropped.scale_B / whole.scale_B
    same = whole.kspace_BSCHW[..., start:stop, :] * scale
    torch.testing.assert_close(cropped.kspace_BSCHW, same, rtol=1e-14, atol=1e-14)

    image, maps = complex_normal(1, 1, *hw, seed=1), complex_normal(1, 1, 3, *hw, seed=2)
    lines = whole.mask_B11HW
    full = Sense(maps, lines, (-1,)).normal(image)[..., start:stop, :]
    part = Sense(maps[..., start:stop, :], lines, (-1,)).normal(image[..., start:stop, :])
    torch.testing.assert_close(part, full, rtol=1e-12, atol=1e-13)


def test_the_readout_transform_is_half_of_the_image_transform() -> None:
    kspace = complex_normal(2, 9, 8)
    torch.testing.assert_close(ifft(ifft(kspace, (-2,)), (-1,)), ifft(kspace))
    torch.testing.assert_close(fft(ifft(kspace)), kspace)
