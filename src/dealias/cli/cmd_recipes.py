"""`dealias recipes`: what can be trained."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from dealias.config.schema import Recipe
    from dealias.engine.ceilings import Ceilings

HEAD = f"{'recipe':33} {'parameters, M':>15} {'memory':>9} {'TFLOP':>6} {'epoch':>9}  what [stages]"


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("recipes", rich_help_panel="Before")(recipes)


def recipes(
    name: Annotated[str | None, typer.Argument(help="Show all settings of this one.")] = None,
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value ...")] = None,
) -> None:
    """List the recipes, or print one with every setting resolved.

    The list has the parameters, in millions, the memory of a GPU that training takes at full size,
    the TFLOP of a step on 16x640x368, about how long an epoch of the challenge's slices takes here,
    and the names of stages. A recipe's comments say which file its parts come from, what each stage
    changes and what it needs. `dealias plan` says it for other settings and data, and measures the
    time.

    Example: dealias recipes varnet training.epochs=10
    """
    from dealias.config.compose import load_recipe, recipe_names, recipe_path
    from dealias.config.strict import write_yaml

    if name is not None:
        recipe = load_recipe(name, overrides or [])
        typer.echo(sources(name, overrides or []))
        typer.echo(write_yaml(recipe.model_dump(mode="json")), nl=False)
        for line in [*stages(recipe), *needs(name, overrides or [], speeds())]:
            typer.echo(f"# {line}")
        return
    here = speeds()
    typer.echo(HEAD)
    for known in recipe_names():
        first = first_sentence(recipe_path(known).read_text())
        recipe = load_recipe(known)
        names = f" [{', '.join(recipe.stages)}]" if recipe.stages else ""
        count, memory, work, epoch = needed(known, here)
        typer.echo(f"{known:33} {count:>15} {memory:>9} {work:>6} {epoch:>9}  {first}{names}")
    typer.echo(
        f"\n{basis(here)}\nnext: dealias recipes NAME, or dealias plan NAME for the time of it"
    )


def first_sentence(text: str) -> str:
    """Of the comment that a recipe begins with."""
    head = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    return re.split(r"(?<=[.])\s", " ".join(line.lstrip("# ") for line in head), maxsplit=1)[0]


def sources(name: str, overrides: list[str]) -> str:
    """Comments that say where each setting comes from: the recipe's file, its base, overrides.

    Raises:
        SettingsError: There is no such recipe.
    """
    from dealias.config.compose import recipe_path
    from dealias.config.strict import read_yaml

    path = recipe_path(name)
    own = read_yaml(path)
    base = own.pop("base", None)
    files = [(path, own)]
    if base is not None:
        rest = {key: one for key, one in read_yaml(recipe_path(base)).items() if key not in own}
        files.append((recipe_path(base), rest))
    lines = [f"# {', '.join(part)}: {file}" for file, part in files if part]
    lines += [f"# {override}: the command line" for override in overrides]
    return "\n".join([*lines, "# all else: defaults"])


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


def speeds() -> tuple[str, Ceilings]:
    """This machine's GPU, or else CPU, and what `dealias doctor` measured of it, or would."""
    import torch

    from dealias.cli.progress import warn
    from dealias.engine.ceilings import known_ceilings, measure_ceilings
    from dealias.engine.device import usable_cuda

    name = "cuda" if usable_cuda(0) else "cpu"
    device = torch.device(name)
    return name, known_ceilings(device) or measure_ceilings(device, warn)


def basis(here: tuple[str, Ceilings]) -> str:
    """How epochs are told."""
    from dealias.runs.needs import SHAPES, SLICES

    name, found = here
    return (f"epoch: {SLICES:,} slices of {SHAPES[0][0]}, as often as the recipe shows each, if "
            f"kernels of this {name} reach what `dealias doctor` measures: "
            f"{found.flops / 1e9:,.0f} GFLOP/s and {found.bytes / 1e9:,.0f} GB/s")  # fmt: skip


def needed(name: str, here: tuple[str, Ceilings]) -> tuple[str, str, str, str]:
    """Millions of parameters, memory, TFLOP of a step, an epoch of a recipe's largest training.

    From - to where its stages' networks differ; "" if they were not counted.
    """
    from dealias.cli.plan_table import said_time
    from dealias.runs.needs import recipe_needs
    from dealias.sizes import said_memory

    stages = recipe_needs().get(name, ())
    if not stages:
        return "", "", "", ""
    counts = sorted({one.parameters for one in stages})
    count = " - ".join(f"{one / 1e6:.2f}" for one in dict.fromkeys((counts[0], counts[-1])))
    work = max(one.training_flops for one in stages) / 1e12
    epoch = said_time(max(one.epoch(here[1]) for one in stages))
    return count, said_memory(max(one.most for one in stages)), f"{work:.3g}", epoch


def needs(name: str, overrides: list[str], here: tuple[str, Ceilings]) -> list[str]:
    """A line for each stage: what it needs under the recipe's own policy, as in docs/recipes.md.

    Args:
        name: Of the recipe.
        overrides: With any, its figures would be of something else: there are none.
        here: From `speeds`.
    """
    from dealias.cli.plan_table import said_time
    from dealias.runs.needs import SHAPES, recipe_needs
    from dealias.sizes import said_memory

    if overrides or name not in recipe_needs():
        return ["needs: see dealias plan"]
    lines = [f"needs on a GPU, for slices of {' and '.join(shape for shape, _ in SHAPES)}:"]
    for one in recipe_needs()[name]:
        what = f"stage {one.stage}: " if one.stage else ""
        count = f"{one.trainings} trainings of " if one.trainings > 1 else ""
        training, inference = (
            " and ".join(map(said_memory, sizes)) for sizes in (one.training, one.inference)
        )
        lines.append(f"{what}{count}{one.epochs} epochs, {one.parameters:,} parameters, "
                     f"training {training}, inference {inference}, under {one.policy}; "
                     f"{one.training_flops / 1e12:.3g} TFLOP a step on {SHAPES[0][0]}, "
                     f"{one.inference_flops / 1e12:.3g} a slice; "
                     f"about {said_time(one.epoch(here[1]))} an epoch")  # fmt: skip
    return [*lines, basis(here)]
