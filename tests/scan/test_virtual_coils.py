"""Coil compression where networks get their data: it sees what was measured and changes no more."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from dealias.classical.iterative import CgSense
from dealias.data.remask import MaskSettings
from dealias.data.samples import Samples, collate
from dealias.errors import DataError, SettingsError
from dealias.inference.slices import measurements
from dealias.models.table import NETWORKS, build_network
from dealias.models.varnet import VarNet, VarNetSettings
from dealias.physics.anatomy import Subject, render
from dealias.physics.compression import compress, gcc, scc
from dealias.physics.fourier import fft, ifft
from dealias.physics.sampling.fastmri import equispaced_mask
from dealias.physics.sampling.mask import SamplingMask
from dealias.physics.sampling.poisson import poisson_disc_mask
from dealias.physics.scanner import Scanner
from dealias.runs.rehearsal import blank_batch
from dealias.runs.size import Size
from dealias.scan.hybrid import Hybrid, to_hybrid
from dealias.scan.measurement import Measurement, Needs, measure
from dealias.scan.scan import Geometry, Scan
from dealias.scan.virtual_coils import CompressionSettings

CPU = torch.device("cpu")
H, W, C, TARGET = 48, 40, 6, (32, 32)
MASK = equispaced_mask(W, 4, 0.25, 1)
PLANE = poisson_disc_mask((H, W), 3, 0.2, np.random.default_rng(0))


@cache
def brain() -> Tensor:
    """Simulated k-space (2 slices, C, H, W), complex128."""
    scanner = Scanner((H, W), TARGET, C, snr=100, signal=1.0)
    body = render("brain", Subject(430, 1), scanner.grid(), np.array([0.0, 0.1]))
    kspace = scanner.acquire(body, np.random.default_rng(1))
    return torch.from_numpy(kspace).to(torch.complex128)


def needs(kind: str, keep: float, **others: Any) -> Needs:
    return Needs(compression=CompressionSettings(kind=kind, keep=keep), **others)  # type: ignore[arg-type]


def seen(
    want: Needs, mask: SamplingMask = MASK, kspace_ZCHW: Tensor | None = None, sens: bool = False
) -> Measurement:
    """Both slices as a batch; maps are coil images of unit norm."""
    y = (brain() if kspace_ZCHW is None else kspace_ZCHW)[:, None]
    images = ifft(y)
    maps = images / torch.linalg.vector_norm(images, dim=2, keepdim=True) if sens else None
    return measure(y, [mask] * len(y), TARGET, want, maps)


CASES = [("scc", MASK, {}), ("gcc", MASK, {}), ("gcc", MASK, {"readout_crop": 2}),
         ("scc", MASK, {"readout_crop": 2}), ("scc", PLANE, {})]  # fmt: skip
every_case = pytest.mark.parametrize(("kind", "mask", "others"), CASES)


@every_case
@pytest.mark.parametrize("keep", [C, 40, 1.0])
def test_all_virtual_coils_leave_operator_and_images_alone(
    kind: str, mask: SamplingMask, others: dict[str, Any], keep: float
) -> None:
    """Zero-filled image, A^H y, A^H A x, the RSS of VarNet's data term, and CG-SENSE's solution."""
    plain, turned = (
        seen(want, mask, sens=True) for want in (Needs(**others), needs(kind, keep, **others))
    )
    assert not torch.allclose(plain.kspace_BSCHW, turned.kspace_BSCHW, rtol=1e-3)
    a, b = (m.operator(m.sens_BSCHW) for m in (plain, turned))  # type: ignore[arg-type]
    x0 = a.adjoint(plain.kspace_BSCHW)
    for one, other in (
        (plain.zero_filled(), turned.zero_filled()),
        (x0, b.adjoint(turned.kspace_BSCHW)),
        (a.normal(x0), b.normal(x0)),
        (a.magnitude(x0), b.magnitude(x0)),
        (CgSense()(plain).image_BHW, CgSense()(turned).image_BHW),
    ):
        assert (one - other).abs().max() < 1e-10 * one.abs().max()


@pytest.mark.parametrize("kind", ["scc", "gcc"])
def test_virtual_coils_are_those_of_whole_kspace(kind: str) -> None:
    """Compressed before the readout's transform: only a coil's phase knows which came first."""
    measured = brain() * torch.from_numpy(MASK.lines.copy())
    m = seen(needs(kind, 3))
    for one, found, scale in zip(measured, m.kspace_BSCHW[:, 0], m.scale_B, strict=True):
        matrices = (scc if kind == "scc" else gcc)(one, MASK.acs, 3)
        wanted = ifft(compress(one, matrices), (-2,)) * scale
        turns = (wanted.conj() * found).sum((1, 2), keepdim=True)
        wanted = wanted * turns / turns.abs()
        assert (found - wanted).abs().max() < 1e-10 * wanted.abs().max()


@every_case
@pytest.mark.parametrize("keep", [3, 0.97])
def test_nothing_but_what_was_measured_is_looked_at(
    kind: str, mask: SamplingMask, others: dict[str, Any], keep: float
) -> None:
    want = needs(kind, keep, **others)
    other = torch.where(torch.from_numpy(mask.lines.copy()), brain(), brain().flip(0, 1) * 7 + 3)
    assert torch.equal(seen(want, mask).kspace_BSCHW, seen(want, mask, other).kspace_BSCHW)


@pytest.mark.parametrize("kind", ["scc", "gcc"])
def test_only_acs_lines_decide_the_matrices(kind: str) -> None:
    """Another line outside them changes its own virtual samples and no others."""
    line = int(np.flatnonzero(MASK.lines & ~MASK.acs_lines())[0])
    other = brain().clone()
    other[..., line] = other[..., line].roll(1, 1)
    a, b = (seen(needs(kind, 3), kspace_ZCHW=one).kspace_BSCHW for one in (brain(), other))
    assert not torch.equal(a[..., line], b[..., line])
    rest = torch.arange(W) != line
    assert torch.equal(a[..., rest], b[..., rest])


@pytest.mark.parametrize("share", [0.8, 0.97, 0.999])
def test_a_share_of_energy_is_held_with_the_fewest_coils(share: float) -> None:
    """By the singular values of each item's ACS lines, and blank coils fill up the batch."""
    loud = brain().clone()
    loud[1] = loud[1, :1] * torch.arange(1, C + 1)[:, None, None]  # one coil is all of it
    m = seen(needs("scc", share), kspace_ZCHW=loud)
    whole = seen(Needs(), kspace_ZCHW=loud)
    wanted = []
    for full, virtual in zip(whole.kspace_BSCHW[:, 0], m.kspace_BSCHW[:, 0], strict=True):
        acs = slice(*MASK.acs)
        energy = np.linalg.svd(full[..., acs].flatten(1).numpy(), compute_uv=False) ** 2
        wanted.append(int(np.argmax(energy.cumsum() >= share * energy.sum())) + 1)
        held = virtual[..., acs].abs().square().sum()
        assert held >= share * energy.sum() * (1 - 1e-12)
        used = virtual.abs().flatten(1).amax(1) > 0
        assert used.tolist() == [True] * wanted[-1] + [False] * (len(used) - wanted[-1])
    assert wanted[1] == 1 < wanted[0] == m.kspace_BSCHW.shape[2]


