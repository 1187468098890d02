"""Combining coils, and division where there may be nothing to divide by."""

from __future__ import annotations

import warnings

import pytest
import torch

from dealias.physics.coils import combine, divide, rss, unit_maps

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastmri import rss_complex


def complex_normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.complex128, generator=generator)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_rss_is_the_root_of_the_sum_of_squares(axis: int) -> None:
    x = complex_normal(3, 4, 5)
    torch.testing.assert_close(rss(x, axis), (x.real**2 + x.imag**2).sum(axis).sqrt())
    torch.testing.assert_close(rss(x.real, axis), (x.real**2).sum(axis).sqrt())


def test_fastmris_rss_is_the_same() -> None:
    x = complex_normal(2, 5, 7, 6).to(torch.complex64)
    torch.testing.assert_close(rss(x, 1), rss_complex(torch.view_as_real(x), dim=1))


def test_the_gradient_of_rss_is_the_unit_vector_and_zero_at_zero() -> None:
    x = complex_normal(3, 4, 5)
    x[:, 1] = 0
    x[0, 2] = 0
    x.requires_grad_()
    rss(x, 0).sum().backward()
    assert x.grad is not None
    assert (x.grad[:, 1] == 0).all()
    there = torch.tensor([0, 2, 3])
    unit = (x / rss(x, 0)).detach()
    torch.testing.assert_close(x.grad[:, there], unit[:, there])


def test_divide_is_zero_where_nothing_is_and_exact_elsewhere() -> None:
    numerator = torch.tensor([0.0, 3.0, -1.0], dtype=torch.float64)
    denominator = torch.tensor([0.0, 7.0, 3.0], dtype=torch.float64)
    assert divide(numerator, denominator).tolist() == [0.0, 3 / 7, -1 / 3]
    assert divide(1j * numerator, denominator).tolist() == [0j, 3j / 7, -1j / 3]
    # the smallest number there is is not nothing
    tiny = torch.tensor([5e-324], dtype=torch.float64)
    assert divide(tiny, tiny).tolist() == [1.0]


def test_the_gradients_of_divide_are_finite_where_nothing_is() -> None:
    numerator = torch.tensor([0.0, 3.0], dtype=torch.float64, requires_grad=True)
    denominator = torch.tensor([0.0, 8.0], dtype=torch.float64, requires_grad=True)
    divide(numerator, denominator).sum().backward()
    assert numerator.grad is not None and denominator.grad is not None
    assert numerator.grad[1] == 1 / 8 and denominator.grad[1] == -3 / 64
    assert denominator.grad[0] == 0 and torch.isfinite(numerator.grad[0])


def test_a_map_that_is_zero_somewhere_is_normalised_to_unit_rss_or_zero() -> None:
    maps = complex_normal(1, 1, 4, 5, 6)
    maps[..., 2] = 0
    norm = rss(divide(maps, rss(maps, 2).unsqueeze(2)), 2)
    assert (norm[..., 2] == 0).all()
    there = norm[..., [0, 1, 3, 4, 5]]
    torch.testing.assert_close(there, torch.ones_like(there))


def test_combine_is_the_adjoint_of_seeing_through_the_coils() -> None:
    maps, coils = complex_normal(2, 3, 4, 5, 6, seed=1), complex_normal(2, 3, 4, 5, 6, seed=2)
    image = complex_normal(2, 3, 5, 6, seed=3)
    left = torch.vdot(image.flatten(), combine(coils, maps).flatten())
    right = torch.vdot((maps * image.unsqueeze(2)).flatten(), coils.flatten())
    torch.testing.assert_close(left, right, rtol=1e-12, atol=0)


def test_combine_inverts_maps_of_unit_rss() -> None:
    image, maps = complex_normal(1, 1, 6, 7), complex_normal(1, 1, 5, 6, 7, seed=1)
    maps = maps / rss(maps, 2).unsqueeze(2)
    torch.testing.assert_close(combine(maps * image.unsqueeze(2), maps), image)


def test_unit_maps_and_their_gradient_are_those_of_the_quotient() -> None:
    rng = torch.Generator().manual_seed(5)
    maps = torch.randn(2, 1, 4, 5, 6, dtype=torch.complex128, generator=rng)
    maps[0, :, :, :2] = 0
    towards = torch.randn(maps.shape, dtype=maps.dtype, generator=rng)
    results = []
    for function in (unit_maps, lambda one, axis: divide(one, rss(one, axis).unsqueeze(axis))):
        leaf = maps.clone().requires_grad_()
        out = function(leaf, 2)
        results.append((out.detach(), *torch.autograd.grad(out, leaf, towards)))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-14, atol=0)
    # no coil has signal in the first rows: a map of 0 that learning leaves alone
    assert not results[0][1][0, :, :, :2].any()
    found, wanted = (grad[rss(maps, 2).unsqueeze(2).expand_as(grad) > 0] for _, grad in results)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
