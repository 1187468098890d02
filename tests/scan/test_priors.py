"""Images that come with a measurement: GRAPPA where there can be one, else zero-filled."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from dealias.classical.grappa import Grappa
from dealias.physics.sampling.fastmri import equispaced_mask, random_mask
from dealias.physics.sampling.mask import SamplingMask
from dealias.physics.sampling.poisson import poisson_disc_mask
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.hybrid import Hybrid, to_hybrid
from dealias.scan.measurement import Measurement, Needs, measure

HW = (24, 96)
NEEDS = Needs(priors=("grappa",))


def kspace(batch: int = 1, seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    y = rng.standard_normal((batch, 3, 4, *HW, 2)).astype(np.float32)
    far = np.hypot(*np.meshgrid(np.arange(96) - 48, np.arange(24) - 12))
    return torch.view_as_complex(torch.from_numpy(y)) * torch.from_numpy(np.exp(-far / 9)).float()


def measured(y: Tensor, *masks: SamplingMask, needs: Needs = NEEDS) -> Measurement:
    return measure(y, masks * (len(y) // len(masks)), HW, needs)


def lattice(width: int) -> SamplingMask:
    return equispaced_mask(HW[1], 4, width / HW[1], 1)


def test_none_is_made_unless_it_is_asked_for() -> None:
    assert not measured(kspace(), snu_mask(96, 4), needs=Needs()).priors


@pytest.mark.parametrize("crop", [None, 0])
def test_it_is_the_classical_methods(crop: int | None) -> None:
    needs = Needs(slices=3, priors=("grappa",), readout_crop=crop)
    m = measure(kspace(2), [snu_mask(96, 4), snu_mask(96, 2)], (16, 96), needs)
    image = m.priors["grappa"]
    assert image.shape == (2, 24 if crop is None else 16, 96)
    torch.testing.assert_close(image, Grappa()(m).image_BHW)
    assert float((image - m.zero_filled()).norm() / image.norm()) > 0.05
    twice = measure(8 * kspace(2), [snu_mask(96, 4), snu_mask(96, 2)], (16, 96), needs)
    assert torch.equal(twice.priors["grappa"], image)


def test_a_mask_is_known_by_its_lines_alone() -> None:
    known = snu_mask(96, 4)
    bare = SamplingMask(known.lines, known.acs)
    images = [measured(kspace(), mask).priors["grappa"] for mask in (known, bare)]
    assert torch.equal(*images)


@pytest.mark.parametrize(
    "mask",
    [
        random_mask(96, 4, 0.08, np.random.default_rng(0)),
        lattice(4),
        SamplingMask(np.zeros(96, bool), (48, 48)),
        SamplingMask(np.ones(96, bool), (0, 96)),
        poisson_disc_mask(HW, 4, 0.1, np.random.default_rng(0)),
    ],
    ids=["no lattice", "narrow ACS", "empty", "full", "2-D"],
)
def test_without_grappa_it_is_the_zero_filled_image(mask: SamplingMask) -> None:
    m = measured(kspace(), mask)
    torch.testing.assert_close(m.priors["grappa"], m.zero_filled())


def test_items_without_signal_do_no_harm() -> None:
    y = kspace(3)
    y[0] = 0
    y[1, ..., 36:60] = 0  # nothing in the ACS
    m = measured(y, lattice(12))
    assert torch.equal(m.priors["grappa"][0], torch.zeros(HW))
    torch.testing.assert_close(m.priors["grappa"][1], m.zero_filled()[1])
    alone = measured(y[2:], lattice(12))
    torch.testing.assert_close(m.priors["grappa"][2:], alone.priors["grappa"])


def test_no_gradient_comes_from_it() -> None:
    y = kspace().requires_grad_()
    assert not measured(y * 1, snu_mask(96, 4)).priors["grappa"].requires_grad


def test_a_cache_gives_the_same_bits() -> None:
    y = kspace()
    rows, peaks = zip(*(to_hybrid(one.numpy(), (0, 24)) for one in y[0]), strict=True)
    data, hybrid = torch.from_numpy(np.stack(rows)), torch.from_numpy(np.stack(peaks))[None]
    cached = measure(
        data[None], [snu_mask(96, 4)], HW, NEEDS, hybrid=Hybrid((0, 24), 24, hybrid)
    )  # fmt: skip
    assert torch.equal(cached.priors["grappa"], measured(y, snu_mask(96, 4)).priors["grappa"])


def test_a_known_image_is_brought_to_the_measurements_grid_and_scale() -> None:
    y, known = kspace(2), torch.rand(16, 40)
    m = measure(y, [snu_mask(96, 4)] * 2, (16, 40), NEEDS, stored=[{"grappa": known}, {}])
    made = measure(y, [snu_mask(96, 4)] * 2, (16, 40), NEEDS)
    assert torch.equal(m.window(m.priors["grappa"])[0], known)
    assert torch.equal(m.priors["grappa"][1], made.priors["grappa"][1])
    assert float(m.scale_B[0]) != 1
