"""A classifier is trained like any network, and tells experts' scans apart where names lie."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import pytest
import torch

from dealias.config.compose import load_recipe
from dealias.config.strict import read_yaml, write_yaml
from dealias.data.catalogue import open_data, open_split
from dealias.data.simulate import SimulateSettings, simulate
from dealias.errors import CheckpointError, SettingsError, UserError
from dealias.inference.bundle import load_model
from dealias.inference.classifier import load_classifier
from dealias.inference.reconstruct import reconstruct
from dealias.inference.routing import RoutedExperts
from dealias.report.page import write_report
from dealias.runs.jobs import planned
from dealias.runs.rehearsal import rehearse
from dealias.runs.study.scored import scores_of
from dealias.runs.study.series import AS_IT_IS, Arm, Study, run_study
from dealias.runs.train import Hooks, resume, start
from shared import same

CPU = torch.device("cpu")
PARTS = """
network: {name: varnet, cascades: 1, channels: 2, pools: 1, sens_channels: 2, sens_pools: 1}
masks: {kind: snu, accelerations: [4, 8]}
classifier: {network: {widths: [8], depths: [1]}, penalty: {kind: l1, weight: 1.0e-6}}
optimiser: {lr: 1.0e-2}
training: {epochs: 1, threads: 1, save_minutes: null, validate_every: 40}
"""
CLASSIFIER = """
  classifier:
    set:
      - "task=anatomy"
      - "data={train: val, val: train}"
      - "training={epochs: 40, batch_size: 16}"
"""
EXPERTS = """
  experts: {each: cell}
bundle: {route: {else: experts}, anatomy: classifier}
"""
CELLS = ("brain-x4", "brain-x8", "knee-x4", "knee-x8")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two slices of each cell in each set; names and labels of what is reconstructed lie."""
    folder = tmp_path_factory.mktemp("classifier") / "set"
    settings = SimulateSettings(subjects=3, slices=2, coils=2, size=(48, 32), target=(32, 32))
    simulate(settings, folder, lambda done: None)
    for path in sorted((folder / "leaderboard").rglob("brain_*.h5")):
        brain, knee = path, path.with_name(path.name.replace("brain", "knee"))
        aside = path.rename(path.with_suffix(".aside"))
        knee.rename(brain)
        aside.rename(knee)
    for path in (folder / "leaderboard").rglob("*.h5"):
        with h5py.File(path, "r+") as file:
            file.attrs["anatomy"] = path.name.split("_")[0]
    return folder


