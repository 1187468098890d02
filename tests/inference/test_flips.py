"""Flips at inference: exact, undone exactly, of the whole measurement, and left out in time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from dealias import api
from dealias.classical.iterative import CgSense, ZeroFilled
from dealias.cli import cmd_reconstruct
from dealias.cli.cmd_evaluate import show
from dealias.errors import SettingsError
from dealias.evaluation.evaluate import evaluate
from dealias.inference import run
from dealias.inference.budget import TimeBudget
from dealias.inference.bundle import Model
from dealias.inference.flips import FLIPS, Flip, averaged, flipped, flips_of
from dealias.inference.reconstruct import reconstruct
from dealias.inference.run import reconstruct_all
from dealias.metrics.protocol import protocol_named
from dealias.physics.fourier import fft
from dealias.physics.sampling.mask import SamplingMask
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.measurement import (
    Estimate,
    Measurement,
    Needs,
    Reconstructor,
    measure,
    residual,
)
from dealias.scan.scan import Cell, Scan

Make = Callable[..., Scan]
SIZES = [(12, 10), (11, 9), (12, 9), (11, 10)]
CROP = Needs(readout_crop=1)
ALL: tuple[Flip, ...] = FLIPS


def random(*shape: int, seed: int = 1) -> torch.Tensor:
    chance = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.complex128, generator=chance)


def mask_of(hw: tuple[int, int], plane: bool) -> SamplingMask:
    """Nothing about it is symmetric."""
    rng = np.random.default_rng(3)
    lines = rng.random(hw if plane else hw[1]) < 0.5
    if not plane:
        lines[3:6] = True
        return SamplingMask(lines, (3, 6))
    lines[4:8, 3:6] = True
    return SamplingMask(lines, (3, 6), acs_rows=(4, 8))


def measured(
    hw: tuple[int, int], plane: bool, needs: Needs = CROP, index: np.ndarray | None = None,
    rows: np.ndarray | None = None,
) -> Measurement:  # fmt: skip
    """Three adjacent slices, four coils; columns and rows of object, coils and mask reordered."""
    objects, maps = random(2, 3, 1, *hw), random(2, 3, 4, *hw, seed=2)
    mask = mask_of(hw, plane)
    lines, acs = mask.lines, mask.acs
    if index is not None:
        objects, maps, lines = objects[..., index], maps[..., index], lines[..., index]
        acs = (int(index[acs[1] - 1]), int(index[acs[0]]) + 1)
    if rows is not None:
        objects, maps = objects[..., rows, :], maps[..., rows, :]
        lines = lines[rows] if plane else lines
    ends = None
    if plane and mask.acs_rows is not None:
        start, stop = mask.acs_rows
        ends = (start, stop) if rows is None else (int(rows[stop - 1]), int(rows[start]) + 1)
    mask = SamplingMask(lines, acs, acs_rows=ends)
    needs = Needs() if plane else needs
    return measure(fft(objects * maps), [mask] * 2, (6, 6), needs, maps)


def about(n: int) -> np.ndarray:
    """Where each index comes from when an axis is reflected about N//2, with wrap-around."""
    return (2 * (n // 2) - np.arange(n)) % n


def once(model: Reconstructor, m: Measurement) -> tuple[torch.Tensor, torch.Tensor | None]:
    estimate = model(m)
    return estimate.image_BHW, residual(m, estimate)


def far(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(a - b) / torch.linalg.vector_norm(b))


def unscaled(m: Measurement) -> torch.Tensor:
    return m.kspace_BSCHW / m.scale_B[:, None, None, None, None]


@pytest.mark.parametrize("plane", [False, True])
@pytest.mark.parametrize("hw", SIZES)
def test_the_flipped_measurement_is_that_of_the_flipped_object(
    hw: tuple[int, int], plane: bool
) -> None:
    columns, rows = about(hw[1]), about(hw[0]) if plane else np.arange(hw[0])[::-1].copy()
    plain = measured(hw, plane, Needs())
    orders: dict[Flip, dict[str, np.ndarray]] = {
        "phase": {"index": columns}, "readout": {"rows": rows},
        "both": {"index": columns, "rows": rows},
    }  # fmt: skip
    for flip, order in orders.items():
        wanted, found = measured(hw, plane, Needs(), **order), flipped(plain, flip)
        assert far(unscaled(found), unscaled(wanted)) < 1e-13
        assert found.sens_BSCHW is not None and wanted.sens_BSCHW is not None
        assert torch.equal(found.sens_BSCHW, wanted.sens_BSCHW)
        assert torch.equal(found.mask_B11HW, wanted.mask_B11HW)
        assert torch.equal(found.acs_B11HW, wanted.acs_B11HW)
        again = flipped(found, flip)
        assert torch.equal(again.kspace_BSCHW, plain.kspace_BSCHW)
        assert not torch.equal(found.kspace_BSCHW, plain.kspace_BSCHW)


@pytest.mark.parametrize("plane", [False, True])
@pytest.mark.parametrize("hw", SIZES)
@pytest.mark.parametrize("model", [ZeroFilled(), CgSense(0.01, 7)])
def test_flips_change_nothing_where_the_reconstruction_flips_along(
    model: Reconstructor, hw: tuple[int, int], plane: bool
) -> None:
    m = measured(hw, plane)
    assert m.kspace_BSCHW.shape[-2] == (hw[0] if plane else 8)
    image, off = averaged(partial(once, model), m, ALL)
    plain, plain_off = once(model, m)
    assert far(image, plain) < 1e-10
    assert (off is None) == (plain_off is None)
    if off is not None and plain_off is not None:
        assert far(off, plain_off) < 1e-10


@pytest.mark.parametrize("hw", SIZES)
def test_a_network_that_does_not_flip_along_is_averaged(hw: tuple[int, int]) -> None:
    m = measured(hw, False, Needs())
    ramp_W, ramp_H = torch.arange(1.0, hw[1] + 1).double(), torch.arange(1.0, hw[0] + 1).double()

    def solve(one: Measurement) -> tuple[torch.Tensor, None]:
        return one.zero_filled() * ramp_W * ramp_H[:, None], None

    image, off = averaged(solve, m, ("readout", "phase"))
    down_H, back_W = ramp_H.flip(0), ramp_W[torch.from_numpy(about(hw[1]))]
    weights = torch.outer(ramp_H, ramp_W) + torch.outer(down_H, ramp_W)
    weights = (weights + torch.outer(ramp_H, back_W)) / 3
    assert off is None
    assert far(image, m.zero_filled() * weights) < 1e-14
    assert far(image, solve(m)[0]) > 0.1


def test_priors_flip_too_and_slices_keep_their_order() -> None:
    m = measured((12, 10), False, Needs(priors=("grappa",)))

    def prior(one: Measurement) -> tuple[torch.Tensor, None]:
        return one.priors["grappa"], None

    def above(one: Measurement) -> tuple[torch.Tensor, None]:
        return one.coil_images()[:, 0].abs().sum(1), None

    for solve in (prior, above):
        assert far(averaged(solve, m, ALL)[0], solve(m)[0]) < 1e-14


def test_the_largest_residual_of_all_passes_is_told() -> None:
    m, values = measured((12, 10), False), iter(([1.0, 5.0], [3.0, 2.0], [2.0, 4.0]))
    solve = lambda one: (one.zero_filled(), torch.tensor(next(values)))  # noqa: E731
    _, off = averaged(solve, m, ("readout", "phase"))
    assert off is not None
    assert off.tolist() == [3.0, 5.0]


def turned(mask: SamplingMask) -> np.ndarray:
    m = measure(torch.ones(1, 1, 1, 2, mask.width, dtype=torch.complex64), [mask], (2, 2), Needs())
    return flipped(m, "phase").mask_B11HW.flatten().numpy()


@pytest.mark.parametrize("width", [36, 37, 368, 372, 396])
@pytest.mark.parametrize("rate", [4, 8])
def test_which_masks_a_flip_changes(width: int, rate: int) -> None:
    """What --help and the guide say of lattices."""
    rule = snu_mask(width, rate)
    outside = turned(rule) ^ rule.lines
    assert outside.sum() <= 2
    assert set(np.flatnonzero(outside)) <= {rule.acs[0], rule.acs[1]}
    for offset in range(rate):
        lines = np.zeros(width, bool)
        lines[offset::rate] = True
        lines[width // 2 - 4 : width // 2 + 5] = True
        wanted = np.zeros(width, bool)
        wanted[(2 * (width // 2) - offset) % rate :: rate] = True
        wanted[width // 2 - 4 : width // 2 + 5] = True
        # column 0 of an even axis has no other side
        wanted[0] = lines[0] if width % 2 == 0 else wanted[0]
        np.testing.assert_array_equal(turned(SamplingMask(lines, (0, 0))), wanted)


def test_words_for_flips() -> None:
    assert flips_of(None) == ()
    assert flips_of("both") == ("both",)
    assert flips_of("phase,readout") == ("phase", "readout")
    for text in ("", "phase,", "left", "phase,phase", "readout phase"):
        with pytest.raises(SettingsError, match="--flips"):
            flips_of(text)
    with pytest.raises(SettingsError, match="did you mean 'readout'"):
        flips_of("raedout")


class Slow(ZeroFilled):
    """A second a pass, by its own clock; it does not flip along."""

    now = 0.0

    def __call__(self, measurement: Measurement) -> Estimate:
        Slow.now += 1.0
        image = measurement.zero_filled()
        return Estimate(image * torch.linspace(1, 2, image.shape[-1]))


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setattr(Slow, "now", 0.0)
    monkeypatch.setattr(run, "TimeBudget", partial(TimeBudget, clock=lambda: Slow.now))
    return Model(Slow(), "slow", {})


@pytest.mark.parametrize(("limit", "passes"), [(None, [2, 2, 2]), (15.0, [2, 2, 2]),
                                               (13.0, [2, 2, 1]), (12.0, [2, 1, 1]),
                                               (8.0, [1, 1, 1])])  # fmt: skip
def test_flips_are_left_out_of_whole_volumes_before_the_limit_breaks(
    limit: float | None, passes: list[int], slow: Model, tmp_path: Path, make_scan: Make
) -> None:
    shape, heard = (2, 4, 40, 36), list[str]()
    scans = [make_scan(shape, name=name, full=True, cell=Cell("brain", 4)) for name in "abc"]
    summary = reconstruct_all(lambda scan: slow, scans, tmp_path, flips=("phase",),
                              time_limit=limit, warn=heard.append)  # fmt: skip
    assert [volume.passes for volume in summary.volumes] == passes
    assert limit is None or Slow.now <= limit
    assert heard == []
    pairs = zip("abc", passes, strict=True)
    assert summary.plain == tuple(f"{name}.h5" for name, count in pairs if count == 1)
    wanted = {1: reconstruct(Slow(), scans[0]), 2: reconstruct(Slow(), scans[0], flips=("phase",))}
    assert np.abs(wanted[1].image_ZHW - wanted[2].image_ZHW).max() > 0.1
    for name, count in zip("abc", passes, strict=True):
        with h5py.File(tmp_path / f"{name}.h5") as file:
            # every slice of a volume in one way
            np.testing.assert_array_equal(file["reconstruction"][()], wanted[count].image_ZHW)
            assert file.attrs["passes"] == count
            said = file.attrs["flips"].decode()
            assert said == ("phase" if count == 2 else "none of phase: time limit")
    lines = cmd_reconstruct.said(summary, tmp_path, tmp_path).splitlines()
    done, plain = passes.count(2), passes.count(1)
    where = f"in {done} of 3 volumes; flips left out of {plain}" if plain else "in all 3 volumes"
    assert lines[1].startswith(f"2 passes averaged (plain, phase) {where}")


def test_evaluate_tells_how_many_passes_were_averaged(
    tmp_path: Path, make_scan: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    scans = [make_scan(name=name, full=True, cell=Cell("brain", 4)) for name in "ab"]
    model = Model(ZeroFilled(), "zero-filled", {})
    reconstruct_all(lambda scan: model, scans[:1], tmp_path, flips=("phase", "both"))
    reconstruct_all(lambda scan: model, scans[1:], tmp_path)
    said: list[str] = []
    scores = evaluate(tmp_path, scans, protocol_named("fastmri"), say=said.append)
    assert said == ["passes averaged (dealias reconstruct --flips): 1 in 1 volumes, 3 in 1 volumes"]
    show(scores, said)
    assert said[0] in capsys.readouterr().out
    said.clear()
    evaluate(tmp_path, scans[1:], protocol_named("fastmri"), say=said.append)
    assert said == []


def test_the_command_averages(tmp_path: Path, write_kspace: Callable[..., Path]) -> None:
    app = typer.Typer()
    cmd_reconstruct.register(app)
    write_kspace(tmp_path / "data" / "a.h5")
    command = [str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--device", "cpu"]
    more = ["--flips", "readout,both", "--time-limit", "1h"]
    done = CliRunner().invoke(app, ["zero-filled", *command, *more], catch_exceptions=False)
    assert "3 passes averaged (plain, readout, both) in all 1 volumes" in done.stdout


def test_the_python_api_takes_the_commands_words(make_scan: Make) -> None:
    scan = make_scan((1, 4, 40, 36), full=True, cell=Cell("brain", 4))
    found = api.reconstruct(Slow(), scan, "cpu", "phase,both")
    wanted = reconstruct(Slow(), scan, flips=("phase", "both"))
    np.testing.assert_array_equal(found.image_ZHW, wanted.image_ZHW)
    assert found.flips == ("phase", "both")
    with pytest.raises(SettingsError, match="'phases'"):
        api.reconstruct(Slow(), scan, "cpu", "phases")
