"""A run within a budget: it chooses, says so, checks itself, and learns as without."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dealias.config.compose import load_recipe
from dealias.data.catalogue import open_split
from dealias.data.simulate import SimulateSettings, simulate
from dealias.errors import HealthError, SettingsError
from dealias.models.table import build_network
from dealias.runs import budget
from dealias.runs.budget import compare
from dealias.runs.rehearsal import rehearse
from dealias.runs.train import Hooks, resume, start

CPU = torch.device("cpu")
SETTINGS = [
    "network.cascades=1", "network.channels=4", "network.pools=1", "network.sens_channels=2",
    "network.sens_pools=1", "network.readout_crop=0", "training.epochs=1", "training.workers=0",
    "training.threads=1", "memory.coils=null", "memory.cascades=keep",
]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    simulate(
        SimulateSettings(subjects=3, slices=1, coils=3, size=(48, 40)),
        folder / "set",
        lambda done: None,
    )
    return folder / "set"


def weights(run: Path) -> bytes:
    (file,) = (run / "model").glob("*.safetensors")
    return file.read_bytes()


def test_it_chooses_says_so_and_learns_the_same(data: Path, tmp_path: Path) -> None:
    said: list[str] = []
    hooks = replace(Hooks(), say=said.append)
    start("varnet", data, tmp_path / "a", [*SETTINGS, "memory.budget=8GiB"], CPU, hooks)
    facts = json.loads((tmp_path / "a" / "run.json").read_text())
    chosen = facts["memory"]["chosen"]
    assert said[0].startswith("memory.budget=8GiB: chose memory.cascades=")
    assert f"memory.coils={chosen['coils'] or 'null'}" in said[0]
    assert said[1].startswith("largest sample: ")
    log = (tmp_path / "a" / "log.txt").read_text()
    assert all(text in log for text in said)
    same = [f"memory.{key}={chosen[key] or 'null'}" for key in ("cascades", "blocks", "coils")]
    start("varnet", data, tmp_path / "b", [*SETTINGS, *same], CPU, Hooks())
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


def test_the_largest_sample_is_as_planned_and_leaves_no_trace(data: Path) -> None:
    recipe = load_recipe("varnet", [*SETTINGS, "memory.budget=8GiB"])
    scans = open_split(data, "train"), open_split(data, "val")
    choice = budget.choose(recipe, scans, CPU, lambda text: None)
    assert choice is not None
    assert choice.planned is not None
    torch.manual_seed(1)
    network = build_network(recipe.network).eval()
    choice.policy.apply(network)
    before = torch.get_rng_state(), [one.clone() for one in network.parameters()]
    found = rehearse(recipe, network, scans[0], CPU)
    assert abs(found / choice.planned - 1) < 0.05
    assert torch.equal(torch.get_rng_state(), before[0])
    for now, then in zip(network.parameters(), before[1], strict=True):
        assert now.grad is None
        assert torch.equal(now, then)
    assert not network.training


def test_a_classifier_chooses_as_well(data: Path, tmp_path: Path) -> None:
    said: list[str] = []
    hooks = replace(Hooks(), say=said.append)
    small = "classifier.network={widths: [16], depths: [1]}"
    more = ["task=anatomy", small, "memory.budget=1GiB", "training.batch_size=4"]
    start("varnet", data, tmp_path / "a", [*SETTINGS, *more], CPU, hooks)
    assert said[0].startswith("memory.budget=1GiB: chose memory.cascades=keep")
    found, planned = sizes(said[1])
    assert abs(found / planned - 1) < 0.05


STAGES = """
network: {name: varnet, cascades: 3, channels: 6, pools: 1, sens_channels: 2, sens_pools: 1}
masks: {kind: snu}
training: {epochs: 1, threads: 1}
memory: {budget: 1GiB}
stages:
  base: {}
  tuned: {start: "base:last", freeze: ["cascades.[0-1].*", "sens*"]}
"""


def sizes(line: str) -> tuple[float, float]:
    """Found and planned, in MiB."""
    found, planned = re.findall(r"([\d.]+) MiB", line)
    return float(found), float(planned)


def test_each_stage_chooses_by_what_it_trains(data: Path, tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "mine.yaml").write_text(STAGES)
    hooks = replace(Hooks(), say=said.append)
    start(str(tmp_path / "mine.yaml"), data, tmp_path / "run", [], CPU, hooks)
    base, tuned = (sizes(line) for line in said if line.startswith("largest sample"))
    for found, planned in (base, tuned):
        assert abs(found / planned - 1) < 0.05
    # two of three cascades keep nothing for a backward pass
    assert tuned[0] < 0.9 * base[0]
    facts = json.loads((tmp_path / "run" / "tuned" / "run.json").read_text())
    assert facts["memory"]["chosen"]["cascades"] == "keep"


def test_dropout_draws_the_same_numbers_after_a_rehearsal(data: Path) -> None:
    recipe = load_recipe("unet", ["network.channels=2", "network.pools=1", "network.dropout=0.5"])
    network = build_network(recipe.network)
    before = torch.get_rng_state()
    rehearse(recipe, network, open_split(data, "train"), CPU)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_resumed_run_keeps_its_policy(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    start("varnet", data, run, [*SETTINGS, "memory.budget=8GiB"], CPU, Hooks())
    facts = json.loads((run / "run.json").read_text())
    monkeypatch.setattr(budget, "choose_policy", None)
    resume(run, None, ["training.epochs=2"], CPU, Hooks())
    assert json.loads((run / "run.json").read_text())["memory"] == facts["memory"]


def test_what_cannot_fit_is_refused_before_anything_is_written(data: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"memory\.budget: found 100kB.*leanest"):
        start("varnet", data, tmp_path / "run", [*SETTINGS, "memory.budget=100kB"], CPU, Hooks())
    assert not (tmp_path / "run").exists()


def test_a_sample_that_does_not_fit_after_all(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> int:
        raise MemoryError

    monkeypatch.setattr(budget, "rehearse", fail)
    recipe = load_recipe("varnet", SETTINGS)
    with pytest.raises(HealthError, match="no memory left for the largest sample, planned 2 MiB"):
        compare(recipe, build_network(recipe.network), (), CPU, 2 << 20)
