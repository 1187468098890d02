"""Coil compression: against NumPy's SVD, closed forms, and bart on simulated and real data."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from dealias.errors import DataError, SettingsError
from dealias.physics.anatomy import Subject, render
from dealias.physics.coils import rss
from dealias.physics.compression import compress, compress_images, gcc, scc
from dealias.physics.espirit import espirit
from dealias.physics.fourier import fft, ifft
from dealias.physics.scanner import Scanner

Need = Callable[[str], str]
LINES = 24
"""ACS lines, as bart's own default."""


@pytest.fixture(scope="module")
def brain() -> torch.Tensor:
    """Simulated k-space (C, H, W) of 8 coils with readout oversampling."""
    scanner = Scanner((128, 90), (90, 90), 8, snr=100, signal=1.0)
    body = render("brain", Subject(430, 1), scanner.grid(), np.array([0.1]))
    return torch.from_numpy(scanner.acquire(body, np.random.default_rng(1))[0])


@pytest.fixture
def real(real_data: Path) -> torch.Tensor:
    with h5py.File(real_data / "brain4ch_t2_tugraz_gpunufft.h5") as file:
        kspace = torch.from_numpy(file["kspace"][0])
    return kspace / kspace.abs().max()


def centre(size: int) -> tuple[int, int]:
    return size // 2 - LINES // 2, size // 2 + LINES // 2


def square(kspace_CHW: torch.Tensor) -> dict[str, tuple[int, int]]:
    """The central 24 x 24, which bart calibrates on."""
    rows, columns = map(centre, kspace_CHW.shape[1:])
    return {"acs": columns, "acs_rows": rows}


def geometric(kspace_CHW: torch.Tensor, keep: float) -> torch.Tensor:
    return gcc(kspace_CHW, centre(kspace_CHW.shape[-1]), keep)


def image_error(kspace_CHW: torch.Tensor, virtual_VHW: torch.Tensor) -> float:
    full = rss(ifft(kspace_CHW), 0)
    difference = rss(ifft(virtual_VHW), 0) - full
    return float(torch.linalg.vector_norm(difference) / torch.linalg.vector_norm(full))


def lost(kspace_CHW: torch.Tensor, virtual_VHW: torch.Tensor) -> float:
    energy, kept = (
        float((k.to(torch.complex128).abs() ** 2).sum()) for k in (kspace_CHW, virtual_VHW)
    )
    return 1 - kept / energy


def barts(
    kspace_CHW: torch.Tensor, kind: str, keep: int, folder: Path, command: str
) -> torch.Tensor:
    """k-space of bart's virtual coils; kind is "-S" (SVD) or "-G" (geometric)."""
    coils, height, width = kspace_CHW.shape
    (folder / "k.hdr").write_text(f"# Dimensions\n{height} {width} 1 {coils}\n")
    kspace_CHW.numpy().transpose(1, 2, 0).ravel(order="F").tofile(folder / "k.cfl")
    arguments = [command, "cc", kind, "-p", str(keep), "-r", str(LINES), "k", "v"]
    subprocess.run(arguments, cwd=folder, check=True, capture_output=True)
    found = np.fromfile(folder / "v.cfl", np.complex64).reshape((height, width, keep), order="F")
    return torch.from_numpy(np.ascontiguousarray(found.transpose(2, 0, 1)))


# against bart


def assert_svd_agrees(kspace: torch.Tensor, keep: int, theirs: torch.Tensor) -> None:
    """The same subspace: virtual images agree up to a unitary matrix, so their RSS does."""
    ours = compress(kspace, scc(kspace, keep=keep, **square(kspace)))
    difference = rss(ifft(ours), 0) - rss(ifft(theirs), 0)
    assert difference.abs().max() < 2e-4 * rss(ifft(theirs), 0).max()
    # all rows tell a little more or less than bart's 24
    all_rows = compress(kspace, scc(kspace, centre(kspace.shape[-1]), keep))
    assert image_error(kspace, all_rows) < 1.02 * image_error(kspace, theirs)


def assert_geometric_is_not_worse(kspace: torch.Tensor, keep: int, theirs: torch.Tensor) -> None:
    ours = compress(kspace, geometric(kspace, keep))
    assert image_error(kspace, ours) < 1.02 * image_error(kspace, theirs)
    assert lost(kspace, ours) < 1.02 * lost(kspace, theirs)


