"""How large the data are: what is planned for has the very shapes that a run will see."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dealias.config.compose import load_recipe
from dealias.config.schema import Recipe
from dealias.data.cache import make_cache, plan_cache
from dealias.data.catalogue import open_split
from dealias.data.keep import Keep
from dealias.data.simulate import SimulateSettings, simulate
from dealias.errors import DataError
from dealias.models.table import build_network
from dealias.runs.footprint import Footprint
from dealias.runs.plan import footprint_of
from dealias.runs.rehearsal import blank_batch, inputs_of, largest_batch, rehearse
from dealias.runs.size import Size, size_of_scans

CPU = torch.device("cpu")
KINDS = ("files", "cache")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One data set as files, and as a cache that keeps more rows than the network sees."""
    folder = tmp_path_factory.mktemp("data")
    settings = SimulateSettings(
        subjects=2, shares=(1, 1, 0), accelerations=(4,), slices=2, coils=5, size=(160, 40),
        target=(40, 40),
    )  # fmt: skip
    simulate(settings, folder / "files", lambda done: None)
    make_cache(plan_cache(folder / "files", Keep(8)), folder / "cache")
    return {kind: folder / kind for kind in KINDS}


def recipe(margin: int, *more: str) -> Recipe:
    return load_recipe("varnet", [
        "network.cascades=1", "network.channels=2", "network.pools=1", "network.sens_channels=2",
        "network.sens_pools=1", f"network.readout_crop={margin}", "training.threads=1",
        "memory.cascades=keep", "memory.coils=null", *more,
    ])  # fmt: skip


def size(wanted: Recipe, root: Path) -> Size:
    scans = open_split(root, "train"), open_split(root, "val")
    return size_of_scans(*scans, build_network(wanted.network).needs, wanted.masks)


@pytest.mark.parametrize(("kind", "area"), [(KINDS[0], False), (KINDS[1], True)])
def test_a_blank_batch_is_shaped_as_a_real_one(
    kind: str, area: bool, data: dict[str, Path]
) -> None:
    wanted = recipe(4, "training.batch_size=2", f"loss.area={str(area).lower()}")
    network = build_network(wanted.network)
    real = largest_batch(wanted, network, open_split(data[kind], "train"))
    blank = blank_batch(size(wanted, data[kind]), network.needs, 2, area=area)
    shapes = [[(one.shape, one.dtype) for one in inputs_of(batch)] for batch in (real, blank)]
    assert shapes[0] == shapes[1]
    assert (real.hybrid is None) == (blank.hybrid is None) == (kind == "files")
    if real.hybrid is not None and blank.hybrid is not None:
        assert (real.hybrid.rows, real.hybrid.encoded) == (blank.hybrid.rows, blank.hybrid.encoded)
        assert real.kspace_BSCHW.shape[-2] == 48


@pytest.mark.parametrize("kind", KINDS)
def test_a_plan_is_within_5_percent_of_a_rehearsal(kind: str, data: dict[str, Path]) -> None:
    wanted = recipe(4)
    plan: Footprint = footprint_of(wanted, size(wanted, data[kind]), "cpu", lambda text: None)
    count = plan.training_count(wanted.memory)
    plan.measure([count], lambda total: lambda done: None)
    planned = plan.need(wanted.memory, count).training.peak
    network = build_network(wanted.network)
    found = rehearse(wanted, network, open_split(data[kind], "train"), CPU)
    assert abs(planned / found - 1) < 0.05, (planned, found)


def test_a_cache_that_is_too_narrow_is_not_planned(data: dict[str, Path]) -> None:
    with pytest.raises(DataError, match="rows 52 to 108 of 160.*rows 44 to 116"):
        size(recipe(16), data["cache"])


def test_a_plan_says_that_it_is_of_a_cache(data: dict[str, Path]) -> None:
    wanted = recipe(4)
    assert str(size(wanted, data["cache"])) == "5x160x40, target 40x40, cached"
    assert str(size(wanted, data["files"])) == "5x160x40, target 40x40"
