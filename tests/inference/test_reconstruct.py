"""From k-space to image: scale, slices, blank and broken data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dealias.classical.iterative import CgSense, ZeroFilled
from dealias.errors import DataError, HealthError
from dealias.inference.reconstruct import measurements, reconstruct
from dealias.models.network import Network
from dealias.physics.coils import rss
from dealias.physics.fourier import ifft
from dealias.physics.readout import centre_crop_or_pad
from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.measurement import Estimate, Measurement, Needs
from dealias.scan.scan import Scan

Make = Callable[..., Scan]
CPU = torch.device("cpu")


def truth(scan: Scan) -> np.ndarray:
    image = rss(ifft(torch.from_numpy(scan.kspace(slice(None)))), 1)
    return centre_crop_or_pad(image, scan.geometry.target_hw).numpy()


def nrmse(x: np.ndarray, reference: np.ndarray) -> float:
    return float(np.linalg.norm(x - reference) / np.linalg.norm(reference))


def test_cg_sense_is_nearer_the_truth_than_zero_filled(make_scan: Make) -> None:
    scan = make_scan(full=True)
    got = reconstruct(CgSense(1e-3, 30), scan)
    wanted = truth(scan)
    assert got.image_ZHW.shape == wanted.shape
    assert got.image_ZHW.dtype == np.float32
    assert nrmse(got.image_ZHW, wanted) < 0.5 * nrmse(got.zero_filled_ZHW, wanted)
    assert got.residual_Z is not None
    assert got.residual_Z.shape == (3,)
    assert got.residual_Z.max() < 0.1


def test_fully_sampled_k_space_gives_the_target(make_scan: Make) -> None:
    scan = make_scan(mask=SamplingMask(np.ones(36, bool), (0, 36)), full=True)
    for method in (ZeroFilled(), CgSense(0, 10)):
        assert nrmse(reconstruct(method, scan).image_ZHW, truth(scan)) < 0.02
    assert reconstruct(ZeroFilled(), scan).residual_Z is None


@pytest.mark.parametrize("batch", [2, 3, 8])
def test_batches_change_nothing(make_scan: Make, network: Network, batch: int) -> None:
    scan, done = make_scan(), list[int]()
    one = reconstruct(network, scan).image_ZHW
    many = reconstruct(network, scan, batch=batch, progress=done.append).image_ZHW
    np.testing.assert_allclose(many, one, rtol=1e-5, atol=1e-7 * one.max())
    assert sum(done) == scan.slices


@pytest.mark.parametrize("scale", [1e-30, 1e25])
@pytest.mark.parametrize("method", [ZeroFilled(), CgSense()])
def test_scale_passes_through(make_scan: Make, scale: float, method: ZeroFilled | CgSense) -> None:
    kspace = make_scan().kspace(slice(None))
    plain = reconstruct(method, make_scan(kspace=kspace)).image_ZHW
    scaled = reconstruct(method, make_scan(kspace=(kspace * scale).astype(np.complex64)))
    assert nrmse(scaled.image_ZHW.astype(np.float64) / scale, plain) < 1e-4


@pytest.mark.parametrize("method", [ZeroFilled(), CgSense()])
def test_a_blank_slice_becomes_zeros_and_a_dead_coil_does_no_harm(
    make_scan: Make, method: ZeroFilled | CgSense
) -> None:
    kspace = make_scan().kspace(slice(None)).copy()
    kspace[1] = 0
    kspace[:, 2] = 0
    got = reconstruct(method, make_scan(kspace=kspace))
    assert not got.image_ZHW[1].any()
    assert got.image_ZHW[0].any()
    assert np.isfinite(got.image_ZHW).all()
    if got.residual_Z is not None:
        assert got.residual_Z[1] == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, complex(0, -np.inf)])
def test_one_bad_sample_is_refused_by_file_and_slice(make_scan: Make, bad: complex) -> None:
    kspace = make_scan().kspace(slice(None)).copy()
    kspace[2, 1, 5, 5] = bad
    for batch in (1, 3):
        with pytest.raises(DataError, match="liver, slice 2: found NaN or infinity"):
            reconstruct(ZeroFilled(), make_scan(kspace=kspace, name="liver"), batch=batch)


def test_a_network_that_gives_nan_is_named_and_not_written(make_scan: Make) -> None:
    class Broken(ZeroFilled):
        def __call__(self, measurement: Measurement) -> Estimate:
            image = measurement.zero_filled()
            image[-1, 20, 20] = torch.nan
            return Estimate(image)

    with pytest.raises(HealthError, match="a, slice 1"):
        reconstruct(Broken(), make_scan(), batch=2)


def test_memory_that_runs_out_is_named_with_the_shape(make_scan: Make) -> None:
    class Large(ZeroFilled):
        def __call__(self, measurement: Measurement) -> Estimate:
            raise torch.OutOfMemoryError("boom")

    with pytest.raises(HealthError, match=r"\(2, 1, 4, 40, 36\).*--batch 1"):
        reconstruct(Large(), make_scan(), batch=2)


def test_masks_that_do_not_fit(make_scan: Make) -> None:
    with pytest.raises(DataError, match="no sampling mask"):
        reconstruct(ZeroFilled(), make_scan(mask=None, full=True))
    with pytest.raises(DataError, match=r"mask of shape \(20,\)"):
        reconstruct(ZeroFilled(), make_scan(), mask=SamplingMask(np.ones(20, bool), (0, 20)))
    lines = np.ones(36, bool)
    lines[18] = False
    with pytest.raises(DataError, match="without ACS lines"):
        reconstruct(CgSense(), make_scan(), mask=SamplingMask(lines, (18, 18)))


def test_a_given_mask_goes_before_the_scan_s_own(make_scan: Make) -> None:
    scan = make_scan(full=True)
    full = SamplingMask(np.ones(36, bool), (0, 36))
    assert nrmse(reconstruct(ZeroFilled(), scan, mask=full).image_ZHW, truth(scan)) < 1e-6
    assert nrmse(reconstruct(ZeroFilled(), scan).image_ZHW, truth(scan)) > 0.1


def test_a_mask_over_both_axes(make_scan: Make) -> None:
    scan = make_scan(full=True)
    lines = np.random.default_rng(2).random((40, 36)) < 0.5
    lines[14:26, 12:24] = True
    mask = SamplingMask(lines, (12, 24), acs_rows=(14, 26))
    got = reconstruct(CgSense(1e-3, 30), scan, mask=mask)
    assert nrmse(got.image_ZHW, truth(scan)) < 0.5 * nrmse(got.zero_filled_ZHW, truth(scan))


def test_only_sampled_k_space_reaches_the_maps(make_scan: Make) -> None:
    scan = make_scan(full=True)
    lines = np.arange(36) % 3 == 0
    lines[12:24] = True
    lines[17] = False  # a line of the ACS that was lost
    mask = SamplingMask(lines, (12, 24))
    masked = make_scan(kspace=scan.kspace(slice(None)) * lines)
    full, again = (reconstruct(CgSense(), s, mask=mask).image_ZHW for s in (scan, masked))
    np.testing.assert_array_equal(full, again)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_adjacent_slices_are_clamped_at_both_ends(make_scan: Make, batch: int) -> None:
    kspace = np.ones((5, 1, 4, 6), np.complex64) * 2.0 ** np.arange(5)[:, None, None, None]
    scan = make_scan(kspace=kspace, mask=SamplingMask(np.ones(6, bool), (0, 6)))
    seen = []
    for _, m in measurements(scan, scan.mask, Needs(slices=5), CPU, batch):  # type: ignore[arg-type]
        stack = m.kspace_BSCHW.abs().amax((2, 3, 4)) / m.scale_B[:, None]
        seen += (stack / stack.amin(1, keepdim=True)).log2().round().int().tolist()
        assert m.kspace_BSCHW.shape[1] == 5
    wanted = [[min(max(z + d, 0), 4) - max(z - 2, 0) for d in range(-2, 3)] for z in range(5)]
    assert seen == wanted


def test_names_and_labels_play_no_part(make_scan: Make) -> None:
    scan = make_scan(name="brain_acc4_1")
    other = replace(scan, name="xq7", cell=None, data_range=3.0)
    for method in (ZeroFilled(), CgSense()):
        a, b = reconstruct(method, scan), reconstruct(method, other)
        np.testing.assert_array_equal(a.image_ZHW, b.image_ZHW)


def test_a_real_brain_at_x4(real_data: Path) -> None:
    from dealias.io.open import open_scan
    from dealias.physics.sampling.snu import snu_mask

    scan = open_scan(real_data / "brain4ch_t2_tugraz_gpunufft.h5")
    assert scan.full
    got = reconstruct(CgSense(), scan, mask=snu_mask(scan.shape[3], 4))
    wanted = truth(scan)
    assert nrmse(got.image_ZHW, wanted) < 0.8 * nrmse(got.zero_filled_ZHW, wanted)
