"""sMaRtIfy's classifier becomes one that `bundle.anatomy` takes, and computes what theirs did."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import golden_classes
from dealias.cli.main import app
from dealias.errors import CheckpointError, SettingsError
from dealias.inference.bundle import load_model
from dealias.inference.classifier import load_classifier
from dealias.inference.importing_classifier import import_classifier
from dealias.models.published.classifier import read_classifier


@cache
def theirs() -> golden_classes.State:
    """Of one channel, as a file has it."""
    shapes = dict(golden_classes.read("smartify")["shapes"])
    shapes["conv1.weight"] = [shapes["conv1.weight"][0], 1, 7, 7]
    return {
        name: one.float() if one.is_floating_point() else one
        for name, one in golden_classes.weights(shapes).items()
    }


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A file as their code saves it, imported by the command, and what that said."""
    folder = tmp_path_factory.mktemp("theirs")
    torch.save({"model": theirs()}, folder / "awesome_classifier.pt")
    asked = ["import", str(folder / "awesome_classifier.pt"), "--out", str(folder / "c")]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    return folder / "c", done.output


def test_it_computes_what_their_code_printed(imported: tuple[Path, str]) -> None:
    out, said = imported
    assert f"bundle.anatomy={out}" in said
    assert "52 biases went into the running means" in said
    classifier = load_classifier(out)
    settings = classifier.settings
    assert (settings.image, settings.normalise) == ("grappa", False)
    assert settings.classes == ("brain", "knee")
    assert classifier.needs.priors == ("grappa",)
    # to the last bit of what the reader gives, which is theirs in float64
    _, weights = read_classifier(theirs())
    state = classifier.network.state_dict()
    assert state.keys() == weights.keys()
    assert all(torch.equal(state[name], one) for name, one in weights.items())
    case = golden_classes.read("smartify-grey")
    with torch.no_grad():
        scores = classifier.network.double()(golden_classes.images(case["shape"]))
    wanted = np.array(case["scores"])
    # means less biases were rounded to single precision
    assert np.linalg.norm(scores.numpy().ravel() - wanted) < 1e-6 * np.linalg.norm(wanted)


def test_what_became_of_each_key_is_written(imported: tuple[Path, str]) -> None:
    out, _ = imported
    record = json.loads((out / "import.json").read_text())
    assert record["names"].keys() == theirs().keys()
    assert record["names"]["layer1.0.conv1.bias"] == "network.layer1.0.bn1.running_mean"
    own = {f"network.{name}" for name in read_classifier(theirs())[1]}
    assert set(record["names"].values()) == own
    card = (out / "card.md").read_text()
    assert "sMartify-fastmri/2025_final" in card
    assert "licence none given" in card
    with pytest.raises(CheckpointError, match="found a classifier of anatomies"):
        load_model(out)


def test_others_are_refused(imported: tuple[Path, str], tmp_path: Path) -> None:
    out, _ = imported
    with pytest.raises(SettingsError, match="--overwrite"):
        import_classifier(out.parent / "awesome_classifier.pt", out)
    wide = {**theirs(), "conv1.weight": torch.ones(64, 2, 7, 7)}
    torch.save({"model": wide}, tmp_path / "wide.pt")
    with pytest.raises(CheckpointError, match="found 2 channels and 2 classes"):
        import_classifier(tmp_path / "wide.pt", tmp_path / "c")
    torch.save({"conv1.weight": torch.ones(1), "fc.weight": torch.ones(1)}, tmp_path / "ours.pt")
    with pytest.raises(CheckpointError, match="weights of sMaRtIfy's ResNet-50"):
        import_classifier(tmp_path / "ours.pt", tmp_path / "c")
    assert not (tmp_path / "c").exists()
