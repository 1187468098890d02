"""How many positions lie on one another, as a measurement says of each item."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dealias.physics.sampling.fastmri import equispaced_mask
from dealias.physics.sampling.mask import SamplingMask
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.measurement import Needs, measure


def found(*masks: SamplingMask) -> tuple[int, ...]:
    y = torch.ones(len(masks), 1, 1, *masks[0].lines.shape[-2:], dtype=torch.complex64)
    if masks[0].lines.ndim == 1:
        y = torch.ones(len(masks), 1, 1, 4, masks[0].width, dtype=torch.complex64)
    return measure(y, masks, (4, masks[0].width), Needs()).accelerations


def unknown(mask: SamplingMask) -> SamplingMask:
    return SamplingMask(mask.lines, mask.acs)


def test_it_is_the_nominal_one_of_each_item() -> None:
    assert found(snu_mask(36, 4), snu_mask(36, 8), snu_mask(36, 1)) == (4, 8, 1)
    assert found(SamplingMask(snu_mask(36, 4).lines, (17, 20), nominal=5.6)) == (6,)
    assert found(SamplingMask(snu_mask(36, 4).lines, (17, 20), nominal=0.2)) == (1,)


@pytest.mark.parametrize("rate", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("width", [60, 61, 64])
@pytest.mark.parametrize("offset", [0, 1])
def test_where_unknown_it_is_the_spacing_of_a_lattice(rate: int, width: int, offset: int) -> None:
    mask = equispaced_mask(width, rate, 0.1, offset)
    assert mask.effective < rate - 0.1
    assert found(unknown(mask)) == (rate,)


def test_without_a_lattice_it_is_the_effective_one() -> None:
    lines = np.zeros(40, bool)
    lines[[1, 2, 7, 18, 19, 20, 21, 22, 30, 33]] = True
    assert found(SamplingMask(lines, (18, 23))) == (4,)
    plane = np.zeros((4, 36), bool)
    plane[::2, ::3] = True
    assert found(SamplingMask(plane, (18, 18))) == (6,)


def test_full_and_empty_masks_fold_nothing() -> None:
    for value in (True, False):
        assert found(SamplingMask(np.full(9, value), (0, 9) if value else (4, 4))) == (1,)
    assert found(SamplingMask(np.full(9, True), (3, 6))) == (1,)