@pytest.mark.parametrize("keep", [3, 5])
def test_bart_is_matched_on_a_simulated_brain(
    keep: int, brain: torch.Tensor, need: Need, tmp_path: Path
) -> None:
    assert_svd_agrees(brain, keep, barts(brain, "-S", keep, tmp_path, need("bart")))
    assert_geometric_is_not_worse(brain, keep, barts(brain, "-G", keep, tmp_path, need("bart")))


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_bart_is_matched_on_a_real_brain(
    keep: int, real: torch.Tensor, need: Need, tmp_path: Path
) -> None:
    assert_svd_agrees(real, keep, barts(real, "-S", keep, tmp_path, need("bart")))
    assert_geometric_is_not_worse(real, keep, barts(real, "-G", keep, tmp_path, need("bart")))


def test_one_matrix_a_position_loses_less_than_one_for_all(brain: torch.Tensor) -> None:
    """The paper's claim: with as many coils a good deal more of the signal is kept."""
    for keep in (3, 4):
        one = compress(brain, scc(brain, centre(90), keep))
        assert lost(brain, compress(brain, geometric(brain, keep))) < 0.5 * lost(brain, one)


# against NumPy's SVD


def test_scc_holds_as_much_of_the_acs_as_any_matrix_can(brain: torch.Tensor) -> None:
    rows, columns = map(centre, brain.shape[1:])
    region = brain[:, slice(*rows), slice(*columns)].to(torch.complex128)
    best = np.linalg.svd(region.flatten(1).numpy(), compute_uv=False) ** 2
    matrix = scc(brain, columns, 5, rows)
    virtual = compress(region, matrix).flatten(1)
    # uncorrelated, the strongest first
    gram = virtual @ virtual.mH
    torch.testing.assert_close(
        gram, torch.diag(torch.from_numpy(best[:5])).to(gram), atol=1e-9 * best[0], rtol=1e-9
    )


def test_gcc_holds_as_much_of_each_row_as_any_matrix_can(brain: torch.Tensor) -> None:
    columns = centre(90)
    hybrid = ifft(brain.to(torch.complex128), (-2,))[..., slice(*columns)]
    best = np.linalg.svd(hybrid.movedim(1, 0).numpy(), compute_uv=False)[:, :3] ** 2
    virtual = compress_images(hybrid, geometric(brain, 3))
    kept = (virtual.abs() ** 2).sum((0, 2)).numpy()
    np.testing.assert_allclose(kept, best.sum(1), rtol=1e-9)


def test_slices_share_a_matrix_of_all_their_energy(brain: torch.Tensor) -> None:
    other = brain.roll(3, 0) * torch.linspace(0.5, 2, 8)[:, None, None]
    both = torch.stack([brain, other])
    start, stop = centre(90)
    in_a_row = torch.cat([brain[..., start:stop], other[..., start:stop]], -1)
    for method in (scc, gcc):
        together = method(both, (start, stop), 4)
        one = method(in_a_row, (0, 2 * LINES), 4)
        torch.testing.assert_close(together.mH @ together, one.mH @ one)
        virtual = compress(both, together)
        torch.testing.assert_close(virtual[1], compress(other, together))


# what must hold of any compression


@pytest.mark.parametrize("keep", [1, 4, 8])
def test_rows_are_orthonormal(keep: int, brain: torch.Tensor) -> None:
    eye = torch.eye(keep, dtype=torch.complex128)
    for matrices in (scc(brain, centre(90), keep), geometric(brain, keep)):
        gram = matrices @ matrices.mH
        torch.testing.assert_close(gram, eye.expand_as(gram), atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.complex64, 2e-6), (torch.complex128, 1e-12)]
)
def test_all_coils_lose_nothing(dtype: torch.dtype, tolerance: float, brain: torch.Tensor) -> None:
    brain = brain.to(dtype)
    image = rss(ifft(brain), 0)
    for matrices in (scc(brain, centre(90), 8), geometric(brain, 8), geometric(brain, 1.0)):
        found = compress(brain, matrices)
        assert found.dtype == dtype
        assert (rss(ifft(found), 0) - image).abs().max() < tolerance * image.max()