@pytest.mark.parametrize("kind", ["scc", "gcc"])
def test_an_item_is_what_it_is_alone(kind: str) -> None:
    """Whatever the others of its batch hold; but for the blank coils that they make it have."""
    loud = torch.stack([brain()[0], brain()[0, :1] * torch.arange(1, C + 1)[:, None, None]])
    together = seen(needs(kind, 0.95), kspace_ZCHW=loud).kspace_BSCHW
    for item in range(2):
        alone = seen(needs(kind, 0.95), kspace_ZCHW=loud[item : item + 1]).kspace_BSCHW[0]
        # products of other shapes may round otherwise
        off = (together[item, :, : alone.shape[1]] - alone).abs().max()
        assert off < 1e-14 * alone.abs().max()
        assert not together[item, :, alone.shape[1] :].any()


@pytest.mark.parametrize("kind", ["scc", "gcc"])
def test_the_order_of_coils_plays_no_part(kind: str) -> None:
    """Nor do phases that LAPACK chose: virtual coils themselves are equal, not only their RSS."""
    order = torch.randperm(C, generator=torch.Generator().manual_seed(3))
    a, b = (
        seen(needs(kind, 3), kspace_ZCHW=one).kspace_BSCHW for one in (brain(), brain()[:, order])
    )
    assert (a - b).abs().max() < 1e-9 * a.abs().max()


@pytest.mark.parametrize("name", ["varnet", "promptmr+", "dircn", "unet"])
def test_a_blank_coil_changes_no_network(name: str) -> None:
    entry = NETWORKS[name]
    torch.manual_seed(0)
    network = entry.build(entry.tiny).double().eval()
    y = brain()[:1, None].expand(1, network.needs.slices, -1, -1, -1)
    blank = torch.cat([y, torch.zeros_like(y[:, :, :2])], 2)
    with torch.no_grad():
        a, b = (
            network(measure(one, [MASK], TARGET, network.needs)).image_BHW for one in (y, blank)
        )
    assert (a - b).abs().max() < 1e-10 * a.abs().max()


class Stored:
    """A source of two slices."""

    def kspace(self, z: slice) -> np.ndarray:
        return brain()[z].to(torch.complex64).numpy()

    def image(self, kind: str, z: slice) -> None:
        return None


SCAN = Scan("a", (2, C, H, W), MASK, True, Geometry((H, W), TARGET), Stored())  # type: ignore[arg-type]


