"""What recipes need: the kept counts are of the recipes as they are, and all fit a small card."""

from __future__ import annotations

import pytest

from dealias.cli.cmd_recipes import needed, needs
from dealias.cli.plan_table import said_time
from dealias.config.compose import load_recipe, recipe_names
from dealias.engine.ceilings import Ceilings
from dealias.runs.footprint import Footprint
from dealias.runs.needs import BUDGET, SHAPES, count_recipe, digest, recipe_needs, stages_at
from dealias.sizes import said_memory


def test_the_counts_are_of_the_recipes_as_they_are() -> None:
    known = recipe_needs()
    assert list(known) == recipe_names(), "run tools/recipe_needs.py"
    for name, stages in known.items():
        found = stages_at(load_recipe(name), *SHAPES[0])
        assert [one.stage for one in stages] == list(found), name
        for one in stages:
            trainings = found[one.stage]
            assert one.counted == digest(trainings[0]), f"{name}: run tools/recipe_needs.py"
            assert one.trainings == len(trainings)
            assert one.epochs == trainings[0].recipe.training.epochs


def test_every_recipe_fits_a_card_of_8_gib() -> None:
    for name, stages in recipe_needs().items():
        for one in stages:
            assert max(*one.training, *one.inference) <= BUDGET, (name, one.stage)
            assert len(one.training) == len(one.inference) == len(SHAPES)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(one, marks=[pytest.mark.slow] * (one not in ("demo",)))
        for one in recipe_names()
    ],
)
def test_counted_again_it_is_the_same(name: str) -> None:
    assert count_recipe(name, {}) == recipe_needs()[name]


def test_a_recipe_says_what_it_needs() -> None:
    here = "cpu", Ceilings(2e11, 1e10, 1e-5, 1e-5)
    first, base, seventh, last = needs("sungsimdang_promptmr", [], here)
    assert "16x640x368 and 20x768x396" in first
    known = recipe_needs()["sungsimdang_promptmr"]
    assert base.startswith("stage base: 65 epochs, ")
    assert f"training {said_memory(known[0].training[0])} and " in base
    # six of seven cascades and the maps' network are frozen
    assert known[1].frozen
    assert known[1].parameters > known[0].parameters
    assert known[1].training[0] < known[0].training[0]
    assert needs("sungsimdang_promptmr", ["training.epochs=2"], here) == ["needs: see dealias plan"]
    assert "4 trainings of 30 epochs" in needs("smartify_hacker", [], here)[2]
    count, memory, work, epoch = needed("sungsimdang_promptmr", here)
    assert count == f"{known[0].parameters / 1e6:.2f} - {known[1].parameters / 1e6:.2f}"
    # a classifier has parameters as well: torchvision's ResNet-50 of one channel and two classes
    assert needed("smartify_experts", here)[0].endswith(" - 23.51")
    assert memory == said_memory(max(one.most for one in known))
    # with six of seven cascades frozen a step takes less than one of all six
    all_six, last_of_seven = (one.training_flops / 1e12 for one in known)
    assert last_of_seven < all_six == pytest.approx(float(work), rel=0.01)
    assert epoch == said_time(known[0].epoch(here[1])) and f"about {epoch} an epoch" in base
    assert known[0].batches == 4651
    assert known[0].epoch(here[1]) / known[0].batches == pytest.approx(
        known[0].training_flops / 2e11
        + known[0].training_moved / 1e10
        + known[0].training_calls * 1e-5
    )
    assert "4,651 slices" in last and "200 GFLOP/s and 10 GB/s" in last
    assert needed("mine", here) == ("", "", "", "")


@pytest.mark.parametrize(
    ("name", "batches"),
    [
        ("geekseek_varnet", 2 * 4651),  # each slice at X4 and at X8
        ("ej_experts", 1163),  # a quarter of the slices for each expert
        ("unet", 1163),  # four slices a batch
    ],
)
def test_an_epoch_has_the_batches_of_the_recipe(name: str, batches: int) -> None:
    assert recipe_needs()[name][0].batches == batches


def test_an_epoch_is_never_told_longer_than_the_plan_tells_it_at_the_same_speeds() -> None:
    """The plan has each operation at the slower of both speeds; this no bytes of convolutions."""
    speeds = Ceilings(2e11, 1e10, 1e-5, 1e-5)
    (one,) = recipe_needs()["demo"]
    (training,) = stages_at(load_recipe("demo"), *SHAPES[0])[""]
    counted = Footprint(training.recipe, training.size, "cuda", None, speeds)
    step = counted.forecast(counted.training_count(training.recipe.memory)).seconds
    assert step is not None
    assert 0.5 * step < one.epoch(speeds) / one.batches < step * 1.0001