def test_neighbours_along_the_readout_are_as_near_as_rotations_allow(brain: torch.Tensor) -> None:
    """By Procrustes, A_x A_neighbour^H is Hermitian and has no negative eigenvalue."""
    matrices = geometric(brain, 4)
    overlap = matrices[1:] @ matrices[:-1].mH
    torch.testing.assert_close(overlap, overlap.mH, atol=1e-10, rtol=0)
    assert torch.linalg.eigvalsh(overlap).min() > -1e-10
    # the centre is where they start, and it is not turned
    middle = ifft(brain.to(torch.complex128), (-2,))[:, 64, slice(*centre(90))]
    virtual = matrices[64] @ middle
    gram = virtual @ virtual.mH
    off = gram - torch.diag(gram.diagonal())
    assert off.abs().max() < 1e-9 * gram.abs().max()
    assert (gram.diagonal().real.diff() < 0).all()


def test_with_all_coils_alignment_leaves_one_matrix(brain: torch.Tensor) -> None:
    matrices = geometric(brain, 8)
    torch.testing.assert_close(matrices, matrices[:1].expand_as(matrices), atol=1e-10, rtol=0)


def unexplained(kspace_CHW: torch.Tensor) -> float:
    """Share of the coil images' energy, where there is some, that ESPIRiT's maps do not explain."""
    maps, images = espirit(kspace_CHW, centre(kspace_CHW.shape[-1]))[0], ifft(kspace_CHW)
    rest = images - maps * (maps.conj() * images).sum(0)
    bright = rss(images, 0) > 0.2 * rss(images, 0).max()
    return float((rest.abs()[:, bright] ** 2).sum() / (images.abs()[:, bright] ** 2).sum())


def test_kernels_can_follow_aligned_virtual_coils_alone(brain: torch.Tensor) -> None:
    """ESPIRiT is as good as on the coils themselves; and lost if positions are not aligned."""
    aligned = geometric(brain, 4)
    turn = torch.randn(128, 4, 4, dtype=aligned.dtype, generator=torch.Generator().manual_seed(0))
    turned = torch.linalg.qr(turn).Q @ aligned
    scale = brain.abs().max()
    before, after, jumping = (
        unexplained(kspace / scale)
        for kspace in (brain, compress(brain, aligned), compress(brain, turned))
    )
    assert after < 1.1 * before
    assert jumping > 10 * before


@pytest.mark.parametrize("height", [128, 127])
def test_images_and_kspace_are_compressed_alike(height: int, brain: torch.Tensor) -> None:
    brain = brain[:, :height].to(torch.complex128)
    for matrices in (scc(brain, centre(90), 3), geometric(brain, 3)):
        torch.testing.assert_close(
            ifft(compress(brain, matrices)), compress_images(ifft(brain), matrices)
        )


def test_lines_that_were_not_measured_stay_zero_and_others_do_not_see_them(
    brain: torch.Tensor,
) -> None:
    lines = torch.arange(90) % 4 == 1
    for matrices in (scc(brain, centre(90), 3), geometric(brain, 3)):
        masked = compress(brain * lines, matrices)
        assert (masked[..., ~lines] == 0).all()
        torch.testing.assert_close(masked, compress(brain, matrices) * lines, atol=1e-4, rtol=0)


def test_only_the_acs_is_looked_at(brain: torch.Tensor) -> None:
    rows, columns = map(centre, brain.shape[1:])
    other = torch.full_like(brain, float("nan"))
    other[..., slice(*columns)] = brain[..., slice(*columns)]
    assert torch.equal(gcc(other, columns, 3), gcc(brain, columns, 3))
    assert torch.equal(scc(other, columns, 3), scc(brain, columns, 3))
    other[:] = float("nan")
    other[:, slice(*rows), slice(*columns)] = brain[:, slice(*rows), slice(*columns)]
    assert torch.equal(scc(other, columns, 3, rows), scc(brain, columns, 3, rows))


# how many coils


def coils_of(energies: list[float]) -> torch.Tensor:
    """k-space (C, 6, 8) whose coils are orthogonal, at each position, and mixed by a rotation."""
    hybrid = torch.zeros(len(energies), 6, 8, dtype=torch.complex128)
    for coil, energy in enumerate(energies):
        hybrid[coil, :, coil] = (energy / 6) ** 0.5
    mixing = torch.randn(len(energies), len(energies), dtype=hybrid.dtype,
                         generator=torch.Generator().manual_seed(1))  # fmt: skip
    return fft(torch.einsum("cd,dhw->chw", torch.linalg.qr(mixing).Q, hybrid), (-2,))


