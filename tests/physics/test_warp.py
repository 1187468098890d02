"""Moving images: exact where pixels are permuted, and interpolation against closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from dealias.physics.fourier import fft
from dealias.physics.warp import (
    STILL,
    UNMOVED,
    Affine,
    Edges,
    Interpolation,
    Transform,
    shift,
    turn,
    warp,
)

MODES: tuple[Interpolation, ...] = ("bilinear", "bicubic", "band-limited")
TILTED = Affine(rotation=7.3, shear_hw=(3.0, -4.0), scale=1.05)


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.complex128) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def grid(h: int, w: int) -> tuple[np.ndarray, np.ndarray]:
    """Displacements from the middle."""
    y, x = np.indices((h, w), dtype=np.float64)
    return y - (h - 1) / 2, x - (w - 1) / 2


def turned(degrees: float, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where a counter-clockwise rotation, seen with rows downward, takes its values from."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return c * y + s * x, -s * y + c * x


def object_at(y: np.ndarray, x: np.ndarray) -> Tensor:
    """Gaussians of 4 pixels, one turning in phase; nothing of them is left at a 64 grid's edge."""
    first = np.exp(-((y - 3) ** 2 + (x + 5) ** 2) / 32)
    second = (0.6 - 0.3j) * np.exp(-((y + 6) ** 2 + (x - 2) ** 2) / 32 + 0.7j * y - 0.4j * x)
    return torch.from_numpy(first + second)


