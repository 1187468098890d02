"""Looking inside trained models: what is kept is what each part computes by itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dealias.cli.app import run as run_command
from dealias.cli.main import app
from dealias.config.compose import load_recipe
from dealias.data.catalogue import open_split
from dealias.data.positions import proposed, survey
from dealias.data.samples import Samples
from dealias.data.simulate import SimulateSettings, simulate
from dealias.evaluation.receptive_field import receptive_field
from dealias.inference.bundle import load_model
from dealias.inference.reconstruct import reconstruct
from dealias.inference.slices import measurements
from dealias.models.varnet import VarNet
from dealias.runs.analysis import examine, subject_of
from dealias.runs.analysis_file import Analysis, read_analysis
from dealias.runs.train import Hooks, start
from dealias.scan.measurement import Needs
from dealias.scan.scan import Scan

CPU = torch.device("cpu")
RECIPE = """
network:
  {name: varnet, cascades: 2, channels: 2, pools: 1, sens_channels: 2, sens_pools: 1,
   readout_crop: 0}
masks: {kind: snu, accelerations: [4]}
augment:
  transforms: {flip_h: 0.5, rotation: 1, scaling: 1, translation: 1}
  strength: {kind: linear, until: 9, maximum: 0.7}
optimiser: {lr: 1e-2}
training: {epochs: 1, threads: 1, save_minutes: null}
"""
EXPERTS = f"""{RECIPE}
stages:
  experts: {{each: cell}}
bundle: {{route: {{else: experts}}, anatomy: attrs}}
"""


def looked(model: Path | str, data: Path, out: Path) -> Analysis:
    """As the command does, without drawing."""
    subject, steps = subject_of(model, data, CPU), list[int]()
    examine(subject, out, CPU, steps.append)
    assert sum(steps) == subject.steps
    found = read_analysis(out)
    assert found is not None
    return found


def dealias(*arguments: object, code: int = 0) -> None:
    words = [str(argument) for argument in arguments]
    assert run_command(lambda: app(words, standalone_mode=False), debug=False) == code


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, a run of it, and what is found inside."""
    root = tmp_path_factory.mktemp("analysis")
    settings = SimulateSettings(
        subjects=3, slices=3, coils=3, size=(48, 32), target=(32, 32), accelerations=(4,)
    )
    simulate(settings, root / "data", lambda done: None)
    (root / "small.yaml").write_text(RECIPE)
    start(str(root / "small.yaml"), root / "data", root / "run", [], CPU, Hooks())
    looked(root / "run", root / "data", root / "run")
    return root


@pytest.fixture(scope="module")
def found(root: Path) -> Analysis:
    analysis = read_analysis(root / "run")
    assert analysis is not None
    return analysis


@pytest.fixture(scope="module")
def scans(root: Path) -> dict[str, Scan]:
    """The first validation scan of each cell."""
    first: dict[str, Scan] = {}
    for scan in open_split(root / "data", "val"):
        first.setdefault(str(scan.cell), scan)
    return first


def test_each_cell_s_middle_slice_is_what_reconstruct_gives(
    root: Path, found: Analysis, scans: dict[str, Scan]
) -> None:
    assert [one.cell for one in found.facts.cells] == sorted(scans)
    assert str(root) not in (root / "run" / "analysis" / "analysis.json").read_text()
    model = load_model(root / "run").reconstructor
    for facts, arrays in zip(found.facts.cells, found.cells, strict=True):
        scan = scans[facts.cell]
        assert (facts.name, facts.z) == (scan.name, 1)
        result = reconstruct(model, scan)
        assert np.array_equal(arrays["image"], result.image_ZHW[1])
        assert np.array_equal(arrays["zero_filled"], result.zero_filled_ZHW[1])
        target = scan.target(1)
        assert target is not None and np.array_equal(arrays["reference"], target[0])
        assert np.array_equal(arrays["cascades"][-1], arrays["image"])
        assert facts.cascades == (1, 2) and len(arrays["cascades"]) == facts.of == 2
        assert scan.mask is not None and np.array_equal(arrays["mask"], scan.mask.lines)


def test_the_field_is_the_receptive_field(
    root: Path, found: Analysis, scans: dict[str, Scan]
) -> None:
    network = load_model(root / "run").reconstructor
    assert isinstance(network, VarNet)
    for facts, arrays in zip(found.facts.cells, found.cells, strict=True):
        scan = scans[facts.cell]
        assert scan.mask is not None
        _, measurement = list(measurements(scan, scan.mask, network.needs, CPU))[1]
        expected = receptive_field(network, measurement, 48).numpy()
        assert arrays["field"].shape == (48, 32)
        np.testing.assert_allclose(arrays["field"], expected, rtol=1e-3, atol=1e-5 * expected.max())
        assert not arrays["field"][:, ~arrays["mask"]].any()
        with torch.no_grad():
            maps = network.sensitivity(measurement)[0, 0].abs()
        assert maps.shape == (3, 32, 32)
        np.testing.assert_array_equal(arrays["sens"], maps.numpy())


