"""CG-SENSE against bart, sigpy and closed forms."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dealias.classical.iterative import CgSense, ZeroFilled, conjugate_gradients
from dealias.errors import SettingsError
from dealias.physics.coils import rss
from dealias.physics.fourier import fft
from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.measurement import Measurement, Needs, measure, residual

H, W, COILS = 36, 40, 6


def object_and_maps(h: int = H, w: int = W) -> tuple[torch.Tensor, torch.Tensor]:
    """A smooth complex object and maps of unit RSS inside a disc: (H, W), (C, H, W)."""
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, h).double(), torch.linspace(-1, 1, w).double(), indexing="ij"
    )
    inside = (x**2 + y**2 < 0.8).double()
    image = inside * (1 + 0.5 * torch.cos(9 * x) * torch.cos(7 * y)) * torch.exp(1j * (x + y))
    angles = torch.arange(COILS) * (2 * torch.pi / COILS)
    coils = [
        torch.exp(-((x - a.cos()) ** 2 + (y - a.sin()) ** 2) / 1.2 + 1j * a.cos() * x)
        for a in angles
    ]
    maps = torch.stack(coils) * inside
    norm = rss(maps, 0)
    return image, maps / torch.where(norm == 0, 1, norm)


def lattice(width: int = W, acceleration: int = 3, acs: int = 8) -> SamplingMask:
    lines = np.zeros(width, bool)
    lines[::acceleration] = True
    start = (width - acs) // 2
    lines[start : start + acs] = True
    return SamplingMask(lines, (start, start + acs))


def measured(
    image: torch.Tensor, maps: torch.Tensor, mask: SamplingMask, noise: float = 0.0
) -> Measurement:
    kspace = fft(maps * image)
    if noise:
        generator = torch.Generator().manual_seed(3)
        kspace = kspace + noise * torch.randn(kspace.shape, dtype=kspace.dtype, generator=generator)
    hw = (image.shape[-2], image.shape[-1])
    return measure(kspace[None, None], [mask], hw, Needs(), maps[None, None])


def nrmse(x: torch.Tensor | np.ndarray, reference: torch.Tensor | np.ndarray) -> float:
    x, reference = np.asarray(x), np.asarray(reference)
    return float(np.linalg.norm(x - reference) / np.linalg.norm(reference))


def write_cfl(path: Path, array: np.ndarray, dims: tuple[int, ...]) -> None:
    """BART's file format: Fortran order, complex64, 16 dimensions."""
    full = [*dims, *(1 for _ in range(16 - len(dims)))]
    path.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(map(str, full)) + "\n")
    array.astype(np.complex64).ravel(order="F").tofile(path.with_suffix(".cfl"))


