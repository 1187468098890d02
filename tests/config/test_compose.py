"""Settings: YAML's traps, mistyped keys, values out of range; nothing is executed or resolved."""

from __future__ import annotations

from pathlib import Path

import pytest

from dealias.config.compose import load_recipe, recipe_names
from dealias.config.strict import read_yaml, write_yaml
from dealias.errors import SettingsError


def recipe(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_loads_and_survives_its_own_dump(name: str, tmp_path: Path) -> None:
    loaded = load_recipe(name)
    dumped = recipe(tmp_path, write_yaml(loaded.model_dump(mode="json")))
    assert load_recipe(dumped) == loaded


def test_overrides_are_merged_and_judged() -> None:
    changed = load_recipe("demo", ["optimiser.lr=1e-4", "training.epochs=3", "network.cascades=2"])
    assert (changed.optimiser.lr, changed.training.epochs) == (1e-4, 3)
    assert changed.network.cascades == 2  # type: ignore[union-attr]
    assert changed.network.channels == load_recipe("demo").network.channels
    lists = load_recipe("demo", ["masks.accelerations=[6,10]"])
    assert lists.masks.accelerations == (6, 10)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epoch=3", r"training.epoch.*unknown key.*did you mean 'epochs'"),
        ("trainng.epochs=3", r"trainng.*unknown key.*did you mean 'training'"),
        ("optimiser.lr=-1", r"optimiser.lr: found -1"),
        ("training.epochs=many", r"training.epochs: found 'many'"),
        ("network.cascade=3", r"network.*cascade.*did you mean 'cascades'"),
        ("network.name=vernet", r"network"),
        ("protocol=snu2027", r"protocol: found 'snu2027'.*snu2025"),
        ("training.epochs", r"no key=value"),
        ("optimiser.lr=${oc.env:HOME}", r"an interpolation"),
        ("memory.coils=0", r"memory.coils: found 0"),
        ("masks.kind=equispced", r"masks.kind: found 'equispced'.*did you mean 'equispaced'"),
        ("network.cascades=100000", r"network.cascades: found 100000"),
    ],
)
def test_what_is_wrong_is_one_line_with_the_keys_path(override: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        load_recipe("demo", [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nname: b\n", r"line 2: found key 'name' twice"),
        ("name: &x a\nprotocol: *x\n", r"an anchor"),
        ("name: !!python/object:os.system a\n", r"a tag"),
        ("name: [a\n", r"malformed YAML"),
        ("- a\n", r"expected keys and values"),
        ("name: a\ntraining: {_target_: os.system}\n", r"_target_.*unknown key"),
    ],
)
def test_yamls_traps_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_recipe(recipe(tmp_path, text))


def test_numbers_that_yaml_takes_for_text_are_numbers(tmp_path: Path) -> None:
    loaded = load_recipe(recipe(tmp_path, "optimiser: {lr: 1e-3}\n"))
    assert loaded.optimiser.lr == 1e-3


def test_no_is_no_number(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"optimiser.weight_decay"):
        load_recipe(recipe(tmp_path, "optimiser: {weight_decay: no}\n"))


def test_an_environment_variable_never_reaches_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "canary")
    loaded = load_recipe(recipe(tmp_path, 'name: "${oc.env:SECRET_TOKEN}"\n'))
    assert "canary" not in write_yaml(loaded.model_dump(mode="json"))
    changed = recipe(tmp_path, 'name: "${oc.env:SECRET_TOKEN}"\n')
    assert "canary" not in write_yaml(
        load_recipe(changed, ["training.epochs=1"]).model_dump(mode="json")
    )


def test_a_mistyped_recipe_gets_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean 'varnet'"):
        load_recipe("varnt")


def test_missing_files_are_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such file"):
        read_yaml(tmp_path / "none.yaml")
