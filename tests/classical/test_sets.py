"""Two sets of maps, where the field of view is smaller than the head: against one, and bart."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dealias.classical.iterative import CgSense
from dealias.classical.sparse import L1Wavelet, TotalVariation
from dealias.metrics.similarity import nmse
from dealias.physics.anatomy import Subject, render
from dealias.physics.coils import rss
from dealias.physics.fourier import ifft
from dealias.physics.sampling.fastmri import equispaced_mask
from dealias.physics.scanner import Scanner
from dealias.scan.maps import espirit_maps
from dealias.scan.measurement import Measurement, Needs, Reconstructor, measure, residual

HW = (96, 88)
"""A little more than the half of the head's field of view, along the phase encode."""
MASK = equispaced_mask(HW[1], 3, 22 / HW[1], 1)


@pytest.fixture(scope="module")
def folded() -> torch.Tensor:
    """(C, H, W) of a head wider than the field of view: every other line of twice as many."""
    hw = (2 * HW[1], HW[0])
    scanner = Scanner(hw, hw, 8, snr=60, signal=1.0)
    head = render("brain", Subject(430, 2), scanner.grid(), np.array([0.0]))
    # its longer side along the phase encode
    kspace = torch.from_numpy(scanner.acquire(head, np.random.default_rng(3))[0]).mT[..., ::2]
    return kspace / kspace.abs().max()


def measured(kspace_CHW: torch.Tensor, sets: int) -> Measurement:
    maps = espirit_maps(kspace_CHW[None, None], [MASK], "here", sets=sets)
    return measure(kspace_CHW[None, None], [MASK], HW, Needs(), maps)


def error(method: Reconstructor, m: Measurement, kspace_CHW: torch.Tensor) -> float:
    image = m.window(method(m).image_BHW)[0].double()
    return float(nmse(image, rss(ifft(kspace_CHW), 0).double()))


def test_sets_are_orthogonal_and_the_first_is_the_only_one_where_nothing_folds(
    folded: torch.Tensor,
) -> None:
    one, two = measured(folded, 1).sens_BSCHW, measured(folded, 2).sens_BSCHW
    assert one is not None and two is not None
    assert torch.equal(two[:, :, 0], one)
    first, second = two[0, 0]
    assert (first.conj() * second).sum(0).abs().max() < 1e-4
    share = float((rss(second, 0) > 0).float().mean())
    assert 0.04 < share < 0.8


@pytest.mark.parametrize(
    "method", [CgSense(0.005, 30), L1Wavelet(0.001), TotalVariation(0.0005)], ids=str
)
def test_two_sets_explain_what_one_cannot(method: Reconstructor, folded: torch.Tensor) -> None:
    one, two = (measured(folded, sets) for sets in (1, 2))
    assert error(method, two, folded) < 0.5 * error(method, one, folded)
    left = [residual(m, method(m)) for m in (one, two)]
    assert left[0] is not None and left[1] is not None
    # what is left of two sets is noise
    assert left[1] < 0.85 * left[0]


def test_bart_with_two_sets_is_no_better(
    folded: torch.Tensor, need: Callable[[str], str], tmp_path: Path
) -> None:
    m = measured(folded, 2)
    masked = (folded * torch.from_numpy(MASK.lines.copy())).numpy()
    (tmp_path / "k.hdr").write_text(f"# Dimensions\n{HW[0]} {HW[1]} 1 {len(masked)}\n")
    masked.transpose(1, 2, 0).astype(np.complex64).ravel(order="F").tofile(tmp_path / "k.cfl")
    command = need("bart")
    for arguments in ("ecalib -m2 -r 24:22:1 -c 0.8 k s",
                      "pics -S -l2 -r 0.005 -i 100 k s x"):  # fmt: skip
        subprocess.run([command, *arguments.split()], cwd=tmp_path, check=True, capture_output=True)
    shape = (*HW, 1, len(masked), 2)
    maps = np.fromfile(tmp_path / "s.cfl", np.complex64).reshape(shape, order="F")
    image = np.fromfile(tmp_path / "x.cfl", np.complex64).reshape((*HW, 2), order="F")
    theirs = np.linalg.norm((maps[:, :, 0] * image[:, :, None]).sum(-1), axis=-1)
    wanted = float(nmse(torch.from_numpy(theirs).double(), rss(ifft(folded), 0).double()))
    assert min(error(CgSense(w, 30), m, folded) for w in (0.002, 0.005, 0.01)) < 1.02 * wanted
