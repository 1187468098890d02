"""Studies: each run once, however often they are interrupted; techniques one at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dealias.cli.study_table import ablation_lines
from dealias.config.compose import load_recipe
from dealias.config.schema import Recipe
from dealias.data.simulate import SimulateSettings, simulate
from dealias.errors import DataError, SettingsError
from dealias.evaluation.effect import Effect
from dealias.evaluation.scores import Scores
from dealias.runs.study import series
from dealias.runs.study.ablate import Row, ablate
from dealias.runs.study.clock import Done
from dealias.runs.study.noise import noise_of
from dealias.runs.study.scored import model_scores, scores_of
from dealias.runs.study.series import AS_IT_IS, Arm, Study, run_study
from dealias.runs.study.techniques import (
    Technique,
    in_use,
    techniques_from,
    techniques_of,
)

SMALL = (
    "network.cascades=1", "network.channels=2", "network.pools=1", "network.sens_channels=2",
    "network.sens_pools=1", "training.epochs=1", "masks.accelerations=[4]",
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "set"
    simulate(
        SimulateSettings(subjects=3, slices=1, coils=3, size=(32, 24), accelerations=(4,)),
        folder, lambda done: None,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def study(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    out = tmp_path_factory.mktemp("out") / "a"
    return Study("demo", data, out, SMALL, 2, torch.device("cpu"))


@pytest.fixture
def finished(study: Study) -> dict[str, tuple[Scores, ...]]:
    return run_study(study, [Arm(AS_IT_IS)])


def test_an_interrupted_study_ends_as_one_that_was_not(
    study: Study, finished: dict[str, tuple[Scores, ...]], tmp_path: Path
) -> None:
    other, told = replace(study, out=tmp_path / "b"), []

    def interrupt(done: Done) -> None:
        told.append(done)
        if done.run.endswith("seed-431") and done.training and done.training.step == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(other, [Arm(AS_IT_IS)], interrupt)
    assert [one.share for one in told] == sorted(one.share for one in told)
    assert 0.5 < told[-1].share < 1 and told[-1].left is not None
    again: list[Done] = []
    found = run_study(other, [Arm(AS_IT_IS)], again.append)
    assert not any(one.training for one in again if one.run.endswith("seed-430"))
    assert again[-1].share == 1
    assert found == finished
    for seed in other.counted:
        one, same = (
            load_file(next((it.folder(Arm(AS_IT_IS), seed) / "model").glob("*.safetensors")))
            for it in (study, other)
        )
        assert all(torch.equal(one[key], same[key]) for key in one)


def test_seeds_differ_and_are_scored_alike(
    study: Study, finished: dict[str, tuple[Scores, ...]]
) -> None:
    one, other = finished[AS_IT_IS]
    assert one.total != other.total
    found = noise_of([one, other])
    assert found.spreads["total"].mean == pytest.approx((one.total + other.total) / 2)
    assert list(found.spreads)[-1] == "total" and len(found.spreads) == 3
    folder = study.folder(Arm(AS_IT_IS), 431)
    scored = scores_of(folder, study.data / "val", None)
    assert scored.volumes == other.volumes
    assert scores_of(folder, None, None).protocol == other.protocol
    with pytest.raises(SettingsError, match="as it was scored"):
        scores_of(folder, None, "fastmri")
    with pytest.raises(SettingsError, match="no data"):
        scores_of(study.data, None, None)
    with pytest.raises(SettingsError, match="other cells"):
        noise_of([one, replace(other, cells=other.cells[:1])])
    recipe = study.settings.model_copy(update={"protocol": "fastmri"})
    scans = series.open_split(study.data, "val")
    with pytest.raises(SettingsError, match="several protocols"):
        noise_of([one, model_scores(folder, scans, recipe, torch.device("cpu"))])


def test_all_seeds_are_scored_through_the_masks_of_one(
    study: Study,
    finished: dict[str, tuple[Scores, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blind = [replace(scan, mask=None) for scan in series.open_split(study.data, "val")]
    by_seed = []
    for seed in (430, 431):
        overrides = [*SMALL, "masks.kind=random", f"training.seed={seed}"]
        recipe, cpu = load_recipe("demo", overrides), torch.device("cpu")
        one, again = (model_scores("zero-filled", blind, recipe, cpu) for _ in range(2))
        assert one == again
        by_seed.append(one.total)
    # so a seed of its own for each run would score each on another problem
    assert by_seed[0] != by_seed[1]
    seeds = []

    def score(folder: Path, scans: object, recipe: Recipe, device: object) -> Scores:
        seeds.append((folder.name, recipe.training.seed))
        return finished[AS_IT_IS][1]

    (study.folder(Arm(AS_IT_IS), 431) / "evaluations" / "val" / "scores.json").unlink()
    monkeypatch.setattr(series, "model_scores", score)
    assert run_study(study, [Arm(AS_IT_IS)]) == finished
    assert seeds == [("seed-431", 430)]


def test_a_folder_of_another_study_is_refused(
    study: Study, finished: dict[str, tuple[Scores, ...]], data: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="other settings"):
        run_study(replace(study, overrides=(*SMALL, "optimiser.lr=1e-5")), [Arm(AS_IT_IS)])
    with pytest.raises(SettingsError, match=r"optimiser\.lr"):
        run_study(study, [Arm(AS_IT_IS), Arm("odd", ("optimiser.lr=-1",))])
    simulate(
        SimulateSettings(subjects=3, slices=1, coils=3, size=(32, 24), accelerations=(4,), seed=1),
        tmp_path / "set", lambda done: None,
    )  # fmt: skip
    with pytest.raises(DataError, match="other data"):
        run_study(replace(study, data=tmp_path / "set"), [Arm(AS_IT_IS)])


def test_an_ablation_trains_what_is_not_there_and_passes_over_what_is_not_used(
    study: Study,
    finished: dict[str, tuple[Scores, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained: list[str] = []
    begin = series.start

    def start(recipe: str, data: Path, out: Path, *rest: object) -> object:
        trained.append(out.relative_to(study.out).as_posix())
        return begin(recipe, data, out, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(series, "start", start)
    techniques = techniques_of(["still:optimiser.lr=1e-12", "area"])
    found = ablate(study, techniques)
    assert trained == ["without-still/seed-430", "without-still/seed-431"]
    assert found.unused == ("area",)
    assert [row.effect.cell for row in found.rows] == ["brain-x4", "knee-x4", "total"]
    still = ablate(study, techniques)
    assert trained[2:] == [] and still == found
    whole, without = finished[AS_IT_IS], [
        scores_of(study.folder(Arm("without-still"), seed) / "evaluations" / "val", None, None)
        for seed in study.counted
    ]  # fmt: skip
    gains = [a.total - b.total for a, b in zip(whole, without, strict=True)]
    assert found.rows[-1].effect.mean == pytest.approx(sum(gains) / 2)
    (line,) = (line for line in ablation_lines(found) if "total" in line and "still" in line)
    assert f"| {found.rows[-1].effect.mean:+.5f} |" in line
    assert list(ablation_lines(found))[-1] == "not in use in this recipe: area"
    value = found.to_json()["rows"][-1]
    assert value["technique"] == "still" and value["cell"] == "total"


@pytest.mark.parametrize(
    ("mean", "ci95", "noise", "said"),
    [
        (0.002, (0.001, 0.003), 0.0015, "gains"),
        (-0.002, (-0.003, -0.001), 0.0015, "loses"),
        (0.002, (-0.001, 0.005), 0.0015, "not distinguishable"),
        (0.002, (0.001, 0.003), 0.0025, "not distinguishable"),
        (0.002, None, 0.0, "not distinguishable"),
    ],
)
def test_a_gain_must_leave_out_0_and_exceed_the_noise(
    mean: float, ci95: tuple[float, float] | None, noise: float, said: str
) -> None:
    technique = Technique(name="a", without=("x=1",))
    assert Row(technique, Effect("total", mean, ci95), noise).verdict == said


def test_each_shipped_technique_can_be_left_out_where_it_is_used() -> None:
    known = {one.name: one for one in techniques_from()}
    uses = {one.name for one in in_use(list(known.values()), "demo", ())}
    assert uses == {"foreground", "clipping", "all-coils", "duplication"}
    assert in_use([known["foreground"], known["experts"]], "unet", ()) == ()
    # made for that
    assert in_use(list(known.values()), "experiments/ablation", ()) == tuple(known.values())


def test_overrides_of_stages_that_say_the_same_are_no_technique(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "network: {name: varnet}\n"
        "stages: {base: {set: [loss.area=true]}, more: {start: 'base:last'}}\n"
    )
    found = in_use(techniques_of(["area", "clipping"]), str(tmp_path / "mine.yaml"), ())
    assert [one.name for one in found] == ["area"]


def test_what_without_names(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("techniques: [{name: mine, stated: 0.001, without: [training.seed=1]}]\n")
    found = techniques_of([str(path), "area", "masks:masks.accelerations=[4,8],masks.kind=snu"])
    assert [one.name for one in found] == ["mine", "area", "masks"]
    assert found[0].stated == 0.001
    assert found[2].without == ("masks.accelerations=[4,8]", "masks.kind=snu")
    assert techniques_of([]) == techniques_from()
    for odd, said in (
        (["aera"], "did you mean 'area'"), (["area", "area"], "twice"), (["a:b"], "key=value"),
        (["../up:a=1"], "pattern"), ([str(tmp_path / "none.yaml")], "no such file"),
    ):  # fmt: skip
        with pytest.raises(SettingsError, match=said):
            techniques_of(odd)