@pytest.mark.parametrize("want", [
    needs("gcc", 3), needs("scc", 0.9, slices=3), needs("gcc", 2, readout_crop=2),
    needs("scc", 3, maps="espirit"), needs("gcc", 4, priors=("grappa",)),
])  # fmt: skip
def test_training_sees_what_inference_sees(want: Needs) -> None:
    samples = Samples([SCAN], MaskSettings(), want, 0)
    trained = collate([samples[0, 1]]).measurement(want, CPU)
    [_, (_, inferred)] = measurements(SCAN, MASK, want, CPU)
    for name in ("kspace_BSCHW", "sens_BSCHW", "scale_B"):
        one, other = getattr(trained, name), getattr(inferred, name)
        assert (one is other is None) or torch.equal(one, other), name
    assert all(torch.equal(trained.priors[name], inferred.priors[name]) for name in want.priors)
    kept = want.compression.keep  # type: ignore[union-attr]
    assert not isinstance(kept, int) or trained.kspace_BSCHW.shape[2] == kept
    # the reference is of all coils
    wanted = SCAN.target(1)
    assert np.array_equal(samples[0, 1].target_HW.numpy(), wanted[0])  # type: ignore[index]


def test_rows_of_a_cache_are_compressed_as_kspace_is() -> None:
    rows = (6, 42)
    parts = [to_hybrid(one, rows) for one in Stored().kspace(slice(0, 2))]
    hybrid = Hybrid(rows, H, torch.stack([torch.from_numpy(p[1]) for p in parts])[:, None])
    kept = torch.stack([torch.from_numpy(p[0]) for p in parts])[:, None]
    want = needs("gcc", 3, readout_crop=2)
    cached = measure(kept, [MASK] * 2, TARGET, want, hybrid=hybrid)
    direct = measure(
        torch.from_numpy(Stored().kspace(slice(0, 2)))[:, None], [MASK] * 2, TARGET, want
    )
    assert torch.equal(cached.kspace_BSCHW, direct.kspace_BSCHW)


def test_grappa_is_of_the_virtual_coils() -> None:
    from dealias.physics.grappa import filled_or_zero_filled

    m = seen(needs("scc", 2, priors=("grappa",)))
    wanted = filled_or_zero_filled(m.kspace_BSCHW[0, 0], MASK, m.axes)
    assert torch.equal(m.priors["grappa"][0], wanted)


def test_a_plan_counts_as_many_coils_as_there_will_be() -> None:
    size = Size(C, (H, W), TARGET)
    for keep, coils in ((3, 3), (40, C), (0.5, C)):
        for kind in ("scc", "gcc"):
            want = needs(kind, keep)
            m = blank_batch(size, want, 2).measurement(want, torch.device("meta"))
            assert m.kspace_BSCHW.shape == (2, 1, coils, H, W)
            assert want.coils(C) == coils
    sizes = Samples([SCAN], MaskSettings(), needs("scc", 2, readout_crop=2), 0).sizes()
    assert sizes == [2 * 36 * W] * 2


def test_settings_are_of_the_model() -> None:
    """A network's own, so that a model file has them; a mixture's members agree."""
    values = {"kind": "gcc", "keep": 0.9}
    tiny = NETWORKS["varnet"].tiny.model_copy(update={"compression": CompressionSettings(**values)})  # type: ignore[arg-type]
    assert tiny.model_dump(mode="json")["compression"] == values
    assert VarNetSettings(**tiny.model_dump(mode="json")) == tiny
    assert VarNet(tiny).needs == dataclasses.replace(Needs(), compression=tiny.compression)  # type: ignore[arg-type]
    for name in NETWORKS.names:
        entry = NETWORKS[name]
        own = entry.tiny.model_copy(update={"compression": tiny.compression})
        with torch.device("meta"):
            assert build_network(own).needs.compression == tiny.compression, name  # type: ignore[arg-type]


@pytest.mark.parametrize("keep", [0, -3, 0.0, 1.5, -0.1, float("nan"), "many", True])
def test_what_cannot_be_kept_is_refused(keep: Any) -> None:
    with pytest.raises(ValidationError, match="a number of coils such as 8, or a share"):
        CompressionSettings(kind="scc", keep=keep)


def test_masks_that_leave_nothing_to_compress_by_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"gcc with a 2-D mask.*set network\.compression\.kind"):
        seen(needs("gcc", 3), PLANE)
    lines = np.zeros(W, bool)
    lines[::4] = True
    with pytest.raises(DataError, match="coil compression: found no ACS lines"):
        seen(needs("scc", 3), SamplingMask(lines, (20, 20)))


def test_white_noise_stays_white() -> None:
    noise = torch.randn(
        1, C, 400, W, dtype=torch.complex128, generator=torch.Generator().manual_seed(1)
    )
    full = SamplingMask(np.ones(W, bool), (W // 2 - 4, W // 2 + 4))
    for kind in ("scc", "gcc"):
        m = measure(noise[:, None], [full], (400, W), needs(kind, 4))
        virtual = (fft(m.kspace_BSCHW, (-2,)) / m.scale_B[0])[0, 0][..., : W // 2 - 4].flatten(1)
        covariance = virtual @ virtual.mH / virtual.shape[1]
        assert (covariance - torch.eye(4)).abs().max() < 5 / virtual.shape[1] ** 0.5
