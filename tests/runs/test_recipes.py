"""Every recipe loads, is judged as a whole, has its published size, and its small form trains."""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path

import pytest
import torch

from dealias.cli.cmd_recipes import first_sentence
from dealias.config.compose import (
    load_recipe,
    recipe_names,
    recipe_path,
    stage_recipes,
    written,
)
from dealias.config.schema import Recipe
from dealias.config.strict import write_yaml
from dealias.data.simulate import SimulateSettings, simulate
from dealias.errors import SettingsError
from dealias.models.configurations import CONFIGURATIONS
from dealias.runs.ready import network_without_values
from dealias.runs.train import Hooks, start
from dealias.training.schedules import Moment, lr_factor

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
from recipes import tiny
from recipes_page import PAGE, ROOT, page, rows

CPU = torch.device("cpu")
PUBLISHED = {
    "smartify_base": "promptmr+-smartify",
    "smartify_hacker": "promptmr+-smartify",
    "smartify_helper": "promptmr+-smartify",
    "smartify_experts": "promptmr+-smartify",
    "geekseek_varnet": "varnet-20",
    "geekseek_fivarnet": "fivarnet-geekseek",
    "geekseek_lska": "fivarnet-lska",
    "sungsimdang_promptmr/base": "promptmr-sungsimdang",
    "ensemble2022/attention_unet": "attention-unet",
    "ensemble2022/varnet_fc": "varnet-fc",
    "ensemble2022/varnet_fc_tuned": "varnet-fc",
    "ensemble2022/dircn_fc": "dircn-2022-fc",
    "ensemble2022/dircn_attention": "dircn-2022-attention",
    "ej_experts": "promptmr+-ej",
    "dealias": "promptmr+",
    "experiments/dhumus": "dhumus",
    "experiments/geekseek_moe": "fivarnet-lska",
    "experiments/mambarecon": "mambarecon",
    "experiments/psf_attention": "fivarnet-psf",
}
SMALL = ["training.epochs=1", "training.workers=0", "training.save_minutes=null",
         "data.train=train/brain_*", "data.val=val/brain_*"]  # fmt: skip


@cache
def trainings(name: str) -> dict[str, Recipe]:
    """All of a recipe, by stage."""
    recipe = load_recipe(name)
    return stage_recipes(recipe) or {"": recipe}


@cache
def parameters(network: str) -> int:
    return sum(p.numel() for p in network_without_values(NETWORKS_OF[network]).parameters())


