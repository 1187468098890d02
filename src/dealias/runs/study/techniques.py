"""Techniques that a study can switch off, with the gain that was stated for each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from dealias.config.compose import load_recipe, stage_recipes
from dealias.config.schema import Recipe
from dealias.config.strict import read_yaml
from dealias.config.validate import checked
from dealias.errors import SettingsError
from dealias.table import Table

SHIPPED = Path(__file__).parent.parent / "techniques.yaml"


class Technique(BaseModel):
    """Something that a recipe does and could leave out.

    Attributes:
        name: Such as "area": letters, digits and hyphens; it names folders.
        without: Overrides that leave it out, or put in its place what it was compared with.
        needs: A setting such as "masks.mixture" or "stages.experts.each", without which there is
            nothing to leave out.
        stated: SSIM that it is said to gain, or None.
        source: Who says so, where.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    without: tuple[str, ...] = Field(min_length=1)
    needs: str | None = None
    stated: float | None = None
    source: str = ""


class TechniquesFile(BaseModel):
    """A file of them.

    Attributes:
        techniques: Each name once.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    techniques: tuple[Technique, ...] = Field(min_length=1)

    @field_validator("techniques")
    @classmethod
    def _once(cls, techniques: tuple[Technique, ...]) -> tuple[Technique, ...]:
        names = [one.name for one in techniques]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"each name once, and '{name}' is there twice")
        return techniques


def techniques_from(path: Path = SHIPPED) -> tuple[Technique, ...]:
    """The techniques of a YAML file; those that come with dealias if none is named.

    Raises:
        SettingsError: It cannot be read.
    """
    return checked(TechniquesFile, read_yaml(path), str(path)).techniques


def techniques_of(texts: Sequence[str]) -> tuple[Technique, ...]:
    """The techniques that --without names.

    Args:
        texts: Each a .yaml file, the name of a technique that comes with dealias, or
            "name:key=value,key=value". None of them is all that come with dealias.

    Raises:
        SettingsError: One is none of these, or a name is there twice.
    """
    known = Table("technique", techniques_from())
    found: list[Technique] = []
    for text in texts:
        if Path(text).suffix in (".yaml", ".yml"):
            found += techniques_from(Path(text))
        elif ":" in text:
            name, _, overrides = text.partition(":")
            values: dict[str, Any] = {"name": name, "without": _split(overrides)}
            found.append(checked(Technique, values, f"--without {name}"))
        else:
            found.append(known[text])
    if not texts:
        return tuple(known)
    return checked(TechniquesFile, {"techniques": found}, "--without").techniques


def in_use(
    techniques: Sequence[Technique], recipe: str, overrides: Sequence[str]
) -> tuple[Technique, ...]:
    """Those techniques without which a recipe computes anything else.

    Args:
        techniques: To choose from.
        recipe: A recipe's name or path.
        overrides: Changes of its settings.

    Raises:
        SettingsError: The recipe cannot do without one of them.
    """
    plain = load_recipe(recipe, list(overrides))
    known = _computed(plain)

    def used(one: Technique) -> bool:
        if one.needs is not None and not _has(plain, one.needs):
            return False
        return bool(_computed(load_recipe(recipe, [*overrides, *one.without])) != known)

    return tuple(one for one in techniques if used(one))


def _has(recipe: Recipe, path: str) -> bool:
    """Whether a setting is neither empty nor off; of stages, in any; or stages.NAME's own."""
    first, *keys = path.split(".")
    if first == "stages":
        stage = recipe.stages.get(keys[0])
        return stage is not None and bool(reduce(getattr, keys[1:], stage))
    own = stage_recipes(recipe).values() if recipe.stages else (recipe,)
    return any(reduce(getattr, path.split("."), one) for one in own)


def _computed(recipe: Recipe) -> Any:
    """What a recipe computes: of stages, whose overrides may say the same twice, their settings."""
    if not recipe.stages:
        return recipe
    own = {name: stage.model_copy(update={"set": ()}) for name, stage in recipe.stages.items()}
    return own, recipe.bundle, stage_recipes(recipe)


def _split(text: str) -> list[str]:
    """Split at commas outside of brackets, braces and quotes."""
    parts, depth, quote = [""], 0, ""
    for char in text:
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        else:
            depth += (char in "[{(") - (char in "]})")
        if char == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += char
    if any("=" not in part for part in parts):
        raise SettingsError("--without", f"'{text}'", "name:key=value,key=value")
    return parts
