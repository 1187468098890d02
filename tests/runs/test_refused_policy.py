"""What cannot work is refused before a folder is made, not after days of the stages before it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dealias.data.simulate import SimulateSettings, simulate
from dealias.errors import SettingsError
from dealias.runs.train import Hooks, start

CPU = torch.device("cpu")
SMALL = """
network: {name: varnet, cascades: 1, channels: 2, pools: 1, sens_channels: 2, sens_pools: 1}
masks: {kind: snu}
training: {epochs: 1, threads: 1}
"""
EXPERTS = f"""{SMALL}
stages:
  base: {{}}
  experts: {{start: "base:last", each: cell, set: [CHANGED]}}
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One scan of each cell in each set."""
    folder = tmp_path_factory.mktemp("refused") / "set"
    settings = SimulateSettings(subjects=3, slices=1, coils=2, size=(24, 32), target=(24, 32))
    simulate(settings, folder, lambda done: None)
    return folder


def test_nothing_is_written(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(SettingsError, match=r"memory.coils.*ImageUnet"):
        start("unet", tmp_path, out, ["memory.coils=4"], torch.device("cpu"), Hooks())
    assert not out.exists()


def refused(text: str, data: Path, folder: Path, *overrides: str) -> str:
    """What is said of a recipe that leaves nothing behind."""
    (folder / "mine.yaml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        start(str(folder / "mine.yaml"), data, folder / "run", list(overrides), CPU, Hooks())
    assert not (folder / "run").exists()
    return str(caught.value)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ("schedule.name=plateau", "data.val: found no scans; expected some, which schedule.name"),
        ('"training.early_stop=[[1,0.9]]"', "some, which training.early_stop follows"),
        ("augment.strength.kind=slope", "some, which augment.strength.kind=slope follows"),
    ],
)
def test_a_cell_without_validation_has_nothing_to_follow(
    changed: str, said: str, data: Path, tmp_path: Path
) -> None:
    text = EXPERTS.replace("CHANGED", changed)
    assert said in refused(text, data, tmp_path, "data.val=val/brain_*")


def test_images_that_a_term_of_the_loss_cannot_compare(data: Path, tmp_path: Path) -> None:
    late = "loss.terms=[{kind: l1}, {kind: ms-ssim, from_epoch: 30}]"
    assert "loss term 'ms-ssim': found images of 24 x 32" in refused(SMALL, data, tmp_path, late)


def test_a_mixture_without_such_masks(data: Path, tmp_path: Path) -> None:
    mixture = "masks.mixture=[{kind: equispaced, centre_lines: [40]}]"
    late = "masks.probability={kind: linear, delay: 20, until: 30}"
    assert "centre_lines" in refused(SMALL, data, tmp_path, mixture, late)


def test_a_stage_that_does_not_fit_its_budget(data: Path, tmp_path: Path) -> None:
    text = EXPERTS.replace("CHANGED", "memory.budget=1KiB")
    said = refused(text, data, tmp_path)
    assert said.startswith("stage 'experts': memory.budget: found 1KiB, and ")
