"""From a recipe's name and overrides to settings. The only file that imports Hydra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dealias.config.schema import Recipe
from dealias.config.strict import read_yaml
from dealias.config.validate import checked
from dealias.errors import SettingsError
from dealias.table import nearest

RECIPES = Path(__file__).parent.parent / "recipes"


def recipe_names() -> list[str]:
    """Names of the recipes that come with dealias."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


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
        overrides: Such as "training.epochs=10"; dotted keys, Hydra's grammar for values.

    Returns:
        The recipe, judged. Nothing in it was imported, executed or interpolated.

    Raises:
        SettingsError: One line with the key's path, what was found and what was expected.
    """
    path = recipe_path(name)
    values = {"name": path.stem, **read_yaml(path)}
    return recipe_from(values, overrides or [], str(name))


def recipe_from(values: dict[str, Any], overrides: list[str], where: str) -> Recipe:
    """Settings from plain values and overrides."""
    return checked(Recipe, _merged(values, overrides), where)


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
        with initialize_config_dir(str(RECIPES.resolve()), version_base=None):
            # ++: set the key whether or not the recipe's file names it; the schema judges
            changes = compose(overrides=[f"++{override.lstrip('+')}" for override in overrides])
    except (HydraException, OmegaConfBaseException) as error:
        reason = str(error).splitlines()[0]
        raise SettingsError("overrides", f"{overrides} ({reason})", "key=value pairs") from None
    plain = OmegaConf.to_container(changes, resolve=False)
    return _merge(values, plain if isinstance(plain, dict) else {})


def _merge(base: Any, change: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(change, dict)):
        return change
    merged = dict(base)
    for key, value in change.items():
        merged[str(key)] = _merge(merged[key], value) if key in merged else value
    return merged
