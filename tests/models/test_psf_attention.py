"""Attention to the peaks of the point-spread function."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from dealias.models.layers.psf_attention import PSFAttention, psf_anchors, sampled
from dealias.physics.fourier import fft, ifft
from dealias.physics.sampling.fastmri import equispaced_mask
from dealias.physics.sampling.mask import SamplingMask
from dealias.physics.sampling.snu import snu_mask

FORMS = [(32, 4), (368, 8), (320, 8), (396, 4), (36, 3), (45, 5)]
BETWEEN = [(322, 4), (372, 8), (338, 8), (101, 4), (29, 3)]


def tensor(*masks: SamplingMask) -> Tensor:
    """Lines outside the ACS region, (B, 1, 1, H, W)."""
    lines = torch.tensor(np.stack([mask.lines & ~mask.acs_lines() for mask in masks]))
    return lines.reshape(len(masks), 1, 1, -1, lines.shape[-1])


def offsets(mask: SamplingMask, count: int, centre: bool = True) -> list[tuple[int, int]]:
    return [(a, b) for a, b in psf_anchors(tensor(mask), count, centre)[0].tolist()]


def folded(mask: SamplingMask, position: int) -> Tensor:
    """What a point becomes where lines are missing, |image|; the ACS lines are there."""
    point = torch.zeros(mask.width, dtype=torch.complex128)
    point[position] = 1
    return ifft(fft(point, (-1,)) * torch.tensor(mask.lines), (-1,)).abs()


@pytest.mark.parametrize(("width", "rate"), FORMS)
@pytest.mark.parametrize("shift", [0, 1])
def test_anchors_are_where_a_point_folds_to(width: int, rate: int, shift: int) -> None:
    mask = equispaced_mask(width, rate, 0.08, shift)
    columns = [b for a, b in offsets(mask, rate) if a == 0]
    assert len(columns) == rate
    for position in (0, 5, width // 2, width - 1):
        strongest = torch.topk(folded(mask, position), rate).indices.tolist()
        assert {(position + one) % width for one in columns} == set(strongest)
    # whatever the lattice, the aliases are W / R apart
    assert {one % width for one in columns} == {turn * width // rate for turn in range(rate)}


@pytest.mark.parametrize(("width", "rate"), BETWEEN)
def test_an_alias_between_pixels_is_one_anchor(width: int, rate: int) -> None:
    columns = [b % width for _, b in offsets(snu_mask(width, rate), rate)]
    for turn in range(rate):
        distances = [abs(one - turn * width / rate) for one in columns]
        assert min(min(distances), *(abs(d - width) for d in distances)) <= 0.5


def test_of_equally_high_ones_the_first_comes_first_and_the_centre_may_be_left_out() -> None:
    mask = snu_mask(32, 4)
    assert offsets(mask, 4) == [(0, 0), (0, -16), (0, -8), (0, 8)]
    assert offsets(mask, 3, centre=False) == [(0, -16), (0, -8), (0, 8)]


@pytest.mark.parametrize("width", [8, 9])
def test_a_full_and_an_empty_mask_have_no_aliases(width: int) -> None:
    full, empty = (SamplingMask(np.full(width, value), (0, 0)) for value in (True, False))
    assert psf_anchors(tensor(full, empty), 20, True).tolist() == [[[0, 0]] * 20] * 2


def test_masks_of_one_batch_have_their_own() -> None:
    masks = [snu_mask(64, 4), snu_mask(64, 8)]
    together = psf_anchors(tensor(*masks), 8, True)
    assert not torch.equal(*together)
    for mask, found in zip(masks, together, strict=True):
        assert torch.equal(psf_anchors(tensor(mask), 8, True)[0], found)


def test_a_lattice_over_both_axes_folds_along_both() -> None:
    lines = np.zeros((12, 16), bool)
    lines[::2, ::4] = True
    found = offsets(SamplingMask(lines, (8, 8)), 9)
    wanted = set(itertools.product((0, -6), (0, 4, -8, -4)))
    assert set(found[:8]) == wanted
    assert found[8] == (0, 0)  # there is no ninth


@pytest.mark.parametrize("around", [True, False])
def test_sampling_takes_rows_and_columns_in_that_order_and_goes_around(around: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 5, 8, dtype=torch.float64)
    where = torch.tensor([[[1, -3], [4, 7], [0, 0]], [[-2, 5], [0, 1], [3, -8]]])
    offsets = where.double()[..., None, None]
    found = sampled(x, offsets, around)
    assert found.shape == (2, 3, 3, 5, 8)
    for b, k, h, w in itertools.product(range(2), range(3), range(5), range(8)):
        row, column = h + int(where[b, k, 0]), w + int(where[b, k, 1])
        row = row % 5 if around else min(max(row, 0), 4)
        assert torch.allclose(found[b, :, k, h, w], x[b, :, row, column % 8], atol=1e-12)


def bilinear(x_CHW: Tensor, row: Tensor, column: Tensor, around: bool) -> Tensor:
    """(C,), by the formula."""
    height, width = x_CHW.shape[1:]
    if not around:
        row = row.clamp(0, height - 1)
    top, left = (math.floor(one.item()) for one in (row.detach(), column.detach()))
    found = torch.zeros_like(x_CHW[:, 0, 0])
    for a, b in itertools.product((top, top + 1), (left, left + 1)):
        weight = (1 - (row - a).abs()) * (1 - (column - b).abs())
        inside = a % height if around else min(a, height - 1)
        found = found + weight * x_CHW[:, inside, b % width]
    return found


@pytest.mark.parametrize("around", [True, False])
@pytest.mark.parametrize("adaptive", [True, False])
def test_attention_is_its_formula(around: bool, adaptive: bool) -> None:
    torch.manual_seed(2)
    block = PSFAttention(3, 2, 1.5, adaptive).double()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_()
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    anchors = torch.tensor([[[0, 2], [1, -2]], [[0, 0], [-1, 1]]])
    query, key, value = block.parts(x).chunk(3, dim=1)
    wanted = torch.empty_like(x)
    for b, h, w in itertools.product(range(2), range(4), range(5)):
        scores, values = [], []
        for k in range(2):
            move = block.move_K2[k]
            if block.asked is not None:
                move = move + block.asked(x)[b, 2 * k : 2 * k + 2, h, w]
            row, column = anchors[b, k] + torch.tensor([h, w]) + 1.5 * torch.tanh(move)
            scores.append(query[b, :, h, w] @ bilinear(key[b], row, column, around) / 3**0.5)
            values.append(bilinear(value[b], row, column, around))
        weights = torch.softmax(torch.stack(scores), dim=0)
        wanted[b, :, h, w] = sum(one * v for one, v in zip(weights, values, strict=True))
    wanted = x + block.last(wanted)
    found = block(x, anchors, around)
    assert torch.linalg.norm(found - wanted) < 1e-10 * torch.linalg.norm(wanted)
    weight = torch.randn_like(x)
    of = [x, *block.parameters()]
    grads = (torch.autograd.grad((one * weight).sum(), of) for one in (found, wanted))
    for a, b in zip(*grads, strict=True):
        assert torch.linalg.norm(a - b) < 1e-10 * torch.linalg.norm(b)


def test_published_anchors_are_elsewhere() -> None:
    """Without centring the transform, and clamped at the edges, anchors miss the aliases."""
    mask = snu_mask(45, 5)
    spread = np.abs(np.fft.ifft(np.fft.ifftshift(mask.lines)))
    uncentred = set((np.argsort(spread)[-5:] - 22).tolist())
    aliases = {b for _, b in offsets(mask, 5)}
    assert aliases == {0, 9, -9, 18, -18}
    assert not uncentred & aliases


def test_half_precision_does_not_move_anchors() -> None:
    """Positions beyond 256 are no bfloat16 numbers."""
    block = PSFAttention(2, 1, 0.0, True)
    with torch.no_grad():
        block.parts.weight.copy_(torch.eye(2).repeat(3, 1)[..., None, None])
        block.last.weight.copy_(torch.eye(2)[..., None, None])
    x = torch.zeros(1, 2, 1, 500, dtype=torch.bfloat16)
    x[..., 411] = 1
    found = block(x, torch.tensor([[[0, 100]]]), False) - x
    assert found.dtype == torch.bfloat16
    assert torch.nonzero(found[0, 0, 0]).flatten().tolist() == [311]


def test_anchors_are_found_on_meta() -> None:
    mask = torch.empty(2, 1, 1, 1, 20, dtype=torch.bool, device="meta")
    anchors = psf_anchors(mask, 8, True)
    assert anchors.shape == (2, 8, 2)
    with torch.device("meta"):
        block = PSFAttention(4, 8, 4.0, True)
    assert block(torch.empty(2, 4, 10, 20, device="meta"), anchors, False).shape == (2, 4, 10, 20)
