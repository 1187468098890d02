"""Model files: bit-equal round trips, and refusals of everything that does not add up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dealias.classical.iterative import CgSense
from dealias.errors import CheckpointError, SettingsError
from dealias.inference.bundle import load_model, save_bundle, save_model
from dealias.inference.export import export_model
from dealias.inference.reconstruct import reconstruct
from dealias.io.weights import read_safetensors, write_safetensors
from dealias.models.network import Network, NetworkEntry, NetworkSettings
from dealias.models.table import NETWORKS
from dealias.scan.profile import Profile
from dealias.scan.scan import Scan
from dealias.table import Table

Networks = Table[NetworkEntry]


@pytest.fixture
def saved(network: Network, tiny: NetworkSettings, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_model(path, network, tiny, protocol="snu2025", licence="CC-BY-4.0")
    return path


def same(a: Network, b: Any) -> bool:
    mine, theirs = a.state_dict(), b.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)


def edit(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Path:
    tensors, header = read_safetensors(path)
    change(tensors, header)
    write_safetensors(path, tensors, header)
    return path


def test_a_model_file_gives_the_same_network(
    saved: Path, network: Network, networks: Networks, make_scan: Callable[..., Scan]
) -> None:
    network.train()
    before = torch.get_rng_state()
    model = load_model(saved, networks=networks)
    assert torch.equal(torch.get_rng_state(), before)
    assert same(network, model.reconstructor)
    assert model.name == "tiny"
    assert not model.reconstructor.training  # type: ignore[attr-defined]
    assert model.header["licence"] == "CC-BY-4.0"
    a = reconstruct(network.eval(), make_scan()).image_ZHW
    assert (reconstruct(model.reconstructor, make_scan()).image_ZHW == a).all()


@pytest.mark.parametrize("name", NETWORKS.names)
def test_every_network_of_the_table_comes_back_bit_equal(name: str, tmp_path: Path) -> None:
    entry = NETWORKS[name]
    network = entry.build(entry.tiny)
    save_model(tmp_path / "a.safetensors", network, entry.tiny)
    assert same(network, load_model(tmp_path / "a.safetensors").reconstructor)


def test_run_folder_bundle_and_export_are_the_same_model(
    network: Network, tiny: NetworkSettings, networks: Networks, tmp_path: Path,
    make_scan: Callable[..., Scan],
) -> None:  # fmt: skip
    profile = Profile.of([make_scan()])
    save_bundle(tmp_path / "run" / "model", network, tiny, profile=profile)
    header = export_model(tmp_path / "run", tmp_path / "e.safetensors", networks=networks)
    assert header["profile"]["coils"] == [4, 4]
    for spec in ("run", "run/model", "run/model/main.safetensors", "e.safetensors"):
        model = load_model(tmp_path / spec, networks=networks)
        assert same(network, model.reconstructor)
        assert model.profile == profile
    run, exported = tmp_path / "run/model/main.safetensors", tmp_path / "e.safetensors"
    assert run.read_bytes() == exported.read_bytes()
    card = (tmp_path / "run/model/card.md").read_text()
    assert "Research use only, not a medical device" in card
    assert "1 volumes, 3 slices" in card
    with pytest.raises(SettingsError, match="--overwrite"):
        export_model(tmp_path / "run", exported, networks=networks)
    export_model(tmp_path / "run", exported, overwrite=True, networks=networks)


def test_a_model_file_holds_no_path_host_or_user(saved: Path) -> None:
    _, header = read_safetensors(saved)
    assert set(header) == {
        "dealias_version", "schema", "network", "config", "profile", "protocol", "licence",
        "digest",
    }  # fmt: skip
    assert str(saved.parent).encode() not in saved.read_bytes()


def test_classical_methods_stand_where_a_model_stands(tmp_path: Path) -> None:
    model = load_model("cg-sense:iterations=3")
    assert model.reconstructor == CgSense(iterations=3)
    assert (model.name, model.profile) == ("cg-sense", None)
    with pytest.raises(SettingsError, match="classical method"):
        export_model(Path("cg-sense"), tmp_path / "a.safetensors")


REFUSED: dict[str, tuple[Callable[[dict[str, Any], dict[str, Any]], None], str]] = {
    "unknown network": (lambda t, h: h.update(network="os.system"), "network 'os.system'"),
    "near network": (lambda t, h: h.update(network="tini"), "did you mean 'tiny'"),
    "import path": (lambda t, h: h["config"].update(_target_="os.system"), "config '_target_'"),
    "config type": (lambda t, h: h["config"].update(channels="many"), "config 'channels'"),
    "config list": (lambda t, h: h.update(config=[]), "without network and config"),
    "newer": (
        lambda t, h: h.update(schema=2, dealias_version="9.1"),
        "schema 2, made by dealias 9.1.*upgrade",
    ),
    "no schema": (lambda t, h: h.pop("schema"), "no dealias header"),
    "boolean schema": (lambda t, h: h.update(schema=True), "no dealias header"),
    "missing": (lambda t, h: t.pop("last.weight"), "missing: last.weight"),
    "extra": (lambda t, h: t.update(hook=torch.ones(1)), "unknown: hook"),
    "shape": (
        lambda t, h: t.update({"last.weight": torch.ones(3, 1, 1, 1)}),
        r"'last.weight' is float32 \(3, 1, 1, 1\); expected float32 \(1, 3, 1, 1\)",
    ),
    "other size": (lambda t, h: h["config"].update(channels=1 << 40), "first.weight"),
    "integers": (
        lambda t, h: t.update({"last.weight": torch.ones(1, 3, 1, 1, dtype=torch.int32)}),
        "'last.weight' is int32",
    ),
    "complex": (
        lambda t, h: t.update({"last.weight": torch.ones(1, 3, 1, 1) * 1j}),
        "'last.weight' is complex64",
    ),
    "double": (
        lambda t, h: t.update({"last.weight": torch.ones(1, 3, 1, 1).double()}),
        "'last.weight' is float64",
    ),
    "nan": (lambda t, h: t["first.weight"].view(-1)[4].fill_(torch.nan), "NaN or infinity in 'fi"),
    "infinite": (lambda t, h: t["last.weight"].fill_(torch.inf), "NaN or infinity in 'last"),
    "profile": (lambda t, h: h.update(profile={"coils": "x"}), "training profile"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_model_files_that_do_not_add_up(saved: Path, networks: Networks, case: str) -> None:
    change, said = REFUSED[case]
    with pytest.raises(CheckpointError, match=said):
        load_model(edit(saved, change), networks=networks)


def test_another_tool_s_file_and_another_kind_of_file(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "a.safetensors", {"w": torch.ones(1)}, {})
    (tmp_path / "b.pt").write_bytes(b"PK\x03\x04 not this one")
    for name in ("a.safetensors", "b.pt"):
        with pytest.raises(CheckpointError, match=name):
            load_model(tmp_path / name)


def test_a_folder_without_a_model_says_how_to_go_on(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="dealias train --resume"):
        load_model(tmp_path)
    with pytest.raises(SettingsError, match="zero-filled, cg-sense"):
        load_model(tmp_path / "cg-sens")


@pytest.mark.parametrize(
    "name", ["../main.safetensors", "/etc/passwd", "a\\b.safetensors", 3, "link.safetensors"]
)  # fmt: skip
def test_a_manifest_points_at_nothing_but_its_own_folder(
    network: Network, tiny: NetworkSettings, networks: Networks, tmp_path: Path, name: Any
) -> None:
    folder = tmp_path / "model"
    save_bundle(folder, network, tiny)
    save_model(tmp_path / "main.safetensors", network, tiny)
    (folder / "link.safetensors").symlink_to(tmp_path / "main.safetensors")
    load_model(folder, networks=networks)
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["networks"]["main"] = name
    (folder / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="beside it"):
        load_model(folder, networks=networks)


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 1, "schema": 1}', '{"schema": 7}', "{}"])
def test_a_damaged_manifest(tmp_path: Path, text: str) -> None:
    (tmp_path / "bundle.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"bundle\.json"):
        load_model(tmp_path)