def read_cfl(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    return np.fromfile(path.with_suffix(".cfl"), np.complex64).reshape(shape, order="F")


@pytest.mark.parametrize("hw", [(H, W), (35, 39)])
def test_full_sampling_and_true_maps_give_the_truth(hw: tuple[int, int]) -> None:
    image, maps = object_and_maps(*hw)
    m = measured(image, maps, SamplingMask(np.ones(hw[1], bool), (0, hw[1])))
    estimate = CgSense(0, 5)(m)
    assert nrmse(m.window(estimate.image_BHW)[0], image.abs()) < 1e-12
    assert float(residual(m, estimate)) < 1e-12


def test_undersampled_without_noise_converges_to_the_truth_where_zero_filled_does_not() -> None:
    image, maps = object_and_maps()
    m = measured(image, maps, lattice())
    assert nrmse(m.window(CgSense(0, 400)(m).image_BHW)[0], image.abs()) < 1e-4
    assert nrmse(m.window(ZeroFilled()(m).image_BHW)[0], image.abs()) > 0.1


def test_it_solves_the_regularised_normal_equations_as_a_dense_solver_does() -> None:
    image, maps = object_and_maps(10, 12)
    m = measured(image, maps, lattice(12, 2, 4), noise=0.02)
    A = m.operator(maps[None, None])
    eye = torch.eye(120, dtype=torch.complex128).reshape(120, 1, 1, 10, 12)
    matrix = torch.stack([A.normal(e).flatten() for e in eye], 1)
    shifted = matrix + 0.05 * torch.eye(120, dtype=torch.complex128)
    wanted = torch.linalg.solve(shifted, A.adjoint(m.kspace_BSCHW).flatten())
    combined = CgSense(0.05, 100)(m).combined_BSHW
    assert combined is not None
    assert nrmse(combined.flatten(), wanted) < 1e-10


def test_bart_pics_agrees(need: Callable[[str], str], tmp_path: Path) -> None:
    image, maps = object_and_maps()
    m = measured(image, maps, lattice(), noise=0.02)
    y_CHW = fft(m.kspace_BSCHW, (-2,))[0, 0].numpy()
    write_cfl(tmp_path / "k", y_CHW.transpose(1, 2, 0), (H, W, 1, COILS))
    write_cfl(tmp_path / "s", maps.numpy().transpose(1, 2, 0), (H, W, 1, COILS))
    write_cfl(tmp_path / "p", lattice().lines[None, :].repeat(H, 0), (H, W))
    command = [need("bart"), "pics", "-S", "-l2", "-r", "0.02", "-i", "100", "-p", "p"]
    subprocess.run([*command, "k", "s", "x"], cwd=tmp_path, check=True, capture_output=True)
    combined = CgSense(0.02, 100)(m).combined_BSHW
    assert combined is not None
    assert nrmse(combined[0, 0], read_cfl(tmp_path / "x", (H, W))) < 0.01


@pytest.mark.filterwarnings("ignore")
def test_sigpy_sense_agrees() -> None:
    from sigpy.mri import app

    image, maps = object_and_maps()
    m = measured(image, maps, lattice(), noise=0.02)
    y_CHW = fft(m.kspace_BSCHW, (-2,))[0, 0].numpy()
    weights = np.broadcast_to(lattice().lines, (H, W)).astype(float)
    theirs = app.SenseRecon(
        y_CHW, maps.numpy(), lamda=0.02, weights=weights, max_iter=100, show_pbar=False
    ).run()
    combined = CgSense(0.02, 100)(m).combined_BSHW
    assert combined is not None
    assert nrmse(combined[0, 0], theirs) < 0.01


def test_maps_of_another_scale_mean_the_same_regularisation_and_image() -> None:
    image, maps = object_and_maps()
    m = measured(image, maps, lattice(), noise=0.05)
    # the same k-space explained by maps three times as large: x is a third, S x is not
    tripled = measured(image / 3, 3 * maps, lattice(), noise=0.05)
    assert nrmse(CgSense(0.1, 30)(tripled).image_BHW, CgSense(0.1, 30)(m).image_BHW) < 1e-10


def test_items_of_a_batch_are_solved_apart_and_a_blank_one_is_zero() -> None:
    image, maps = object_and_maps()
    kspace = torch.stack(
        [fft(maps * image), torch.zeros_like(maps), 50 * fft(maps * image.flip(0))]
    )
    sens = maps.expand(3, 1, -1, -1, -1)
    m = measure(kspace[:, None], [lattice()] * 3, (H, W), Needs(), sens)
    together = m.window(CgSense(0.01, 10)(m).image_BHW)
    for b in range(3):
        one = measure(kspace[b, None, None], [lattice()], (H, W), Needs(), sens[:1])
        assert torch.allclose(together[b], one.window(CgSense(0.01, 10)(one).image_BHW)[0])
    assert torch.equal(together[1], torch.zeros(H, W, dtype=torch.float64))


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_far_more_iterations_than_needed_stay_finite_in_single_precision(scale: float) -> None:
    image, maps = object_and_maps()
    kspace = (scale * fft(maps * image)).to(torch.complex64)[None, None]
    m = measure(kspace, [lattice()], (H, W), Needs(), maps.to(torch.complex64)[None, None])
    got = m.window(CgSense(0.01, 500)(m).image_BHW)[0]
    assert nrmse(got / scale, image.abs()) < 0.05


def test_zero_maps_and_no_maps() -> None:
    image, maps = object_and_maps()
    blank = measured(image, torch.zeros_like(maps), lattice())
    assert not CgSense()(blank).image_BHW.any()
    kspace = fft(maps * image)[None, None]
    with pytest.raises(SettingsError, match="no sensitivity maps"):
        CgSense()(measure(kspace, [lattice()], (H, W), Needs()))


def test_conjugate_gradients_end_in_as_many_steps_as_there_are_eigenvalues() -> None:
    values = torch.tensor([1.0, 4.0, 9.0], dtype=torch.float64).repeat(2, 5)
    right = torch.ones(2, 15, dtype=torch.complex128)
    x = conjugate_gradients(lambda v: values * v, right, 3)
    assert torch.allclose(x, right / values, atol=1e-12)
