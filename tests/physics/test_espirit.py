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

from dealias.physics.anatomy import Subject, render
from dealias.physics.coils import combine, rss
from dealias.physics.espirit import espirit
from dealias.physics.fourier import fft, ifft
from dealias.physics.sampling.snu import snu_mask
from dealias.physics.scanner import Scanner
from dealias.scan.maps import espirit_maps

Need = Callable[[str], str]
LINES = 24
"""ACS lines given to all three, as bart's and sigpy's own default."""


def simulated(hw: tuple[int, int], anatomy: str = "brain") -> torch.Tensor:
    """(C, H, W) of a simulated scan by 6 coils, scaled to about 1."""
    scanner = Scanner(hw, hw, 6, snr=50, signal=1.0)
    body = render(anatomy, Subject(430, 1), scanner.grid(), np.array([0.1]))
    kspace = torch.from_numpy(scanner.acquire(body, np.random.default_rng(1))[0])
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
    return espirit(kspace_CHW, acs, (rows, rows + LINES))[0]


def barts(kspace_CHW: torch.Tensor, folder: Path, command: str) -> torch.Tensor:
    coils, height, width = kspace_CHW.shape
    values = kspace_CHW.numpy().transpose(1, 2, 0)
    # bart's threshold is one of eigenvalues of the Gram matrix: the square of ours and sigpy's
    (folder / "k.hdr").write_text(f"# Dimensions\n{height} {width} 1 {coils}\n")
    values.astype(np.complex64).ravel(order="F").tofile(folder / "k.cfl")
    arguments = f"ecalib -m1 -r {LINES} -k 6 -t 0.001 -c 0.8 k s".split()
    subprocess.run([command, *arguments], cwd=folder, check=True, capture_output=True)
    maps = np.fromfile(folder / "s.cfl", np.complex64).reshape((height, width, coils), order="F")
    return torch.from_numpy(np.ascontiguousarray(maps.transpose(2, 0, 1)))