NETWORKS_OF: dict[str, Recipe] = {}


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_begins_with_a_sentence_for_the_list(name: str) -> None:
    sentence = first_sentence(recipe_path(name).read_text())
    assert sentence.endswith(".") and sentence.count("(") == sentence.count(")")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slice of each cell in each set."""
    folder = tmp_path_factory.mktemp("recipes") / "set"
    settings = SimulateSettings(subjects=3, slices=1, coils=2, size=(48, 48), target=(32, 32))
    simulate(settings, folder, lambda done: None)
    return folder


@pytest.mark.parametrize("place", PUBLISHED)
def test_sizes_are_the_published_ones(place: str) -> None:
    name, _, stage = place.rpartition("/") if place not in recipe_names() else (place, "", "")
    chosen = trainings(name)
    for own in [chosen[stage]] if stage else chosen.values():
        key = own.network.model_dump_json()
        NETWORKS_OF[key] = own
        assert parameters(key) == CONFIGURATIONS[PUBLISHED[place]].parameters


def rates(recipe: Recipe) -> dict[int, float]:
    """Learning rates of the epochs in which they change."""
    epochs = recipe.training.epochs
    found = {
        epoch: recipe.optimiser.lr * lr_factor(recipe.schedule, Moment(epoch, epochs=epochs))
        for epoch in range(epochs)
    }
    return {one: rate for one, rate in found.items() if not one or found[one - 1] != rate}


def test_rates_of_smartify_are_those_that_it_logged() -> None:
    assert rates(load_recipe("smartify_base")) == pytest.approx({0: 2e-4, 16: 6e-5, 27: 1.8e-5})
    experts = {0: 2e-5, 1: 8e-5, 2: 1.4e-4, 3: 2e-4, 20: 6e-5, 25: 1.8e-5}
    for name in ("smartify_hacker", "smartify_helper"):
        assert rates(trainings(name)["experts"]) == pytest.approx(experts)
    for stage in ("hacker", "helper"):
        assert rates(trainings("smartify_experts")[stage]) == pytest.approx(experts)


def test_stages_keep_nothing_of_the_recipe_that_they_replace() -> None:
    from dealias.data.strength import strength

    # an override of {...} is merged: what it does not name stays
    helper = trainings("smartify_helper")["experts"].masks
    assert strength(helper.probability, 0) == 1
    assert helper.exclude == "snu"
    assert helper.kind == "snu"
    masks = trainings("sungsimdang_promptmr")["seventh"].masks
    assert strength(masks.probability, 0) == 0.7
    # a cosine begins at the full rate, and at 0 ends where it says
    for stage, horizon in (("second", 20), ("third", 15)):
        own = trainings("ej_experts")[stage]
        assert lr_factor(own.schedule, Moment(0, epochs=15)) == 1
        assert lr_factor(own.schedule, Moment(horizon, epochs=15)) == 0


def test_six_cascades_are_frozen_with_all_that_they_share() -> None:
    from dealias.runs.beginning import freeze

    recipe = load_recipe("sungsimdang_promptmr")
    network = network_without_values(trainings("sungsimdang_promptmr")["seventh"])
    freeze(network, recipe.stages["seventh"].freeze)
    free = [name for name, one in network.named_parameters() if one.requires_grad]
    assert free
    assert all(name.startswith("cascades.6.") for name in free)


@pytest.mark.parametrize("name", recipe_names())
def test_a_small_form_trains_every_stage(name: str, data: Path, tmp_path: Path) -> None:
    recipe = tiny(load_recipe(name), *SMALL)
    path = tmp_path / "small.yaml"
    path.write_text(write_yaml(written(recipe)))
    assert start(str(path), data, tmp_path / "run", [], CPU, Hooks()) == ()
    for stage in recipe.stages or ("main",):
        done = list((tmp_path / "run" / stage).rglob("metrics.jsonl"))
        assert done, stage
        for file in done:
            lines = [json.loads(line) for line in file.read_text().splitlines()]
            assert sum("loss" in str(line) for line in lines), file
    assert (tmp_path / "run" / "model" / "bundle.json").is_file()


def test_a_recipe_with_a_base_is_that_one_with_its_own_parts(tmp_path: Path) -> None:
    base = load_recipe("geekseek_varnet").model_dump()
    own = load_recipe("experiments/dhumus").model_dump()
    assert {key for key in base if base[key] != own[key]} == {"name", "network"}
    assert own["network"]["name"] == "dhumus"
    path = tmp_path / "mine.yaml"
    for text, found in (("base: experiments/dhumus", "has a base itself"), ("base: 3", "found 3"),
                        ("base: geekseek", "geekseek")):  # fmt: skip
        path.write_text(f"{text}\n")
        with pytest.raises(SettingsError, match=found):
            load_recipe(str(path))


def test_the_page_is_what_its_data_make() -> None:
    assert PAGE.read_text() == page(), "run `make docs`"


def test_what_the_page_names_is_there() -> None:
    known, found = recipe_names(), rows()
    for row in found:
        assert row.status in ("yes", "part", "no", "other"), row
        for folder, names in (("src/dealias", row.files), ("tests", row.tests)):
            for one in names:
                assert (ROOT / folder / one).is_file(), one
        assert set(row.recipes) <= set(known), row
        # what is in has a file and something that shows it; what is not has neither
        assert bool(row.files) == bool(row.tests) == (row.status != "no"), row
    used = {one for row in found for one in row.recipes}
    assert set(known) - used <= {"unet", "varnet"}, "a recipe that no technique names"
    assert len({(row.team, row.technique) for row in found}) == len(found)