@pytest.mark.parametrize(
    ("share", "count"), [(0.01, 1), (0.499, 1), (0.501, 2), (0.749, 2), (0.751, 3), (0.99, 5)]
)
def test_a_share_of_energy_takes_as_few_coils_as_hold_it(share: float, count: int) -> None:
    kspace = coils_of([1, 4, 8, 2, 1])
    assert len(scc(kspace, (0, 8), share)) == count
    assert gcc(kspace, (0, 8), share).shape[1] == count
    assert lost(kspace, compress(kspace, scc(kspace, (0, 8), share))) <= 1 - share
    assert lost(kspace, compress(kspace, gcc(kspace, (0, 8), share))) <= 1 - share


def test_gcc_counts_the_energy_of_all_positions() -> None:
    """Rows of one coil each: 3/4 of the energy in those of the first, 1/4 in a mixture of two."""
    hybrid = torch.zeros(2, 8, 4, dtype=torch.complex128)
    hybrid[0, :6, 0] = 1
    hybrid[0, 6:, 1], hybrid[1, 6:, 2] = 0.8, 0.6
    kspace = fft(hybrid, (-2,))
    # one virtual coil holds 6 + 2 * 0.64 of 8
    assert [gcc(kspace, (0, 4), share).shape[1] for share in (0.90, 0.92)] == [1, 2]
    # and exactly a half is held by one of two coils that are alike
    even = torch.eye(2, dtype=torch.complex128)[:, None]
    assert len(scc(even, (0, 2), 0.5)) == 1


@pytest.mark.parametrize("keep", [0, -1, 9, 0.0, 1.01, -0.5, float("nan")])
def test_numbers_of_coils_that_cannot_be_are_refused(keep: float, brain: torch.Tensor) -> None:
    for method in (scc, gcc):
        with pytest.raises(SettingsError, match="virtual coils|share of energy"):
            method(brain, centre(90), keep)


def test_no_acs_and_broken_data_are_refused(brain: torch.Tensor) -> None:
    broken = brain.clone()
    broken[2, 60, 45] = float("inf")
    for method in (scc, gcc):
        with pytest.raises(DataError, match="no ACS"):
            method(brain, (45, 45), 2)
        with pytest.raises(DataError, match="not finite"):
            method(broken, centre(90), 2)


def test_dead_coils_and_silence_do_no_harm(brain: torch.Tensor) -> None:
    with_dead = torch.cat([brain[:3], torch.zeros_like(brain[:1]), brain[3:]]).to(torch.complex128)
    for method in (scc, gcc):
        matrices = method(with_dead, centre(90), 8)
        assert lost(with_dead, compress(with_dead, matrices)) < 1e-10
        silent = torch.zeros_like(brain)
        assert (compress(silent, method(silent, centre(90), 0.99)) == 0).all()


def test_phases_are_the_datas_own(brain: torch.Tensor) -> None:
    """Each virtual coil's strongest ACS sample is real: at the centre row, where GCC begins."""
    start, stop = centre(90)
    acs = brain.to(torch.complex128)[..., start:stop]
    virtual = scc(brain, (start, stop), 4) @ acs.flatten(1)
    row = geometric(brain, 4)[64] @ ifft(acs, (-2,))[:, 64]
    for samples in (virtual, row):
        strongest = samples.gather(1, samples.abs().argmax(1, keepdim=True))
        assert (strongest.real > 0).all()
        assert (strongest.imag.abs() < 1e-12 * strongest.real).all()
    assert torch.isfinite(torch.view_as_real(scc(0 * brain, (start, stop), 4))).all()


def test_gcc_is_the_same_of_rows_that_were_transformed(brain: torch.Tensor) -> None:
    hybrid = ifft(brain.to(torch.complex128), (-2,))
    whole = gcc(brain, centre(90), 3)
    torch.testing.assert_close(gcc(hybrid, centre(90), 3, transformed=True), whole)
    some = gcc(hybrid[:, 34:94], centre(90), 3, transformed=True)
    torch.testing.assert_close(some, whole[34:94])
