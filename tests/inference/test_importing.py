"""Published weights become models: recognised, converted, every key accounted for, or refused."""

from __future__ import annotations

import argparse
import json
import pathlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor

import golden
from dealias.errors import CheckpointError, SettingsError
from dealias.inference.bundle import load_model
from dealias.inference.importing import RECORD, import_model
from dealias.models.published.table import PUBLISHED
from dealias.models.settings import AnySettings

SMALL = sorted(
    path.stem
    for path in golden.FOLDER.glob("*.json")
    if not path.stem.endswith("-published") and "settings" in golden.read(path.stem)
)
UNTOLD = {"dropout", "sens_dropout", "learn_prompts", "variational", "stages", "gate", "stored"}
"""Settings that shapes of weights cannot tell."""


def weights(case: dict[str, Any]) -> dict[str, Tensor]:
    """As a project saves them."""
    return {key: one.float() for key, one in golden.weights(case["shapes"]).items()}


def lightning(case: dict[str, Any]) -> dict[str, Any]:
    """As Lightning saves them: a prefix, hyper-parameters, and more beside."""
    kind = PUBLISHED[case["published"]]
    prefix = kind.prefixes[0] if kind.prefixes else ""
    state = {prefix + key: one for key, one in weights(case).items()}
    return {"epoch": 3, "state_dict": state, "hyper_parameters": {"lr": 1e-3, **kind.said}}


def untold(case: dict[str, Any]) -> list[str]:
    """What must be said of a case's network beside its weights."""
    shapes = {key: torch.Size(shape) for key, shape in case["shapes"].items()}
    told = PUBLISHED[case["published"]].settings(shapes).model_dump(mode="json")
    different = {key: value for key, value in case["settings"].items() if told[key] != value}
    assert set(different) <= UNTOLD
    return [f"network.{key}={json.dumps(value)}" for key, value in different.items()]


@pytest.mark.parametrize("name", [one for one in SMALL if not one.startswith("dhumus")])
def test_a_checkpoint_of_each_kind_computes_what_its_code_printed(
    name: str, tmp_path: Path
) -> None:
    case = golden.read(name)
    torch.save(lightning(case), tmp_path / "last.ckpt")
    found = import_model(
        tmp_path / "last.ckpt", tmp_path / "model", case["published"], untold(case)
    )
    assert found.kind.name == case["published"]
    model = load_model(tmp_path / "model")
    network: Any = model.reconstructor
    assert found.settings == TypeAdapter(AnySettings).validate_python(case["settings"])
    assert model.name == case["settings"]["name"]
    assert found.parameters == sum(one.numel() for one in network.parameters())
    assert model.reconstructor.needs.readout_crop is None
    numbers = np.array(golden.sampled(golden.image(network.double(), case)))
    # the weights were rounded to float32
    wanted = np.array(case["image"])
    assert np.linalg.norm(numbers - wanted) < 2e-5 * np.linalg.norm(wanted)


def test_it_is_recognised_and_every_key_is_accounted_for(tmp_path: Path) -> None:
    case = golden.read("fastmri-varnet")
    kind = PUBLISHED["fastmri-varnet"]
    state: dict[str, Tensor] = {**weights(case), "loss.w": torch.ones(1, 1, 7, 7)}
    state["cascades.0.dc_weight"] = state["cascades.0.dc_weight"].double()
    torch.save(state, tmp_path / "varnet.pt")
    found = import_model(tmp_path / "varnet.pt", tmp_path / "model")
    assert found.kind is kind
    assert found.dropped == ("loss.w",)
    assert found.cast == ("cascades.0.step",)
    record = json.loads((tmp_path / "model" / RECORD).read_text())
    assert record["names"] == {key: kind.rename(key) for key in state}
    header = load_model(tmp_path / "model").header
    assert header["licence"] == record["licence"] == "MIT"
    assert header["provenance"]["project"] == "facebookresearch/fastMRI"
    assert len(header["provenance"]["sha256"]) == 64
    assert "facebookresearch/fastMRI" in (tmp_path / "model" / "card.md").read_text()
    assert str(tmp_path) not in json.dumps(header) + json.dumps(record)


