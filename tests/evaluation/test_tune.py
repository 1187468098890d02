"""Settings are chosen where they are best, by acceleration, and never on the data to be scored."""

from __future__ import annotations

import re
from pathlib import Path

import h5py
import pytest
import torch
from typer.testing import CliRunner

from dealias.classical.table import METHODS, build_method
from dealias.cli.main import app
from dealias.data.catalogue import open_data
from dealias.data.simulate import SimulateSettings, simulate
from dealias.errors import DataError, SettingsError
from dealias.evaluation.tune import tune
from dealias.inference.reconstruct import reconstruct
from dealias.metrics.protocol import PROTOCOLS

PROTOCOL, CPU = PROTOCOLS["fastmri"], torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A noisy person and a clean one to tune on, at X4 and X8, and one more to reconstruct."""
    folder = tmp_path_factory.mktemp("tune") / "data"
    settings = SimulateSettings(
        subjects=2, shares=(0, 1, 1), slices=1, coils=6, size=(64, 72), target=(64, 64),
        accelerations=(4, 8), year=2024, snr=8,
    )  # fmt: skip
    simulate(settings, folder, lambda done: None)
    return folder


def test_the_best_of_the_grid_is_chosen_in_each_group(data: Path) -> None:
    method, scans = METHODS["cg-sense"], open_data(data / "val")
    counted = []
    best = tune(method, scans, lambda scan: scan.mask.nominal, PROTOCOL, CPU,  # type: ignore[union-attr]
                progress=counted.append)  # fmt: skip
    assert set(best) == {4, 8}
    assert len(counted) == len(scans) * len(method.candidates()) == 32
    for scan in scans:
        assert scan.mask is not None

        def ssim(settings: dict[str, float], scan=scan) -> float:  # type: ignore[no-untyped-def]
            image_ZHW = reconstruct(method.build(**settings), scan).image_ZHW
            return PROTOCOL.score(image_ZHW, scan).slices[0].ssim or 0

        found = [ssim(settings) for settings in method.candidates()]
        assert ssim(best[scan.mask.nominal]) == max(found) > min(found) + 0.01  # type: ignore[index]


def test_every_candidate_of_the_table_can_be_built() -> None:
    for method in METHODS:
        for settings in method.candidates():
            spec = ",".join(f"{key}={value:g}" for key, value in settings.items())
            assert build_method(f"{method.name}:{spec}") == method.build(**settings)


@pytest.mark.slow
def test_the_command_uses_what_it_chose(data: Path, tmp_path: Path) -> None:
    command = ["reconstruct", "l1-wavelet", str(data / "leaderboard"), "--out", str(tmp_path / "a")]
    command += ["--tune", str(data / "val"), "--protocol", "fastmri"]
    said = CliRunner().invoke(app, command, catch_exceptions=False)
    chosen = dict(re.findall(r"X(\d): (l1-wavelet:\S+)", said.output))
    assert set(chosen) == {"4", "8"}
    for rate, spec in chosen.items():
        plain = ["reconstruct", spec, str(data / f"leaderboard/acc{rate}")]
        CliRunner().invoke(app, [*plain, "--out", str(tmp_path / rate)], catch_exceptions=False)
        (name,) = (path.name for path in (tmp_path / rate).rglob("*.h5"))
        images = []
        for folder in (tmp_path / f"a/acc{rate}", tmp_path / rate):
            with h5py.File(next(folder.rglob(name))) as file:
                images.append(file["reconstruction"][()])
        assert (images[0] == images[1]).all()


@pytest.mark.parametrize(
    ("method", "tuning", "kind", "said"),
    [
        ("cg-sense", "val/kspace/brain_acc4_1.h5", DataError, "X8.*X4, which was tuned"),
        ("zero-filled", "val", SettingsError, "nothing to tune"),
        ("runs/a", "val", SettingsError, "classical method 'runs/a'.*no such name"),
    ],
)
def test_what_cannot_be_tuned(
    method: str, tuning: str, kind: type[Exception], said: str, data: Path, tmp_path: Path
) -> None:
    command = ["reconstruct", method, str(data / "leaderboard"), "--out", str(tmp_path / "out")]
    with pytest.raises(kind, match=said):
        CliRunner().invoke(app, [*command, "--tune", str(data / tuning), "--quiet"],
                           catch_exceptions=False)  # fmt: skip
