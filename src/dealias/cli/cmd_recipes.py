"""`dealias recipes`: what can be trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from dealias.config.schema import Recipe


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("recipes", rich_help_panel="Before")(recipes)


def recipes(
    name: Annotated[str | None, typer.Argument(help="Show all settings of this one.")] = None,
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value ...")] = None,
) -> None:
    """List the recipes, or print one with every setting resolved.

    What each stage of a recipe changes stands below it, as comments.

    Example: dealias recipes varnet training.epochs=10
    """
    from dealias.config.compose import load_recipe, recipe_names, recipe_path
    from dealias.config.strict import write_yaml

    if name is not None:
        recipe = load_recipe(name, overrides or [])
        typer.echo(write_yaml(recipe.model_dump(mode="json")), nl=False)
        for line in stages(recipe):
            typer.echo(f"# {line}")
        return
    for known in recipe_names():
        first = recipe_path(known).read_text().splitlines()[0]
        typer.echo(f"{known:10} {first.lstrip('# ')}")


def stages(recipe: Recipe) -> list[str]:
    """A line for each stage: where it begins, and the settings that are not the recipe's.

    Raises:
        SettingsError: A stage sets what is unknown or out of range.
    """
    from dealias.config.compose import difference, stage_recipes

    plain = recipe.model_copy(update={"stages": {}, "bundle": None}).model_dump(mode="json")
    lines = []
    for name, own in stage_recipes(recipe).items():
        stage = recipe.stages[name]
        begins = f", begins with {stage.start.source}" if stage.start is not None else ""
        each = f", one for each {stage.each}" if stage.each is not None else ""
        changed = difference(plain, own.model_dump(mode="json")) or "as above"
        lines.append(f"stage {name}{begins}{each}: {changed}")
    return lines