def test_the_challenges_checkpoints_are_read(tmp_path: Path) -> None:
    """Namespaces and paths are pickled in them; neither is made."""
    state = weights(golden.read("fastmri-varnet"))
    args = argparse.Namespace(cascade=2, exp_dir=pathlib.PurePosixPath("/result"))
    saved = {"epoch": 1, "args": args, "model": state, "best_val_loss": torch.tensor(0.5),
             "optimizer": {"state": {}}, "exp_dir": pathlib.PurePosixPath("/result")}  # fmt: skip
    torch.save(saved, tmp_path / "best_model.pt")
    assert import_model(tmp_path / "best_model.pt", tmp_path / "m").kind.name == "fastmri-varnet"


def test_kinds_of_the_same_keys_are_told_apart(tmp_path: Path) -> None:
    case = golden.read("promptmr-plus-kspace-slices")
    torch.save(weights(case), tmp_path / "plain.pt")
    with pytest.raises(SettingsError, match="--as") as error:
        import_model(tmp_path / "plain.pt", tmp_path / "model")
    assert "promptmr-plus-kspace" in str(error.value)
    assert not (tmp_path / "model").exists()
    torch.save(lightning(case), tmp_path / "said.ckpt")
    found = import_model(tmp_path / "said.ckpt", tmp_path / "model")
    assert found.kind.name == "promptmr-plus-kspace"


def refused(tmp_path: Path, change: Any, kind: str | None = None) -> str:
    state = weights(golden.read("fastmri-varnet"))
    torch.save(change(state), tmp_path / "x.pt")
    with pytest.raises(CheckpointError) as error:
        import_model(tmp_path / "x.pt", tmp_path / "model", kind)
    assert not (tmp_path / "model").exists()
    return str(error.value)


def without(state: dict[str, Tensor], key: str) -> dict[str, Tensor]:
    return {name: one for name, one in state.items() if name != key}


def test_what_is_not_whole_is_refused(tmp_path: Path) -> None:
    assert "missing: cascades.1.step" in refused(
        tmp_path, lambda state: without(state, "cascades.1.dc_weight")
    )
    assert "unknown: cascades.0.dc_bias" in refused(
        tmp_path, lambda state: {**state, "cascades.0.dc_bias": torch.ones(1)}
    )
    assert "NaN" in refused(
        tmp_path, lambda state: {**state, "cascades.0.dc_weight": torch.full((1,), torch.nan)}
    )
    assert "complex" in refused(
        tmp_path, lambda state: {**state, "cascades.0.dc_weight": torch.ones(1) * 1j}
    )
    assert "no weights under" in refused(tmp_path, lambda state: {"epoch": 3})


def test_unknown_files_name_what_is_known(tmp_path: Path) -> None:
    said = refused(tmp_path, lambda state: {"layer.weight": torch.ones(2)})
    assert "layer.weight" in said
    assert "fastmri-varnet" in said
    assert "keys of fastmri-unet" in refused(tmp_path, lambda state: state, "fastmri-unet")
    with pytest.raises(SettingsError, match="did you mean 'fastmri-unet'"):
        import_model(tmp_path / "x.pt", tmp_path / "model", "fastmri-unett")


def test_weights_of_a_function_that_is_not_here_are_refused(tmp_path: Path) -> None:
    case = golden.read("dhumus")
    torch.save(weights(case), tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="another function"):
        import_model(tmp_path / "x.pt", tmp_path / "model")


def test_settings_that_weights_cannot_tell_are_said(tmp_path: Path) -> None:
    torch.save(weights(golden.read("fivarnet-lska-none")), tmp_path / "x.pt")
    for change, said in (("gate=none", "network.KEY"), ("network.gate=x", "network.gate"),
                         ("network.gates=1", "gates"), ("network.gate=[", "YAML")):  # fmt: skip
        with pytest.raises(SettingsError, match=said):
            import_model(tmp_path / "x.pt", tmp_path / "model", None, [change])


def test_a_model_that_is_there_stays(tmp_path: Path) -> None:
    torch.save(weights(golden.read("fastmri-varnet")), tmp_path / "x.pt")
    import_model(tmp_path / "x.pt", tmp_path / "model")
    with pytest.raises(SettingsError, match="--overwrite"):
        import_model(tmp_path / "x.pt", tmp_path / "model")
    import_model(tmp_path / "x.pt", tmp_path / "model", overwrite=True)


def test_the_guide_names_every_kind() -> None:
    page = (Path(__file__).parents[2] / "docs" / "guide" / "published-weights.md").read_text()
    table = "".join(line for line in page.splitlines() if line.startswith("| "))
    named = {word.strip() for row in table.split("|")[1::1] for word in row.split(",")}
    # dHUMUS's weights are refused
    assert set(PUBLISHED.names) - named == {"dhumus"}