def sigpys(kspace_CHW: torch.Tensor) -> torch.Tensor:
    import sigpy.mri.app as app

    calibration = app.EspiritCalib(
        kspace_CHW.numpy(), calib_width=LINES, thresh=0.0316, kernel_width=6, crop=0.8,
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
    kspace = fft((inside * true).to(torch.complex128))
    (maps,) = espirit(kspace, (20, 44))
    agreement = (maps.conj() * true).sum(0).abs()[x**2 + y**2 < 0.55]
    assert agreement.min() > 0.999


def solved_densely(kspace_CHW: torch.Tensor, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (N, C) and eigenvectors (N, C, C) at (row, column) pixels (2, N), by NumPy."""
    hw, side = kspace_CHW.shape[1:], 6
    rows, columns = (slice(n // 2 - LINES // 2, n // 2 + LINES // 2) for n in hw)
    region = kspace_CHW[:, rows, columns].numpy().astype(np.complex128)
    patches = np.lib.stride_tricks.sliding_window_view(region, (side, side), axis=(1, 2))
    matrix = patches.transpose(1, 2, 0, 3, 4).reshape(-1, len(region) * side**2)
    _, values, right = np.linalg.svd(matrix, full_matrices=False)
    kernels = right[values > 0.0316 * values[0]].conj().reshape(-1, len(region), side, side)
    down, across = (
        np.exp(-2j * np.pi / n * np.outer(pixel - n // 2, np.arange(side)))
        for n, pixel in zip(hw, pixels, strict=True)
    )
    seen = np.einsum("kcyx,ny,nx->nkc", kernels, down, across, optimize=True) / side
    return np.linalg.eigh(np.einsum("nkc,nkd->ncd", seen.conj(), seen, optimize=True))


@pytest.mark.parametrize(("hw", "anatomy"), [((260, 300), "brain"), ((251, 333), "knee")])
def test_maps_are_leading_eigenvectors_at_every_pixel(hw: tuple[int, int], anatomy: str) -> None:
    kspace = simulated(hw, anatomy)
    rng = np.random.default_rng(0)
    pixels = np.stack([rng.integers(0, n, 3000) for n in hw])
    values, vectors = solved_densely(kspace, pixels)
    maps = ours(kspace).numpy()[:, pixels[0], pixels[1]].T
    # single precision may take either side of the threshold within 1e-5
    on, off = values[:, -1] > 0.8 + 1e-5, values[:, -1] < 0.8 - 1e-5
    assert ((maps != 0).any(1) == on)[on | off].all()
    agreement = np.abs((maps.conj() * vectors[..., -1]).sum(1))
    # where two eigenvalues are nearly one, so are their vectors: any of their span explains
    single = on & (values[:, -2] < 0.8 * values[:, -1])
    assert single.sum() > 1500
    assert agreement[single].min() > 1 - 2e-5


@pytest.mark.parametrize("hw", [(96, 80), (63, 61), (48, 47), (260, 211)])
def test_maps_have_unit_rss_or_are_zero(hw: tuple[int, int]) -> None:
    kspace = simulated(hw)
    norm = rss(ours(kspace), 0)
    assert ((norm == 0) | ((norm - 1).abs() < 1e-6)).all()
    bright = rss(ifft(kspace), 0)
    assert (norm[bright > 0.3 * bright.max()] > 0.5).all()
    assert (norm == 0).float().mean() > 0.1


def test_only_the_acs_is_looked_at(brain: torch.Tensor) -> None:
    rows, columns = (slice(n // 2 - 12, n // 2 + 12) for n in brain.shape[1:])
    other = torch.full_like(brain, float("nan"))
    other[..., columns] = brain[..., columns]
    assert torch.equal(espirit(brain, centre(brain)), espirit(other, centre(brain)))
    other[:] = float("nan")
    other[:, rows, columns] = brain[:, rows, columns]
    assert torch.equal(ours(brain), ours(other))
    other[:, rows, columns.start] = 0
    assert not torch.equal(ours(brain), ours(other))


@pytest.mark.parametrize("scale", [2.0**-40, 2.0**9])
def test_powers_of_two_change_no_bit(scale: float, brain: torch.Tensor) -> None:
    mask = snu_mask(80, 4)
    maps = espirit_maps(brain[None, None], [mask], "here")
    assert torch.equal(espirit_maps(scale * brain[None, None], [mask], "here"), maps)


@pytest.mark.parametrize("scale", [0.037, 11.3])
def test_scale_does_not_matter(scale: float, brain: torch.Tensor) -> None:
    torch.testing.assert_close(ours(scale * brain), ours(brain), atol=1e-5, rtol=0)


def test_the_order_of_coils_does_not_matter(brain: torch.Tensor) -> None:
    """But for one phase of all pixels, which an eigensolver is free to choose."""
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    maps, other = ours(brain)[order], ours(brain[order])
    phase = (maps.conj() * other).sum()
    torch.testing.assert_close(other, maps * phase / phase.abs(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("coil", [0, 3, 6])
def test_a_dead_coil_stays_zero_and_changes_no_other(coil: int, brain: torch.Tensor) -> None:
    with_dead = torch.cat([brain[:coil], torch.zeros_like(brain[:1]), brain[coil:]])
    maps = ours(with_dead)
    assert (maps[coil] == 0).all()
    others = torch.cat([maps[:coil], maps[coil + 1 :]])
    agreement = (others.conj() * ours(brain)).sum(0).abs()
    torch.testing.assert_close(agreement, rss(ours(brain), 0), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("width", "rate", "loss"), [(48, 4, 2.5), (80, 8, 1.8), (256, 4, 1.15), (256, 8, 1.15)]
)
def test_the_challenges_few_acs_lines_are_enough(width: int, rate: int, loss: float) -> None:
    """4, 6 and 20 lines: what they leave of the coil images, against what 24 lines leave."""
    kspace, mask = simulated((64, width)), snu_mask(width, rate)
    few = espirit_maps(kspace[None, None], [mask], "here")[0, 0]
    images = ifft(kspace)
    bright = rss(images, 0) > 0.3 * rss(images, 0).max()
    assert (rss(few, 0)[bright] > 0).all()
    assert unexplained(kspace, few * bright) < loss * unexplained(kspace, ours(kspace) * bright)


@pytest.mark.parametrize("lines", [1, 2, 3])
def test_hardly_any_lines_still_give_finite_maps_of_unit_rss(
    lines: int, brain: torch.Tensor
) -> None:
    norm = rss(espirit(brain, centre(brain, lines))[0], 0)
    assert ((norm == 0) | ((norm - 1).abs() < 1e-6)).all()
    assert norm.max() > 0.5


def test_no_signal_and_no_lines_give_zeros(brain: torch.Tensor) -> None:
    start, stop = centre(brain)
    silent = brain.clone()
    silent[..., start:stop] = 0
    for (maps,) in (espirit(silent, (start, stop)), espirit(brain, (start, start))):
        assert torch.equal(maps, torch.zeros_like(brain))


def test_silence_gives_zeros_at_any_scale(brain: torch.Tensor) -> None:
    mask = snu_mask(80, 4)
    blank = espirit_maps(torch.zeros_like(brain)[None, None], [mask], "here")
    assert (blank == 0).all()
    maps = espirit_maps(brain[None, None], [mask], "here")
    for scale in (1e-30, 1e25):
        assert torch.isfinite(espirit_maps(brain[None, None] * scale, [mask], "x").abs()).all()
    assert rss(maps, 2).max() > 0.99
