"""Stages: each is the training it would be by itself, none is done twice, none begins too early."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dealias.config.compose import load_recipe, stage_recipes
from dealias.config.schema import Recipe
from dealias.config.strict import read_yaml, write_yaml
from dealias.data.catalogue import open_data, open_split
from dealias.data.simulate import SimulateSettings, simulate
from dealias.errors import CheckpointError, DataError, SettingsError
from dealias.inference.bundle import load_model
from dealias.inference.reconstruct import reconstruct
from dealias.metrics.foreground import THRESHOLDS, foreground
from dealias.metrics.protocol import protocol_named
from dealias.models.table import build_network
from dealias.randomness import torch_seed
from dealias.report.page import write_report
from dealias.runs.train import Hooks, resume, start
from dealias.training.checkpoint import TrainState, read_checkpoint
from dealias.training.job import TrainingJob
from dealias.training.loop import train
from dealias.training.stops import Stopped
from shared import same

CPU = torch.device("cpu")
PARTS = """
network: {name: varnet, cascades: 1, channels: 2, pools: 1, sens_channels: 2, sens_pools: 1}
masks: {kind: snu, accelerations: [4, 8]}
optimiser: {lr: 1e-2}
training: {epochs: 1, threads: 1, save_minutes: null, validate_every: 9}
"""
EXPERTS = f"""{PARTS}
stages:
  base: {{pick: last}}
  experts: {{set: [optimiser.lr=2e-3], start: "base:last", each: cell, pick: best@cell}}
bundle: {{route: {{else: experts}}, anatomy: attrs}}
"""
TWO = f"""{PARTS}
stages:
  base: {{}}
  tuned: {{set: [optimiser.lr=2e-3, training.seed=7], start: "base:best"}}
"""
CELLS = ("brain-x4", "brain-x8", "knee-x4", "knee-x8")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One scan of each cell in each set."""
    folder = tmp_path_factory.mktemp("stages") / "set"
    settings = SimulateSettings(subjects=3, slices=1, coils=2, size=(24, 32), target=(24, 32))
    simulate(settings, folder, lambda done: None)
    return folder


def written(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text)
    return str(path)


@pytest.fixture(scope="module")
def experts(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """A run with a base and four experts, and every mask that was drawn, between its messages."""
    folder = tmp_path_factory.mktemp("experts")
    seen: list[Any] = []
    from dealias.data import samples

    draw = samples.training_mask

    def watched(settings: Any, scan: Any, *rest: Any) -> Any:
        mask = draw(settings, scan, *rest)
        seen.append((scan.name, mask.nominal))
        return mask

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "training_mask", watched)
        hooks = Hooks(say=seen.append)
        left = start(written(folder, EXPERTS), data, folder / "run", [], CPU, hooks)
    assert left == ()
    return folder / "run", seen


def last(folder: Path) -> TrainState:
    """The newest checkpoint of a training."""
    checkpoints = folder / "checkpoints"
    return read_checkpoint(checkpoints / (checkpoints / "latest").read_text().strip())[0]


def by_hand(recipe: Recipe, data: Path, folder: Path, begin: dict[str, Any] | None) -> TrainState:
    """One training without anything of runs/."""
    torch.manual_seed(torch_seed(recipe.training.seed, "weights"))
    network = build_network(recipe.network)
    if begin is not None:
        network.load_state_dict(begin)
    sets = open_split(data, recipe.data.train), open_split(data, recipe.data.val)
    folder.mkdir(parents=True)
    job = TrainingJob(
        network, recipe.masks, recipe.loss, recipe.optimiser, recipe.schedule, recipe.training,
        *sets, protocol_named(recipe.protocol), folder, CPU,
    )  # fmt: skip
    train(job)
    return last(folder)


def test_two_stages_are_two_runs_by_hand(data: Path, tmp_path: Path) -> None:
    name = written(tmp_path, TWO)
    start(name, data, tmp_path / "run", [], CPU, Hooks())
    recipes = stage_recipes(load_recipe(name))
    assert [recipes[one].optimiser.lr for one in ("base", "tuned")] == [1e-2, 2e-3]
    base = by_hand(recipes["base"], data, tmp_path / "hand" / "base", None)
    tuned = by_hand(recipes["tuned"], data, tmp_path / "hand" / "tuned", base.network)
    for stage, state in (("base", base), ("tuned", tuned)):
        found = last(tmp_path / "run" / stage)
        assert same(found.network, state.network)
        assert same(found.optimiser, state.optimiser)
        assert found.step == state.step == 4
    # without a bundle, the model is the last stage's
    model = load_model(tmp_path / "run").reconstructor
    assert same(model.state_dict(), tuned.network)  # type: ignore[attr-defined]


