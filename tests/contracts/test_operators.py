"""Every linear operator: adjoint, normal, linear, unit norm, and gradients that are adjoints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from dealias.physics.coils import divide, rss
from dealias.physics.fourier import fft, ifft
from dealias.physics.operator import LinearOperator
from dealias.physics.sense import Sense


class Fourier(LinearOperator):
    """The centred transform as an operator."""

    def __init__(self, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
        self.domain = self.range = shape
        self.axes = axes

    def forward(self, x: Tensor) -> Tensor:
        return fft(x, self.axes)

    def adjoint(self, y: Tensor) -> Tensor:
        return ifft(y, self.axes)


@dataclass(frozen=True)
class Entry:
    """A row: name and a maker by dtype."""

    name: str
    make: Callable[[torch.dtype], LinearOperator]


def draw(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=dtype, generator=generator)


def sense(
    shape: tuple[int, ...], axes: tuple[int, ...], holes: bool = False
) -> Callable[[torch.dtype], LinearOperator]:
    def make(dtype: torch.dtype) -> LinearOperator:
        maps = draw(shape, dtype, 1)
        if holes:
            maps[..., : shape[-1] // 3] = 0
        # several sets: of unit norm all together, so that the operator has no larger one
        norm = torch.linalg.vector_norm(maps, dim=tuple(range(2, len(shape) - 2)), keepdim=True)
        maps = divide(maps, norm)
        mask_shape = (shape[0], 1, 1, shape[-2] if len(axes) == 2 else 1, shape[-1])
        rng = np.random.default_rng(2)
        mask = torch.from_numpy(rng.random(mask_shape) < 0.4)
        return Sense(maps, mask, axes)

    return make


OPERATORS = [
    Entry("fft even", lambda dtype: Fourier((2, 16, 12), (-2, -1))),
    Entry("fft odd", lambda dtype: Fourier((15, 9), (-2, -1))),
    Entry("fft readout", lambda dtype: Fourier((3, 14, 9), (-2,))),
    Entry("fft phase encode", lambda dtype: Fourier((3, 14, 10), (-1,))),
    Entry("sense 1-D even", sense((2, 1, 4, 16, 12), (-1,))),
    Entry("sense 1-D odd", sense((1, 3, 4, 15, 13), (-1,))),
    Entry("sense 1-D twice odd", sense((1, 1, 2, 10, 14), (-1,))),
    Entry("sense 2-D even", sense((2, 1, 3, 16, 12), (-2, -1))),
    Entry("sense 2-D mixed", sense((1, 1, 3, 15, 18), (-2, -1))),
    Entry("sense one coil", sense((1, 1, 1, 8, 9), (-1,))),
    Entry("sense two sets 1-D", sense((2, 1, 2, 4, 16, 13), (-1,))),
    Entry("sense three sets 2-D", sense((1, 2, 3, 4, 9, 12), (-2, -1))),
    Entry("sense with holes", sense((1, 1, 5, 16, 18), (-1,), holes=True)),
]
every_operator = pytest.mark.parametrize("entry", OPERATORS, ids=lambda entry: entry.name)
BOUND = {torch.complex64: 1e-6, torch.complex128: 1e-12}
every_dtype = pytest.mark.parametrize("dtype", list(BOUND), ids=str)


def norm(x: Tensor) -> float:
    return float(torch.linalg.vector_norm(x))


@every_operator
@every_dtype
def test_adjoint(entry: Entry, dtype: torch.dtype) -> None:
    A = entry.make(dtype)
    x, y = draw(A.domain, dtype, 3), draw(A.range, dtype, 4)
    Ax, Ay = A.forward(x), A.adjoint(y)
    assert (Ax.shape, Ay.shape) == (A.range, A.domain)
    left, right = torch.vdot(y.flatten(), Ax.flatten()), torch.vdot(Ay.flatten(), x.flatten())
    assert abs(left - right) < BOUND[dtype] * norm(Ax) * norm(y)


@every_operator
@every_dtype
def test_normal_is_adjoint_of_forward(entry: Entry, dtype: torch.dtype) -> None:
    A = entry.make(dtype)
    x = draw(A.domain, dtype, 3)
    assert norm(A.normal(x) - A.adjoint(A.forward(x))) < 10 * BOUND[dtype] * norm(x)


@every_operator
def test_linear(entry: Entry) -> None:
    A = entry.make(torch.complex128)
    x, z = (draw(A.domain, torch.complex128, seed) for seed in (3, 5))
    a = 0.7 - 1.3j
    assert norm(A.forward(a * x + z) - a * A.forward(x) - A.forward(z)) < 1e-12 * norm(x)


@every_operator
def test_norm_is_at_most_one(entry: Entry) -> None:
    A = entry.make(torch.complex128)
    x = draw(A.domain, torch.complex128, 3)
    for _ in range(60):
        x = A.normal(x)
        x = x / norm(x)
    assert norm(A.normal(x)) <= 1 + 1e-10


@every_operator
def test_gradient_of_forward_is_the_adjoint_and_back(entry: Entry) -> None:
    A = entry.make(torch.complex128)
    x = draw(A.domain, torch.complex128, 3).requires_grad_()
    y = draw(A.range, torch.complex128, 4).requires_grad_()
    (of_forward,) = torch.autograd.grad(A.forward(x), x, y.detach())
    (of_adjoint,) = torch.autograd.grad(A.adjoint(y), y, x.detach())
    assert norm(of_forward - A.adjoint(y).detach()) < 1e-12 * norm(y.detach())
    assert norm(of_adjoint - A.forward(x).detach()) < 1e-12 * norm(x.detach())


@pytest.mark.parametrize("axes", [(-1,), (-2, -1)])
@pytest.mark.parametrize("chunk", [1, 2 * 9 * 14 * 3, 1 << 20])
def test_gradients_are_those_of_the_plain_formula(
    axes: tuple[int, ...], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With respect to image, k-space and maps, one coil or some or all at a time."""
    monkeypatch.setattr("dealias.physics.chunked.CHUNK", chunk)
    mask = torch.from_numpy(np.random.default_rng(0).random((2, 1, 1, 9, 14)) < 0.5)
    mask = mask if len(axes) == 2 else mask[..., :1, :]
    towards = draw((2, 1, 9, 14), torch.complex128, 4)

    def plain(maps: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        images = (maps * x.unsqueeze(2), ifft(mask * y, axes))
        back = ifft(mask * fft(images[0], axes), axes), images[1]
        return (maps.conj() * back[0]).sum(2), (maps.conj() * back[1]).sum(2)

    def ours(maps: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        A = Sense(maps, mask, axes)
        return A.normal(x), A.adjoint(y)

    results: list[list[Tensor]] = []
    for formula in (plain, ours):
        maps, y = (draw((2, 1, 7, 9, 14), torch.complex128, i).requires_grad_() for i in (1, 5))
        x = draw((2, 1, 9, 14), torch.complex128, 3).requires_grad_()
        normal, adjoint = formula(maps, x, y)
        results.append([normal.detach(), adjoint.detach()])
        results[-1] += torch.autograd.grad(normal, (x, maps), towards)
        results[-1] += torch.autograd.grad(adjoint, (y, maps), towards)
    for found, wanted in zip(*results, strict=True):
        assert norm(found - wanted) < 1e-12 * norm(wanted)


def test_of_many_coils_the_maps_and_the_data_alone_are_kept() -> None:
    kept: list[Tensor] = []
    maps = draw((1, 1, 7, 9, 14), torch.complex64, 1).requires_grad_()
    A = Sense(maps, torch.ones(1, 1, 1, 1, 14, dtype=torch.bool), (-1,))
    x = draw((1, 1, 9, 14), torch.complex64, 3).requires_grad_()
    y = draw((1, 1, 7, 9, 14), torch.complex64, 4)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        A.normal(x), A.adjoint(y)
    large = {t.untyped_storage().data_ptr() for t in kept if t.numel() == maps.numel()}
    assert large == {one.untyped_storage().data_ptr() for one in (maps, y)}


# torch's own forward mode still imports torch.jit
@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")
@every_operator
def test_forward_mode_is_the_operator(entry: Entry) -> None:
    A = entry.make(torch.complex128)
    x, direction = (draw(A.domain, torch.complex128, seed) for seed in (3, 5))
    _, along = torch.func.jvp(A.forward, (x,), (direction,))
    assert norm(along - A.forward(direction)) < 1e-12 * norm(direction)


@every_operator
def test_strides_do_not_matter(entry: Entry) -> None:
    A = entry.make(torch.complex128)
    x = draw(A.domain, torch.complex128, 3)
    strided = x.transpose(-1, -2).contiguous().transpose(-1, -2)
    assert not strided.is_contiguous()
    assert norm(A.forward(strided) - A.forward(x)) < 1e-14 * norm(x)


@pytest.mark.parametrize("axes", [(-1,), (-2,), (-2, -1)])
@pytest.mark.parametrize("hw", [(8, 12), (7, 9), (10, 15), (1, 6)])
def test_fft_is_numpys(hw: tuple[int, int], axes: tuple[int, ...]) -> None:
    x = draw((2, *hw), torch.complex128).numpy()
    shifted = np.fft.ifftshift(x, axes=axes)
    wanted = np.fft.fftshift(np.fft.fftn(shifted, axes=axes, norm="ortho"), axes=axes)
    assert np.abs(fft(torch.from_numpy(x), axes).numpy() - wanted).max() < 1e-13
    assert norm(ifft(fft(torch.from_numpy(x), axes), axes) - torch.from_numpy(x)) < 1e-13


@pytest.mark.parametrize("size", [8, 9, 14])
def test_a_delta_has_constant_magnitude_and_the_right_phase(size: int) -> None:
    x = torch.zeros(size, dtype=torch.complex128)
    x[size // 2] = 1
    assert torch.allclose(fft(x, (-1,)), torch.full_like(x, size**-0.5))
    shifted = fft(x.roll(1), (-1,))
    frequency = torch.arange(size) - size // 2
    wanted = torch.exp(-2j * torch.pi * frequency / size) * size**-0.5
    assert torch.allclose(shifted, wanted.to(shifted.dtype))


def test_a_gaussian_has_its_analytic_transform() -> None:
    n = 128
    position = torch.arange(n, dtype=torch.float64) - n // 2
    x = torch.exp(-(position**2) / (2 * 6.0**2)).to(torch.complex128)
    frequency = position / n
    wanted = 6.0 * (2 * torch.pi) ** 0.5 * torch.exp(-2 * (torch.pi * 6.0 * frequency) ** 2)
    assert (fft(x, (-1,)) - wanted * n**-0.5).abs().max() < 1e-12


def test_sense_is_the_textbook_formula() -> None:
    maps = draw((2, 1, 3, 9, 14), torch.complex128, 1)
    mask = torch.from_numpy(np.random.default_rng(0).random((2, 1, 1, 9, 14)) < 0.5)
    A = Sense(maps, mask, (-2, -1))
    x = draw((2, 1, 9, 14), torch.complex128, 3)
    y = draw((2, 1, 3, 9, 14), torch.complex128, 4)
    assert norm(A.forward(x) - mask * fft(maps * x.unsqueeze(2))) < 1e-12
    assert norm(A.adjoint(y) - (maps.conj() * ifft(mask * y)).sum(2)) < 1e-12
    assert norm(A.gram(x) - (maps.abs() ** 2).sum(2) * x) < 1e-12


def test_division_by_zero_gives_zero_and_finite_gradients() -> None:
    a = torch.tensor([0.0, 2.0], requires_grad=True)
    quotient = divide(a, torch.tensor([0.0, 4.0]))
    quotient.sum().backward()
    assert quotient.tolist() == [0.0, 0.5]
    assert a.grad is not None
    assert torch.isfinite(a.grad).all()
    z = torch.zeros(2, 3, dtype=torch.complex64, requires_grad=True)
    rss(z, 0).sum().backward()
    assert z.grad is not None
    assert (z.grad == 0).all()
