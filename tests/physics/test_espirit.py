"""ESPIRiT maps: against bart and sigpy on simulated and real data, and what must hold of any maps.

Maps are known up to a phase at each pixel; so pixels are compared by |<ours, theirs>|, and the maps
as a whole by what they leave of the fully sampled coil images.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from dealias.inference.maps import espirit_maps
from dealias.physics.anatomy import Subject, render
from dealias.physics.coils import combine, rss
from dealias.physics.espirit import espirit
from dealias.physics.fourier import ifft
from dealias.physics.sampling.snu import snu_mask
from dealias.physics.scanner import Scanner

Need = Callable[[str], str]
LINES = 24
"""ACS lines given to all three, as bart's and sigpy's own default."""


def simulated(hw: tuple[int, int], coils: int = 6) -> torch.Tensor:
    """(C, H, W) of a simulated brain, scaled to about 1."""
    scanner = Scanner(hw, hw, coils, snr=50, signal=1.0)
    brain = render("brain", Subject(430, 1), scanner.grid(), np.array([0.1]))
    kspace = torch.from_numpy(scanner.acquire(brain, np.random.default_rng(1))[0])
    return kspace / kspace.abs().max()


@pytest.fixture(scope="module")
def brain() -> torch.Tensor:
    return simulated((96, 80))


@pytest.fixture
def real(real_data: Path) -> torch.Tensor:
    with h5py.File(real_data / "brain4ch_t2_tugraz_gpunufft.h5") as file:
        kspace = torch.from_numpy(file["kspace"][0])
    return kspace / kspace.abs().max()


def centre(kspace_CHW: torch.Tensor, lines: int = LINES) -> tuple[int, int]:
    start = kspace_CHW.shape[-1] // 2 - lines // 2
    return start, start + lines


def ours(kspace_CHW: torch.Tensor) -> torch.Tensor:
    acs = centre(kspace_CHW)
    rows = kspace_CHW.shape[-2] // 2 - LINES // 2
    return espirit(kspace_CHW, acs, (rows, rows + LINES))


def barts(kspace_CHW: torch.Tensor, folder: Path, command: str) -> torch.Tensor:
    coils, height, width = kspace_CHW.shape
    values = kspace_CHW.numpy().transpose(1, 2, 0)
    # bart's threshold is one of eigenvalues of the Gram matrix: the square of ours and sigpy's
    (folder / "k.hdr").write_text(f"# Dimensions\n{height} {width} 1 {coils}\n")
    values.astype(np.complex64).ravel(order="F").tofile(folder / "k.cfl")
    arguments = [
        "ecalib",
        "-m1",
        "-r",
        str(LINES),
        "-k",
        "6",
        "-t",
        "0.0004",
        "-c",
        "0.8",
        "k",
        "s",
    ]
    subprocess.run([command, *arguments], cwd=folder, check=True, capture_output=True)
    maps = np.fromfile(folder / "s.cfl", np.complex64).reshape((height, width, coils), order="F")
    return torch.from_numpy(np.ascontiguousarray(maps.transpose(2, 0, 1)))


def sigpys(kspace_CHW: torch.Tensor) -> torch.Tensor:
    import sigpy.mri.app as app

    calibration = app.EspiritCalib(
        kspace_CHW.numpy(), calib_width=LINES, thresh=0.02, kernel_width=6, crop=0.8,
        max_iter=100, show_pbar=False,
    )  # fmt: skip
    return torch.from_numpy(calibration.run())


def unexplained(kspace_CHW: torch.Tensor, maps_CHW: torch.Tensor) -> float:
    """Share of the coil images' energy, on the support, that the maps do not explain."""
    images = ifft(kspace_CHW)
    seen = maps_CHW * (maps_CHW.conj() * images).sum(0)
    support = rss(maps_CHW, 0) > 0
    return float(
        ((images - seen).abs()[:, support] ** 2).sum() / (images.abs()[:, support] ** 2).sum()
    )