def test_the_slices_are_each_cell_s_median_and_worst(
    root: Path, found: Analysis, scans: dict[str, Scan]
) -> None:
    scores = json.loads((root / "run" / "main" / "scores.json").read_text())
    for cell, scan in scans.items():
        (volume,) = (v for v in scores["volumes"] if v["name"] == scan.name and
                     f"{v['cell']['anatomy']}-x{v['cell']['acceleration']}" == cell)  # fmt: skip
        order = sorted((one["ssim"], one["z"]) for one in volume["slices"])
        own = {one.which: (one.ssim, one.z) for one in found.facts.slices if one.cell == cell}
        assert own == {"median": order[1], "worst": order[0]}
    model = load_model(root / "run").reconstructor
    for facts, arrays in zip(found.facts.slices, found.slices, strict=True):
        whole = reconstruct(model, scans[facts.cell])
        assert np.array_equal(arrays["image"], whole.image_ZHW[facts.z])


def test_augmentation_is_looked_at_at_its_strongest(root: Path, found: Analysis) -> None:
    recipe = load_recipe(str(root / "small.yaml"))
    train = open_split(root / "data", "train")
    samples = Samples(train, recipe.masks, Needs(), recipe.training.seed, augment=recipe.augment)
    before = survey(samples, 0.0)
    assert found.facts.augmentation.keys() == before.keys() == {"brain", "knee"}
    for anatomy, one in found.facts.augmentation.items():
        assert one.strength == 0.7
        assert one.slices == len(before[anatomy])
        assert one.proposed["max_rotation"] == pytest.approx(proposed(before[anatomy]).max_rotation)
        assert one.limits["max_rotation"] == 5.0
        assert all(sum(shown.before) == one.slices for name, shown in one.histograms.items()
                   if name != "angle")  # fmt: skip
        assert one.noise["bilinear"] < 0.95 < one.noise["band-limited"]
        assert one.interpolation == "bilinear"


def test_a_stage_s_report_is_of_its_cell_and_the_run_s_of_the_experts(
    root: Path, tmp_path: Path
) -> None:
    (tmp_path / "experts.yaml").write_text(EXPERTS)
    run = tmp_path / "run"
    start(str(tmp_path / "experts.yaml"), root / "data", run, [], CPU, Hooks())
    whole = looked(run, root / "data", run)
    assert len(whole.facts.cells) == 2
    for one in whole.facts.cells:
        assert one.route == f"experts/{one.cell}"
        assert one.route_why is not None and "by its label" in one.route_why
        assert one.of == 2
    stage = looked(run / "experts" / "knee-x4", root / "data", tmp_path / "stage")
    assert [one.cell for one in stage.facts.cells] == ["knee-x4"]
    assert {one.cell for one in stage.facts.slices} == {"knee-x4"}
    assert stage.facts.augmentation.keys() == {"knee"}
    at = [one.cell for one in whole.facts.cells].index("knee-x4")
    assert np.array_equal(whole.cells[at]["image"], stage.cells[0]["image"])


def test_models_without_a_run_are_shown_in_a_folder_of_their_own(
    root: Path, tmp_path: Path
) -> None:
    val = root / "data" / "val"
    bundle, run = looked(root / "run" / "model", val, tmp_path / "a"), read_analysis(root / "run")
    assert run is not None
    assert np.array_equal(bundle.cells[0]["image"], run.cells[0]["image"])
    assert not bundle.facts.slices and not bundle.facts.augmentation
    dealias("report", "zero-filled", "--data", val, "--out", tmp_path / "b", "--quiet")
    classical = read_analysis(tmp_path / "b")
    assert classical is not None
    assert classical.facts.cells[0].why.keys() == {"cascades", "field"}
    page = (tmp_path / "b" / "report.html").read_text()
    assert "the model zero-filled" in page and "No images of cascades" in page


def test_mistakes_are_one_line(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, data, told = root / "run", root / "data", tmp_path / "told"
    told.mkdir()
    (told / "run.json").write_text('{"stage": "told"}')
    (told / "settings.yaml").write_text("{name: told, task: anatomy}")
    for words, code, said in (
        (["report", run, "--out", tmp_path / "x"], 2, "--out: found no --data"),
        (["report", run, "--data", data, "--out", tmp_path / "x"], 2, "keeps its own report"),
        (["report", run / "model", "--data", data], 2, "--out: found nothing"),
        (["report", run / "model", "--data", data, "--out", run], 2, "another folder"),
        (["report", run, "--data", data / "val"], 3, "set data.train and data.val"),
        (["report", told, "--data", data], 2, "a classifier, which makes no images"),
        (["report", tmp_path / "no", "--data", data, "--out", tmp_path / "x"], 2, "no such file"),
    ):
        dealias(*words, "--quiet" if "--data" in words else "--", code=code)
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1, error