def test_an_expert_sees_its_cell_alone(experts: tuple[Path, list[Any]]) -> None:
    run, seen = experts
    spans: dict[str, list[Any]] = {}
    for one in seen:
        if isinstance(one, str) and one.startswith("stage "):
            spans[one.removeprefix("stage ")] = current = []
        elif isinstance(one, tuple):
            current.append(one)
    assert list(spans) == ["base", *(f"experts/{cell}" for cell in CELLS)]
    assert {name.split("_")[0] for name, _ in spans["base"]} == {"brain", "knee"}
    for cell in CELLS:
        anatomy, rate = cell.split("-x")
        found = spans[f"experts/{cell}"]
        # both scans of the anatomy, as they are masked anew
        assert len({name for name, _ in found}) == 2
        assert all(name.startswith(anatomy) for name, _ in found)
        assert {nominal for _, nominal in found} == {float(rate)}
        scores = json.loads((run / "experts" / cell / "scores.json").read_text())
        assert [(one["anatomy"], one["acceleration"]) for one in scores["cells"]] == [
            (anatomy, int(rate))
        ]


def test_a_bundle_reconstructs_as_each_expert_by_itself(
    data: Path, experts: tuple[Path, list[Any]]
) -> None:
    run, _ = experts
    bundle = load_model(run)
    routes = set()
    for scan in open_data(data / "leaderboard"):
        found = reconstruct(bundle.reconstructor, scan)
        assert found.route is not None
        assert found.route.name == f"experts/{scan.cell}"
        alone = reconstruct(load_model(run / "experts" / str(scan.cell)).reconstructor, scan)
        assert found.image_ZHW.tobytes() == alone.image_ZHW.tobytes()
        routes.add(found.route.name)
    assert routes == {f"experts/{cell}" for cell in CELLS}
    assert bundle.profile is not None
    assert (bundle.profile.nominal, bundle.profile.volumes) == ((4.0, 8.0), 4)


def test_a_run_stopped_in_its_second_stage_goes_on_bit_for_bit(
    data: Path, experts: tuple[Path, list[Any]], tmp_path: Path
) -> None:
    straight, _ = experts
    begun: list[str] = []

    def step(progress: Any) -> None:
        if begun[-1] == "stage experts/brain-x8" and progress.step == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    hooks = Hooks(progress=step, say=lambda text: begun.append(text) if "stage" in text else None)
    run = tmp_path / "run"
    with pytest.raises(Stopped, match="SIGTERM"):
        start(written(tmp_path, EXPERTS), data, run, [], CPU, hooks)
    assert not (run / "model").exists()
    assert not (run / "experts" / "brain-x8" / "finished.json").exists()
    begun.clear()
    assert resume(run, None, [], CPU, dataclasses.replace(hooks, progress=lambda _: None)) == ()
    assert begun[:2] == ["stage base: finished, skipped",
                         "stage experts/brain-x4: finished, skipped"]  # fmt: skip
    for cell in CELLS:
        assert same(vars(last(run / "experts" / cell)), vars(last(straight / "experts" / cell)))
    model = "model/main.safetensors"
    assert (run / model).read_bytes() == (straight / model).read_bytes()


@pytest.fixture
def copied(experts: tuple[Path, list[Any]], tmp_path: Path) -> Path:
    """The finished run, to be spoiled."""
    return Path(shutil.copytree(experts[0], tmp_path / "copy"))


def test_finished_stages_are_neither_trained_again_nor_changed(data: Path, copied: Path) -> None:
    said: list[str] = []
    states = {path: path.read_bytes() for path in copied.rglob("state.pt")}
    shutil.rmtree(copied / "model")
    assert resume(copied, data, [], CPU, Hooks(say=said.append)) == ()
    assert said == [f"stage {name}: finished, skipped"
                    for name in ("base", *(f"experts/{cell}" for cell in CELLS))]  # fmt: skip
    assert states == {path: path.read_bytes() for path in copied.rglob("state.pt")}
    assert (copied / "model" / "bundle.json").is_file()
    # how a machine works is no other training
    edit(copied, lambda values: values["training"].update(workers=2, keep_last=3))
    resume(copied, data, [], CPU, Hooks())
    with pytest.raises(SettingsError, match="all finished"):
        resume(copied, data, ["optimiser.lr=1e-3"], CPU, Hooks())


