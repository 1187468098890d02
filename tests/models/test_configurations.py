"""Published configurations have their published numbers of parameters, and are counted."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from dealias.cli.main import app
from dealias.models.configurations import CONFIGURATIONS, Configuration
from dealias.models.sizes import model_sizes
from dealias.models.table import NETWORKS

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
from model_sizes import SIZE, counted

QUICK = ("unet", "varnet", "mambarecon", "promptmr+-smartify")


@pytest.mark.parametrize("one", list(CONFIGURATIONS), ids=lambda one: one.name)
def test_parameters_are_the_published_ones(one: Configuration) -> None:
    with torch.device("meta"):
        network = NETWORKS[getattr(one.settings, "name")].build(one.settings)  # noqa: B009
    assert sum(p.numel() for p in network.parameters()) == one.parameters


def recounted(name: str) -> None:
    size, sizes = model_sizes()
    assert size == str(SIZE)
    assert vars(sizes[name]) == counted(CONFIGURATIONS[name])


@pytest.mark.parametrize("name", QUICK)
def test_what_is_listed_is_what_is_counted(name: str) -> None:
    recounted(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CONFIGURATIONS.names if name not in QUICK])
def test_what_is_listed_is_what_is_counted_of_all(name: str) -> None:
    recounted(name)


def test_each_configuration_is_listed(tmp_path: Path) -> None:
    assert list(model_sizes()[1]) == CONFIGURATIONS.names
    done = CliRunner().invoke(app, ["models", "--json", str(tmp_path / "models.json")])
    assert done.exit_code == 0
    listed = json.loads((tmp_path / "models.json").read_text())["configurations"]
    assert [one["name"] for one in listed] == CONFIGURATIONS.names
    for one in CONFIGURATIONS:
        (line,) = [text for text in done.stdout.splitlines() if text.startswith(f"{one.name} ")]
        assert f" {one.parameters:,} " in line
    assert len({one["settings"]["name"] for one in listed}) >= 14