def worst(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("interpolation", MODES)
@pytest.mark.parametrize("edges", ["reflect", "wrap"])
def test_nothing_moves_nothing(interpolation: Interpolation, edges: Edges) -> None:
    image = noise(2, 9, 12)
    assert UNMOVED(image, interpolation, edges) is image
    assert warp(image, Affine(0.0, (0.0, 0.0), 1.0), interpolation, edges) is image


def test_flips_turns_and_shifts_are_numpys() -> None:
    image = noise(3, 8, 8, dtype=torch.complex64)
    array = image.numpy()

    def moved(transform: Transform) -> np.ndarray:
        return transform(image, "bilinear", "reflect").numpy()

    np.testing.assert_array_equal(moved(Transform(flip_h=True)), array[:, :, ::-1])
    np.testing.assert_array_equal(moved(Transform(flip_v=True)), array[:, ::-1])
    for quarters in range(4):
        found = moved(Transform(quarter_turns=quarters))
        np.testing.assert_array_equal(found, np.rot90(array, quarters, (1, 2)))
    rolled = shift(image, (2, -3), "wrap").numpy()
    np.testing.assert_array_equal(rolled, np.roll(array, (2, -3), (1, 2)))
    padded = np.pad(array, ((0, 0), (2, 0), (0, 3)), "reflect")[:, :8, 3:]
    np.testing.assert_array_equal(shift(image, (2, -3), "reflect").numpy(), padded)


def test_the_order_is_flip_then_turn_then_shift_then_affine() -> None:
    image = noise(8, 8)
    whole = Transform(True, False, 1, (1, 2), TILTED)(image, "bicubic", "wrap")
    by_hand = torch.roll(torch.rot90(image.flip(-1), 1, (0, 1)), (1, 2), (0, 1))
    assert torch.equal(whole, warp(by_hand, TILTED, "bicubic", "wrap"))


def test_odd_quarters_of_an_oblong_keep_the_centre_and_its_field_of_view() -> None:
    image = noise(12, 8)
    found = turn(image, 1, "reflect")
    whole = torch.rot90(image, 1, (0, 1))  # 8 x 12, its centre at (4, 6); wanted at (6, 4)
    assert torch.equal(found[2:10], whole[:, 2:10])
    assert torch.equal(found[1], found[3]) and torch.equal(found[11], found[7])
    assert torch.equal(turn(image, 2, "reflect"), image.flip(-1).flip(-2))


def test_a_shift_is_a_phase_ramp_of_kspace() -> None:
    image, (h, w) = noise(9, 12), (9, 12)
    ky, kx = grid(h, w)
    ramp = np.exp(-2j * math.pi * ((ky + (h - 1) / 2 - h // 2) * 2 / h
                                   - (kx + (w - 1) / 2 - w // 2) * 5 / w))  # fmt: skip
    expected = fft(image) * torch.from_numpy(ramp)
    assert worst(fft(shift(image, (2, -5), "wrap")), expected) < 1e-13


@pytest.mark.parametrize("hw", [(64, 64), (65, 66), (66, 65)])
def test_a_rotated_object_is_the_object_on_rotated_coordinates(hw: tuple[int, int]) -> None:
    y, x = grid(*hw)
    image, expected = object_at(y, x), object_at(*turned(11, y, x))
    errors = [worst(warp(image, Affine(11), mode, "reflect"), expected) for mode in MODES]
    assert errors[0] > 5e-2 > 1e-2 > errors[1] > 5e-3 > 1e-3 > errors[2]


def test_shear_and_scale_go_where_they_say() -> None:
    y, x = grid(64, 64)
    sheared = warp(object_at(y, x), Affine(shear_hw=(6, 0)), "band-limited", "reflect")
    assert worst(sheared, object_at(y - math.tan(math.radians(6)) * x, x)) < 1e-3
    sheared = warp(object_at(y, x), Affine(shear_hw=(0, 6)), "band-limited", "reflect")
    assert worst(sheared, object_at(y, x - math.tan(math.radians(6)) * y)) < 1e-3
    larger = warp(object_at(y, x), Affine(scale=1.1), "band-limited", "reflect")
    assert worst(larger, object_at(y / 1.1, x / 1.1)) < 1e-3
    # shear first, then scale, then rotation
    all_of_it = warp(object_at(y, x), Affine(11, (6, 0), 1.1), "band-limited", "reflect")
    back_y, back_x = (one / 1.1 for one in turned(11, y, x))
    expected = object_at(back_y - math.tan(math.radians(6)) * back_x, back_x)
    assert worst(all_of_it, expected) < 1e-3


def test_a_quarter_turn_by_the_warp_is_rot90() -> None:
    image = noise(10, 10)
    for mode, bound in zip(MODES, (1e-13, 1e-13, 3e-3), strict=True):
        found = warp(image, Affine(90), mode, "wrap")
        assert worst(found, torch.rot90(image, 1, (0, 1))) < bound


@pytest.mark.parametrize("hw", [(15, 14), (14, 15)])
def test_band_limited_is_the_fourier_series(hw: tuple[int, int]) -> None:
    """White noise up to the band's very edge, against the sum of complex exponentials."""
    image, (h, w) = noise(*hw), hw
    y, x = grid(h, w)
    source = np.linalg.inv(TILTED.matrix) @ np.stack([y.ravel(), x.ravel()])
    py = source[0] + (h - 1) / 2 - h // 2
    px = source[1] + (w - 1) / 2 - w // 2
    rows = np.exp(2j * math.pi * np.outer(py, np.arange(h) - h // 2) / h)
    columns = np.exp(2j * math.pi * np.outer(px, np.arange(w) - w // 2) / w)
    series = np.einsum("ph,hw,pw->p", rows, fft(image).numpy(), columns) / math.sqrt(h * w)
    expected = torch.from_numpy(series.reshape(h, w))
    assert worst(warp(image, TILTED, "band-limited", "wrap"), expected) < 3e-3


def test_there_and_back_again() -> None:
    y, x = grid(64, 64)
    image = object_at(y, x)
    errors = [
        worst(warp(warp(image, Affine(9), mode, "wrap"), Affine(-9), mode, "wrap"), image)
        for mode in MODES
    ]
    assert errors[0] > 8e-2 > 2e-2 > errors[1] > 1e-2 > 2e-3 > errors[2]


LEFT = {"bilinear": (2 / 3) ** 2, "bicubic": (57 / 70) ** 2, "band-limited": 1.0}


@pytest.mark.parametrize("mode", MODES)
def test_what_is_left_of_white_noise(mode: Interpolation) -> None:
    """The mean over all places between pixels of the summed squared weights, in closed form."""
    image = noise(12, 96, 80, dtype=torch.complex64)
    ratio = float(warp(image, TILTED, mode, "wrap").abs().square().mean())
    ratio /= float(image.abs().square().mean())
    assert ratio == pytest.approx(LEFT[mode], rel=0.015)


def reflected(image: Tensor, pad: int) -> Tensor:
    return torch.from_numpy(np.pad(image.numpy(), pad, "reflect"))


def wrapped(image: Tensor, pad: int) -> Tensor:
    return torch.from_numpy(np.pad(image.numpy(), pad, "wrap"))


@pytest.mark.parametrize("mode", MODES[:2])
@pytest.mark.parametrize(("edges", "continued"), [("reflect", reflected), ("wrap", wrapped)])
def test_beyond_the_edges(
    mode: Interpolation, edges: Edges, continued: Callable[[Tensor, int], Tensor]
) -> None:
    """The middle of a warped larger image that goes on as the edges say."""
    image = noise(13, 14)
    expected = warp(continued(image, 12), TILTED, mode, "wrap")[12:-12, 12:-12]
    assert worst(warp(image, TILTED, mode, edges), expected) < 1e-13


def test_single_precision_stays_and_agrees() -> None:
    image = noise(5, 20, 24)
    for mode in MODES:
        single = warp(image.to(torch.complex64), TILTED, mode, "reflect")
        assert single.dtype == torch.complex64
        assert worst(single.to(torch.complex128), warp(image, TILTED, mode, "reflect")) < 2e-6
    assert STILL.matrix.tolist() == [[1, 0], [0, 1]]