def edit(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = read_yaml(run / "settings.yaml")
    change(values)
    (run / "settings.yaml").write_text(write_yaml(values))


def test_what_a_finished_stage_was_made_of_is_compared(data: Path, copied: Path) -> None:
    original = (copied / "settings.yaml").read_text()
    edit(copied, lambda values: values["stages"]["base"].update(set=["optimiser.lr=5e-3"]))
    with pytest.raises(CheckpointError, match=r"stage 'base'.*optimiser.lr: 0.01 to 0.005"):
        resume(copied, data, [], CPU, Hooks(), only="experts/knee-x8")
    (copied / "settings.yaml").write_text(original)
    edit(copied, lambda values: values["stages"]["experts"].update(freeze=["sensitivity.*"]))
    with pytest.raises(CheckpointError, match=r"experts/brain-x4'.*freeze"):
        resume(copied, data, [], CPU, Hooks())
    (copied / "settings.yaml").write_text(original)
    edit(copied, lambda values: values["stages"]["experts"].update(start="base:best"))
    # the one checkpoint is the best and the last: the same weights
    resume(copied, data, [], CPU, Hooks())
    pointer = copied / "base" / "checkpoints" / "best"
    other = copied / "base" / "checkpoints" / "000009"
    shutil.copytree(copied / "experts" / "knee-x8" / "checkpoints" / "000002", other)
    pointer.write_text("000009\n")
    with pytest.raises(CheckpointError, match=r"experts/brain-x4'.*other weights to begin with"):
        resume(copied, data, [], CPU, Hooks())


def test_training_data_that_changed_are_noticed(data: Path, copied: Path, tmp_path: Path) -> None:
    fewer = Path(shutil.copytree(data, tmp_path / "fewer"))
    gone = next((fewer / "train" / "kspace").glob("knee_acc4*"))
    for kind in ("kspace", "image"):
        (fewer / "train" / kind / gone.name).unlink()
    with pytest.raises(DataError, match=f"data that changed: {gone.stem}"):
        resume(copied, fewer, [], CPU, Hooks())


def test_machines_share_a_run_by_only(data: Path, copied: Path) -> None:
    name = written(copied.parent, EXPERTS)
    run = copied.parent / "run"
    with pytest.raises(SettingsError, match=r"no finished 'base' to begin with.*--only base"):
        start(name, data, run, [], CPU, Hooks(), only="experts/knee-x4")
    left = resume(run, None, [], CPU, Hooks(), only="base")
    assert left == tuple(f"experts/{cell}" for cell in CELLS)
    assert not (run / "model").exists()
    # what another machine trained is the same, and need only be there
    for cell in ("brain-x4", "brain-x8", "knee-x8"):
        shutil.copytree(copied / "experts" / cell, run / "experts" / cell)
    assert resume(run, None, [], CPU, Hooks(), only="experts/knee-x4") == ()
    model = "model/main.safetensors"
    assert (run / model).read_bytes() == (copied / model).read_bytes()
    with pytest.raises(SettingsError, match=r"--only.*did you mean 'experts/knee-x4'"):
        resume(run, None, [], CPU, Hooks(), only="experts/kne-x4")


def test_a_report_lists_the_stages_and_each_has_its_own(copied: Path) -> None:
    for cell in CELLS[:3]:
        shutil.rmtree(copied / "experts" / cell)
    facts = json.loads((copied / "run.json").read_text())
    assert facts["stages"] == ["base", *(f"experts/{cell}" for cell in CELLS)]
    names = [*facts["stages"][2:], "../elsewhere", "javascript:alert(1)"]
    (copied / "run.json").write_text(json.dumps({**facts, "stages": names}))
    page = write_report(copied).read_text()
    scores = json.loads((copied / "experts" / "knee-x8" / "scores.json").read_text())
    assert f"{scores['total']:.4f}" in page
    assert page.count("not begun") == 2
    assert page.count("href=") == page.count('href="experts/knee-x8/report.html"') == 1
    assert "elsewhere" not in page
    assert "Worst slices" in (copied / "experts" / "knee-x8" / "report.html").read_text()


def test_an_ensemble_of_stages_has_the_weights_that_fit_validation(
    data: Path, tmp_path: Path
) -> None:
    stages = "stages: {a: {}, b: {set: [training.seed=3]}}"
    bundle = "bundle: {ensemble: [b, a], weights: fitted}"
    name, said = written(tmp_path, f"{PARTS}{stages}\n{bundle}\n"), list[str]()
    run = tmp_path / "run"
    assert start(name, data, run, [], CPU, Hooks(say=said.append)) == ()
    b, a, both = (load_model(one) for one in (run / "b", run / "a", run))
    share_b, share_a = both.header["config"]["weights"]
    assert said[-1] == f"ensemble: b {share_b:.3f}, a {share_a:.3f}"
    along = over = 0.0
    for scan in open_split(data, "val"):
        images = [reconstruct(one.reconstructor, scan).image_ZHW.astype(float) for one in (b, a)]
        average = reconstruct(both.reconstructor, scan).image_ZHW
        expected = share_b * images[0] + share_a * images[1]
        assert abs(average - expected).max() <= 1e-6 * expected.max()
        target = scan.target(0)
        assert target is not None
        assert scan.cell is not None
        inside = foreground(target[0], THRESHOLDS[scan.cell.anatomy])
        apart = (images[0] - images[1])[0][inside]
        along += float((apart * (target - images[1])[0][inside]).sum())
        over += float((apart**2).sum())
    # of two, the best weight is a projection
    assert share_b == pytest.approx(min(max(along / over, 0), 1), abs=1e-9)
