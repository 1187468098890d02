"""From a recipe's name and overrides to settings. The only file that imports Hydra."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dealias.config.schema import Recipe
from dealias.config.stages import of_training
from dealias.config.strict import read_yaml
from dealias.config.validate import checked
from dealias.errors import SettingsError
from dealias.table import nearest

RECIPES = Path(__file__).parent.parent / "recipes"


def recipe_names() -> list[str]:
    """Names of the recipes that come with dealias; those of dropped ideas begin "experiments/"."""
    found = (path.relative_to(RECIPES).with_suffix("") for path in RECIPES.rglob("*.yaml"))
    return sorted((path.as_posix() for path in found), key=lambda name: ("/" in name, name))


def recipe_path(name: str) -> Path:
    """The file of a recipe, by name or by path.

    Raises:
        SettingsError: There is none.
    """
    if name in recipe_names():
        return RECIPES / f"{name}.yaml"
    path = Path(name)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return path
    known = recipe_names()
    expected = f"{', '.join(known)}, or the path of a .yaml file"
    raise SettingsError(f"recipe '{name}'", "no such recipe", expected, nearest(name, known))


def load_recipe(name: str, overrides: list[str] | None = None) -> Recipe:
    """Settings of a run.

    Args:
        name: A recipe's name or path.
        overrides: Such as "training.epochs=10"; dotted keys, Hydra's grammar for values. They hold
            in every stage, whatever it sets itself; stages.NAME.set=[...] changes one alone.

    Returns:
        The recipe, judged. Nothing in it was imported, executed or interpolated.

    Raises:
        SettingsError: One line with the key's path, what was found and what was expected.
    """
    path = recipe_path(name)
    values = {"name": path.stem, **_with_base(read_yaml(path), str(name))}
    return recipe_from(values, overrides or [], str(name))


def _with_base(values: dict[str, Any], where: str) -> dict[str, Any]:
    """A recipe that names a `base`: that recipe, with these parts in place of its own.

    Raises:
        SettingsError: There is no such recipe, or it has a base itself.
    """
    if "base" not in values:
        return values
    name = values["base"]
    base = read_yaml(recipe_path(name)) if isinstance(name, str) else {}
    if not base or "base" in base:
        found = f"'{name}', which has a base itself" if base else f"{name!r}"
        raise SettingsError(f"{where}: base", found, "the name of a recipe without one")
    return {**base, **{key: one for key, one in values.items() if key != "base"}}


def recipe_from(values: dict[str, Any], overrides: list[str], where: str) -> Recipe:
    """Settings from plain values and overrides, which hold in every stage."""
    merged = _merged(values, overrides)
    return checked(Recipe, _set_in(merged, overrides, merged.get("stages") or ()), where)


def continued(recipe: Recipe, overrides: list[str], stages: Collection[str]) -> Recipe:
    """A recipe with stages, some of which go on with other settings.

    Args:
        recipe: As it was.
        overrides: Settings from here on.
        stages: Names of those that they hold in.

    Raises:
        SettingsError: As for `load_recipe`.
    """
    own = [override for override in overrides if not of_training(override)]
    values = _set_in(_merged(written(recipe), own), overrides, stages)
    return checked(Recipe, values, "overrides")


def written(recipe: Recipe) -> dict[str, Any]:
    """What a recipe says itself, without defaults: what stages are merged with."""
    return recipe.model_dump(mode="json", exclude_unset=True)


def stage_recipes(recipe: Recipe) -> dict[str, Recipe]:
    """Of each stage, the settings of its training.

    Raises:
        SettingsError: A stage sets what is unknown or out of range.
    """
    plain = written(recipe)
    base = {key: one for key, one in plain.items() if key not in ("stages", "bundle")}
    return {
        name: checked(Recipe, _merged(base, list(stage.set)), f"stage '{name}'")
        for name, stage in recipe.stages.items()
    }


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Which settings differ, by their dotted keys and with both values."""
    then, now = _flat(before), _flat(after)
    keys = [*then, *(key for key in now if key not in then)]
    changed = [key for key in keys if then.get(key) != now.get(key)]
    return ", ".join(f"{key}: {then.get(key)} to {now.get(key)}" for key in changed)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{prefix}{key}"
        flat |= _flat(value, f"{path}.") if isinstance(value, dict) else {path: value}
    return flat


def _set_in(values: dict[str, Any], overrides: list[str], names: Collection[str]) -> dict[str, Any]:
    """Values with overrides added to what some stages set; malformed ones stay for the schema."""
    added = [override for override in overrides if of_training(override)]
    stages = values.get("stages")
    if not added or not isinstance(stages, dict):
        return values
    changed = {
        name: {**stage, "set": [*stage.get("set", ()), *added]}
        if name in names and isinstance(stage, dict) and isinstance(stage.get("set", []), list)
        else stage
        for name, stage in stages.items()
    }
    return {**values, "stages": changed}


def _merged(values: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    if not overrides:
        return values
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key.strip():
            do = "such as training.epochs=10"
            raise SettingsError(f"override '{override}'", "no key=value", "key=value", do)
        if "${" in value:
            do = "write the value itself"
            raise SettingsError(f"override '{key}'", "an interpolation", "a plain value", do)
    try:
        changes = _changes(tuple(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        reason = str(error).splitlines()[0]
        raise SettingsError("overrides", f"{overrides} ({reason})", "key=value pairs") from None
    merged: dict[str, Any] = _merge(values, deepcopy(changes))
    return merged


@cache
def _changes(overrides: tuple[str, ...]) -> dict[str, Any]:
    """What overrides set. Kept, as it takes tenths of a second, again for each look at a stage."""
    with initialize_config_dir(str(RECIPES.resolve()), version_base=None):
        # ++: set the key whether or not the recipe's file names it; the schema judges
        changes = compose(overrides=[f"++{override.lstrip('+')}" for override in overrides])
    plain: Any = OmegaConf.to_container(changes, resolve=False)
    return plain if isinstance(plain, dict) else {}


def _merge(base: Any, change: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(change, dict)):
        return change
    merged = dict(base)
    for key, value in change.items():
        merged[str(key)] = _merge(merged[key], value) if key in merged else value
    return merged