def written(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text)
    return str(path)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier, four experts, and the model of both."""
    folder = tmp_path_factory.mktemp("run")
    name = written(folder, f"{PARTS}stages:{CLASSIFIER}{EXPERTS}")
    assert start(name, data, folder / "run", [], CPU, Hooks()) == ()
    return folder / "run"


def test_the_classifier_of_a_stage_routes_where_names_lie(run: Path, data: Path) -> None:
    model = load_model(run).reconstructor
    assert isinstance(model, RoutedExperts)
    assert model.classifier is not None
    assert same(model.classifier.state_dict(), load_classifier(run / "classifier").state_dict())
    routes = set()
    for scan in open_data(data / "leaderboard"):
        assert scan.cell is not None
        assert scan.name.startswith(scan.cell.anatomy)
        true = {"brain": "knee", "knee": "brain"}[scan.cell.anatomy]
        found = reconstruct(model, scan).route
        assert found is not None
        assert found.name == f"experts/{true}-x{scan.cell.acceleration}"
        assert f"{true} by the classifier, " in found.why
        routes.add(found.name)
    assert routes == {f"experts/{cell}" for cell in CELLS}


def test_it_learned_of_the_validation_scans_and_was_judged_by_the_others(run: Path) -> None:
    scores = json.loads((run / "classifier" / "scores.json").read_text())
    assert scores["accuracy"]["volumes"] == 1
    assert len(scores["volumes"]) == 4
    checkpoints = run / "classifier" / "checkpoints"
    latest = checkpoints / (checkpoints / "latest").read_text().strip() / "manifest.json"
    trained = {one["name"] for one in json.loads(latest.read_text())["data"]}
    assert trained.isdisjoint(one["name"] for one in scores["volumes"])
    settings = (run / "classifier" / "settings.yaml").read_text()
    assert "task: anatomy" in settings
    # other stages are what they would be without it
    assert "task" not in (run / "experts" / "knee-x4" / "settings.yaml").read_text()


def test_its_report_and_a_resume_of_its_run(run: Path, data: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    said: list[str] = []
    assert resume(copy, data, [], CPU, Hooks(say=said.append)) == ()
    assert said[0] == "stage classifier: finished, skipped"
    page = (write_report(copy).parent / "classifier" / "report.html").read_text()
    assert "share of volumes told right" in page
    # each stage is another training by what plays a part in it alone
    values = read_yaml(copy / "settings.yaml")
    values["classifier"]["penalty"]["weight"] = 2e-6
    (copy / "settings.yaml").write_text(write_yaml(values))
    with pytest.raises(CheckpointError, match=r"stage 'classifier'.*penalty.weight: 1e-06 to"):
        resume(copy, data, [], CPU, Hooks())
    with pytest.raises(CheckpointError, match=r"stage 'experts/brain-x4'.*network.channels: 2 to"):
        values["classifier"]["penalty"]["weight"] = 1e-6
        values["network"]["channels"] = 3
        (copy / "settings.yaml").write_text(write_yaml(values))
        resume(copy, data, [], CPU, Hooks())


def test_a_run_of_its_own_is_what_another_recipe_names(data: Path, tmp_path: Path) -> None:
    alone = written(tmp_path, f"{PARTS}task: anatomy\n")
    start(alone, data, tmp_path / "alone", [], CPU, Hooks())
    known = load_classifier(tmp_path / "alone")
    assert known.settings.classes == ("brain", "knee")
    assert not known.training
    with pytest.raises(CheckpointError, match=r"found a classifier of anatomies; expected a netw"):
        load_model(tmp_path / "alone")
    # a penalty is no part of what a file says of it
    file = tmp_path / "alone" / "model" / "main.safetensors"
    assert same(load_classifier(file).state_dict(), known.state_dict())
    card = (tmp_path / "alone" / "model" / "card.md").read_text()
    assert "brain from knee" in card
    assert "Chosen by protocol `anatomy`." in card
    start(alone, data, tmp_path / "final", ["data.use_val_for_final=true"], CPU, Hooks())
    assert "Not at all: trained on" in (tmp_path / "final" / "model" / "card.md").read_text()
    text = f"{PARTS}stages:{EXPERTS}".replace("anatomy: classifier", f"anatomy: {file.parent}")
    recipe = load_recipe(written(tmp_path, text))
    planned(recipe, data)
    with pytest.raises(CheckpointError, match="another network"):
        resume(tmp_path / "alone", None, ["classifier.image=grappa"], CPU, Hooks())
    with pytest.raises(CheckpointError, match=r"another task \(anatomy to reconstruction\)"):
        resume(tmp_path / "alone", None, ["task=reconstruction"], CPU, Hooks())
    # where images are compared it is told so before anything is trained
    with pytest.raises(SettingsError, match="task: found anatomy; expected reconstruction"):
        scores_of(tmp_path / "alone", None, None)
    alone = written(tmp_path, f"{PARTS}task: anatomy\n")
    with pytest.raises(SettingsError, match="task: found anatomy; expected reconstruction"):
        run_study(Study(alone, data, tmp_path / "study", (), 2, CPU), [Arm(AS_IT_IS)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["bundle.anatomy=classifer"], r"bundle.anatomy: found 'classifer'.*'classifier'\?"),
        (["bundle.anatomy=experts"], r"'experts', whose task is reconstruction; expected a stage"),
        (["bundle.route.else=classifier"], r"bundle.route.else: found 'classifier', whose task"),
        (["stages.classifier.each=cell"], r"stages.classifier.each: found cell"),
        (["classifier.classes=[brain,hand]"], "anatomy 'knee'"),
        (["classifier.classes=[brain,knee,hand]"], "no scan of hand"),
        (["classifier.network.classes=3"], "one channel and 2 classes, as there are names"),
        (["task=anatomi"], r"task: found 'anatomi'; expected input should be 'reconstruction'"),
    ],
)  # fmt: skip
def test_mistakes_are_a_line_before_anything_is_trained(
    change: list[str], message: str, data: Path, tmp_path: Path
) -> None:
    name = written(tmp_path, f"{PARTS}stages:{CLASSIFIER}{EXPERTS}")
    with pytest.raises(UserError, match=message) as error:
        start(name, data, tmp_path / "run", change, CPU, Hooks())
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_rehearsal_moves_no_running_mean(data: Path, tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, f"{PARTS}task: anatomy\n"), ["training.batch_size=4"])
    network = recipe.classifier.build()
    before = {name: one.clone() for name, one in network.state_dict().items()}
    assert rehearse(recipe, network, open_split(data, "val"), CPU) > 0
    assert same(before, dict(network.state_dict()))


def test_a_recipe_says_nothing_of_tasks_that_it_has_not() -> None:
    assert not {"task", "classifier"} & load_recipe("demo").model_dump(mode="json").keys()
    asked = load_recipe("demo", ["task=anatomy", "classifier.network.widths=[4]",
                                 "classifier.network.depths=[1]"])  # fmt: skip
    dumped = asked.model_dump(mode="json")
    assert (dumped["task"], dumped["classifier"]["network"]["widths"]) == ("anatomy", [4])
    assert type(asked).model_validate(dumped) == asked
