"""What a resume refuses: another network, other data, a run that is in use."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import pytest
import torch

from dealias.errors import CheckpointError, DataError, SettingsError
from dealias.runs.folder import RunFolder
from dealias.runs.train import Hooks, resume

CPU = torch.device("cpu")
SLICES = 3


@pytest.fixture
def run(straight: Path, tmp_path: Path) -> Path:
    """A copy of a finished run."""
    return Path(shutil.copytree(straight, tmp_path / "run"))


@pytest.fixture
def moved(data: Path, tmp_path: Path) -> Path:
    """A copy of its data set."""
    return Path(shutil.copytree(data, tmp_path / "data"))


def test_another_network_is_refused_with_the_difference(run: Path) -> None:
    with pytest.raises(CheckpointError, match=r"channels: 2 to 4") as caught:
        resume(run, None, ["network.channels=4"], CPU, Hooks())
    assert caught.value.exit_code == 4
    assert "start a new run" in str(caught.value)


def a_file(data: Path) -> Path:
    return sorted((data / "train" / "kspace").glob("*.h5"))[0]


def test_changed_content_is_refused_by_name(run: Path, moved: Path) -> None:
    changed = a_file(moved)
    with h5py.File(changed, "r+") as file:
        file["kspace"][SLICES // 2, 0, 0, 0] += 1  # the slice whose bytes name a scan
    with pytest.raises(DataError, match="training data that changed") as caught:
        resume(run, moved, [], CPU, Hooks())
    assert changed.stem in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_missing_file_is_refused_by_name(run: Path, moved: Path) -> None:
    gone = a_file(moved)
    gone.unlink()
    (moved / "train" / "image" / gone.name).unlink()
    with pytest.raises(DataError, match=gone.stem):
        resume(run, moved, [], CPU, Hooks())


def test_the_same_data_elsewhere_is_the_same_data(run: Path, moved: Path) -> None:
    resume(run, moved, ["training.epochs=3"], CPU, Hooks())
    assert json.loads((run / "main" / "finished.json").read_text())["epochs"] == 3
    assert json.loads((run / "run.json").read_text())["resumed"][-1] == {
        "overrides": ["training.epochs=3"]
    }


def test_a_run_in_use_is_refused(run: Path) -> None:
    with RunFolder.open(run).locked(), pytest.raises(SettingsError, match="in use by process"):
        resume(run, None, [], CPU, Hooks())


def test_all_checkpoints_damaged_never_means_from_the_start(run: Path) -> None:
    states = sorted((run / "main" / "checkpoints").rglob("state.pt"))
    for state in states:
        state.write_bytes(state.read_bytes()[:-7])
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(CheckpointError, match="none of them whole"):
        resume(run, None, [], CPU, replace(Hooks(), warn=lambda text: None))
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    changed = {path.name for path in before if after.get(path) != before[path]}
    assert changed <= {"log.txt", "run.json"}