def assert_agree(kspace_CHW: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> None:
    support_a, support_b = rss(a, 0) > 0, rss(b, 0) > 0
    both = support_a & support_b
    dice = 2 * both.sum() / (support_a.sum() + support_b.sum())
    assert dice > 0.999
    agreement = combine(a[None, None], b[None, None])[0, 0].abs()[both]
    assert agreement.median() > 0.9999
    assert agreement.quantile(0.01) > 0.99
    assert unexplained(kspace_CHW, a * both) < 1.001 * unexplained(kspace_CHW, b * both)


def test_bart_agrees_on_a_simulated_brain(brain: torch.Tensor, need: Need, tmp_path: Path) -> None:
    assert_agree(brain, ours(brain), barts(brain, tmp_path, need("bart")))


def test_bart_agrees_on_a_real_brain(real: torch.Tensor, need: Need, tmp_path: Path) -> None:
    assert_agree(real, ours(real), barts(real, tmp_path, need("bart")))


@pytest.mark.filterwarnings("ignore")
def test_sigpy_agrees_on_a_simulated_brain(brain: torch.Tensor) -> None:
    assert_agree(brain, ours(brain), sigpys(brain))


@pytest.mark.filterwarnings("ignore")
def test_sigpy_agrees_on_a_real_brain(real: torch.Tensor) -> None:
    assert_agree(real, ours(real), sigpys(real))


def test_maps_of_true_ones_are_found() -> None:
    """Smooth known maps on a textured object without noise: found up to a phase."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij")
    true = torch.stack([torch.exp(-((x - a) ** 2) / 4 + 1j * b * y)
                        for a, b in ((-1, 0.5), (1, -0.5), (0, 0.2))])  # fmt: skip
    true = true / rss(true, 0)
    rng = torch.Generator().manual_seed(0)
    inside = (x**2 + y**2 < 0.6) * (1 + 0.3 * torch.rand(64, 64, generator=rng))
    from dealias.physics.fourier import fft

    kspace = fft((inside * true).to(torch.complex128))
    maps = espirit(kspace, (20, 44))
    agreement = (maps.conj() * true).sum(0).abs()[x**2 + y**2 < 0.55]
    assert agreement.min() > 0.999


@pytest.mark.parametrize("hw", [(96, 80), (63, 61), (48, 47)])
def test_maps_have_unit_rss_or_are_zero(hw: tuple[int, int]) -> None:
    kspace = simulated(hw)
    norm = rss(ours(kspace), 0)
    assert ((norm == 0) | ((norm - 1).abs() < 1e-5)).all()
    bright = rss(ifft(kspace), 0)
    assert (norm[bright > 0.3 * bright.max()] > 0.5).all()


def test_only_the_acs_is_looked_at(brain: torch.Tensor) -> None:
    start, stop = acs = centre(brain)
    other = torch.randn(brain.shape, dtype=brain.dtype, generator=torch.Generator().manual_seed(2))
    other[..., start:stop] = brain[..., start:stop]
    assert torch.equal(espirit(brain, acs), espirit(other, acs))


def test_scale_and_order_of_coils(brain: torch.Tensor) -> None:
    acs = centre(brain)
    maps = espirit(brain, acs)
    agreement = (espirit(brain * 0.037, acs).conj() * maps).sum(0)
    torch.testing.assert_close(agreement.real, rss(maps, 0), atol=1e-4, rtol=0)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    agreement = (espirit(brain[order], acs).conj() * maps[order]).sum(0).abs()
    torch.testing.assert_close(agreement, rss(maps, 0), atol=1e-4, rtol=0)


def test_a_dead_coil_stays_zero_and_changes_no_other(brain: torch.Tensor) -> None:
    acs = centre(brain)
    with_dead = torch.cat([brain, torch.zeros_like(brain[:1])])
    maps = espirit(with_dead, acs)
    assert (maps[-1] == 0).all()
    agreement = (maps[:-1].conj() * espirit(brain, acs)).sum(0).abs()
    torch.testing.assert_close(agreement, rss(maps, 0), atol=1e-4, rtol=0)


@pytest.mark.parametrize("width", [48, 80, 250])
@pytest.mark.parametrize("rate", [4, 8])
def test_the_challenges_few_acs_lines_are_enough(width: int, rate: int) -> None:
    """4 to 20 lines: the maps must explain what was measured nearly as well as 24 lines' do."""
    kspace, mask = simulated((64, width)), snu_mask(width, rate)
    few = espirit_maps(kspace[None, None], [mask], "here")[0, 0]
    assert torch.isfinite(few.abs()).all()
    images = ifft(kspace)
    bright = rss(images, 0) > 0.3 * rss(images, 0).max()
    assert (rss(few, 0)[bright] > 0).float().mean() > 0.9
    assert unexplained(kspace, few * bright) < 0.05


def test_silence_gives_zeros_at_any_scale(brain: torch.Tensor) -> None:
    mask = snu_mask(80, 4)
    blank = espirit_maps(torch.zeros_like(brain)[None, None], [mask], "here")
    assert (blank == 0).all()
    maps = espirit_maps(brain[None, None], [mask], "here")
    for scale in (1e-30, 1e25):
        assert torch.isfinite(espirit_maps(brain[None, None] * scale, [mask], "x").abs()).all()
    assert rss(maps, 2).max() > 0.99
