"""What may be done along the readout: crops and transforms that leave the measurement as it is."""

from __future__ import annotations

import warnings

import pytest
import torch

from dealias.errors import SettingsError
from dealias.physics.fourier import fft, ifft
from dealias.physics.readout import centre_crop_or_pad, row_window
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.measurement import Estimate, Measurement, Needs, measure, residual

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastmri.data.transforms import center_crop

SIZES = [(24, 16), (25, 17), (24, 17)]


def complex_normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.complex128, generator=generator)


@pytest.mark.parametrize("have", [(8, 8), (9, 8), (7, 11)])
@pytest.mark.parametrize("more", [(4, 6), (3, 5), (1, 0), (0, 1)])
def test_cropping_undoes_padding(have: tuple[int, int], more: tuple[int, int]) -> None:
    x = complex_normal(2, *have)
    padded = centre_crop_or_pad(x, (have[0] + more[0], have[1] + more[1]))
    assert torch.equal(centre_crop_or_pad(padded, have), x)
    assert int((padded != 0).sum()) == x.numel()


def test_one_axis_is_cropped_and_the_other_padded() -> None:
    x = complex_normal(3, 9, 6)
    wanted = torch.zeros(3, 4, 9, dtype=x.dtype)
    wanted[:, :, 1:7] = x[:, 2:6]
    assert torch.equal(centre_crop_or_pad(x, (4, 9)), wanted)


@pytest.mark.parametrize(
    ("have", "size"),
    [((16, 12), (8, 6)), ((15, 11), (8, 6)), ((15, 13), (7, 5)), ((9, 14), (9, 14))],
)
def test_fastmri_crops_the_same_pixels(have: tuple[int, int], size: tuple[int, int]) -> None:
    x = complex_normal(2, *have)
    assert torch.equal(centre_crop_or_pad(x, size), center_crop(x, size))


def test_fastmri_crops_an_odd_size_out_of_an_even_one_a_pixel_later() -> None:
    """Its centre is not index N//2 there: what it crops of the image shifted by one is ours."""
    x = complex_normal(2, 16, 12)
    shifted = x.roll((-1, -1), (-2, -1))
    assert torch.equal(centre_crop_or_pad(x, (7, 5)), center_crop(shifted, (7, 5)))


@pytest.mark.parametrize("have", range(1, 10))
@pytest.mark.parametrize("size", range(1, 12))
def test_the_centre_stays_the_centre(have: int, size: int) -> None:
    x = torch.zeros(have, have)
    x[have // 2, have // 2] = 1
    assert centre_crop_or_pad(x, (size, size))[size // 2, size // 2] == 1


@pytest.mark.parametrize(("rows", "keep"), [(16, 8), (15, 8), (16, 7), (15, 7), (9, 9), (9, 1)])
def test_a_row_window_is_the_centre_crop(rows: int, keep: int) -> None:
    x = complex_normal(2, rows, 5)
    start, stop = row_window(rows, keep)
    assert torch.equal(x[:, start:stop], centre_crop_or_pad(x, (keep, 5)))


def test_a_row_window_larger_than_the_image_is_refused() -> None:
    with pytest.raises(SettingsError, match="5 rows to keep.*at most 4 rows"):
        row_window(4, 5)


@pytest.mark.parametrize("hw", SIZES)
def test_readout_then_phase_encode_is_the_whole_transform(hw: tuple[int, int]) -> None:
    kspace = complex_normal(2, *hw)
    torch.testing.assert_close(ifft(ifft(kspace, (-2,)), (-1,)), ifft(kspace))
    torch.testing.assert_close(fft(fft(kspace, (-2,)), (-1,)), fft(kspace))


@pytest.mark.parametrize("hw", SIZES)
def test_cropping_hybrid_rows_is_cropping_image_rows(hw: tuple[int, int]) -> None:
    kspace = complex_normal(3, *hw)
    rows = slice(*row_window(hw[0], 10))
    cropped = ifft(ifft(kspace, (-2,))[:, rows], (-1,))
    torch.testing.assert_close(cropped, ifft(kspace)[:, rows], rtol=1e-12, atol=1e-13)


def both(kspace_BSCHW: torch.Tensor) -> tuple[Measurement, Measurement, slice]:
    """The same measurement whole and cropped, and the rows that the crop keeps."""
    height, width = kspace_BSCHW.shape[-2:]
    masks, needs = [snu_mask(width, 2)], Needs(readout_crop=2)
    whole = measure(kspace_BSCHW, masks, (12, width), Needs())
    cropped = measure(kspace_BSCHW, masks, (12, width), needs)
    assert cropped.kspace_BSCHW.shape[-2] == 16
    return whole, cropped, slice(*row_window(height, 16))


@pytest.mark.parametrize("hw", SIZES)
def test_a_crop_leaves_the_operator_and_the_gradient_of_its_rows(hw: tuple[int, int]) -> None:
    whole, cropped, rows = both(complex_normal(1, 1, 3, *hw))
    image, maps = complex_normal(1, 1, *hw, seed=1), complex_normal(1, 1, 3, *hw, seed=2)
    full, part = whole.operator(maps), cropped.operator(maps[..., rows, :])
    full_off = full.forward(image) - whole.kspace_BSCHW
    part_off = part.forward(image[..., rows, :]) - cropped.kspace_BSCHW
    torch.testing.assert_close(part_off, full_off[..., rows, :], rtol=1e-12, atol=1e-13)
    gradient = full.adjoint(full_off)[..., rows, :]
    torch.testing.assert_close(part.adjoint(part_off), gradient, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("hw", SIZES)
def test_a_crop_around_the_object_leaves_the_residual(hw: tuple[int, int]) -> None:
    rows = slice(*row_window(hw[0], 16))
    image, maps = complex_normal(1, 1, *hw, seed=1), complex_normal(1, 1, 3, *hw, seed=2)
    outside = torch.ones(hw[0], dtype=torch.bool)
    outside[rows] = False
    image[:, :, outside] = 0
    whole, cropped, rows = both(fft(maps * image.unsqueeze(2)))
    wrong = whole.scale_B * (image + 0.1 * complex_normal(1, 1, *hw, seed=3) * (image != 0))
    full = residual(whole, Estimate(wrong[:, 0].abs(), wrong, maps))
    near, seen = wrong[..., rows, :], maps[..., rows, :]
    part = residual(cropped, Estimate(near[:, 0].abs(), near, seen))
    assert full is not None and part is not None
    assert float(full) > 0.05
    torch.testing.assert_close(part, full, rtol=1e-12, atol=0)
