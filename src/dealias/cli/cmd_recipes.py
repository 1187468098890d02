"""`dealias recipes`: what can be trained."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("recipes", rich_help_panel="Before")(recipes)


def recipes(
    name: Annotated[str | None, typer.Argument(help="Show all settings of this one.")] = None,
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value ...")] = None,
) -> None:
    """List the recipes, or print one with every setting resolved.

    Example: dealias recipes varnet training.epochs=10
    """
    from dealias.config.compose import load_recipe, recipe_names, recipe_path
    from dealias.config.strict import write_yaml

    if name is not None:
        recipe = load_recipe(name, overrides or [])
        typer.echo(write_yaml(recipe.model_dump(mode="json")), nl=False)
        return
    for known in recipe_names():
        first = recipe_path(known).read_text().splitlines()[0]
        typer.echo(f"{known:10} {first.lstrip('# ')}")
