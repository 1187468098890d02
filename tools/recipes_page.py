"""Make docs/recipes.md of tools/techniques.yaml: part of `make docs`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from dealias.cli.cmd_recipes import first_sentence
from dealias.config.compose import load_recipe, recipe_names, recipe_path
from dealias.runs.needs import BUDGET, SHAPES, recipe_needs
from dealias.sizes import said_memory

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "recipes.md"
TECHNIQUES = ROOT / "tools" / "techniques.yaml"
INTRO = """# Recipes and techniques

What teams of the SNU fastMRI challenge and the papers around it did, and where it is here; what
they dropped stands here with their reason. Scores are theirs, on the challenge's data; none of the
recipes was trained by us at full size. `make recipes` runs every recipe whole on tiny simulated
data, and trains it twice more to see that every bit is the same. Made by `tools/recipes_page.py`
(`make docs`) from `tools/techniques.yaml`.

"In" is yes, part, **no**, or "other" where we do something else on purpose.
"""
NEEDS = """
## What each recipe needs

Under its own memory policy on a card of {budget}, for slices of {shapes}: counted without running
anything (`tools/recipe_needs.py`), each convolution given a copy of all it sees as its buffer, and
512 MiB set aside for CUDA. No GPU was here, so there are no times; work is of one slice of
the first shape. `dealias plan RECIPE --memory {short}` looks for a faster policy.

| recipe | stage | trainings x epochs | parameters | policy | training | inference | TFLOP |
|---|---|---|---|---|---|---|---|"""
HEAD = ("| technique | in | where | shown by | recipe | theirs | ours |\n"
        "|---|---|---|---|---|---|---|")  # fmt: skip


class Row(NamedTuple):
    """A technique; paths are relative to src/dealias and to tests."""

    team: str
    technique: str
    status: str
    files: list[str]
    tests: list[str]
    recipes: list[str]
    theirs: str
    ours: str


def rows() -> list[Row]:
    """All techniques, in order."""
    sections: dict[str, list[list[Any]]] = yaml.safe_load(TECHNIQUES.read_text())
    return [Row(team, *one) for team, techniques in sections.items() for one in techniques]


def _row(row: Row) -> str:
    files = ", ".join(f"[{one}](../src/dealias/{one})" for one in row.files)
    tests = ", ".join(f"[{one}](../tests/{one})" for one in row.tests)
    recipes = ", ".join(f"`{one}`" for one in row.recipes)
    status = "**no**" if row.status == "no" else row.status
    cells = (row.technique, status, files, tests, recipes, row.theirs, row.ours)
    return f"| {' | '.join(cells)} |"


def _recipes() -> Iterator[str]:
    for name in recipe_names():
        first = first_sentence(recipe_path(name).read_text())
        stages = ", ".join(load_recipe(name).stages) or "one training"
        yield f"| [`{name}`](../src/dealias/recipes/{name}.yaml) | {first} | {stages} |"


def _needs() -> Iterator[str]:
    shapes = " and ".join(f"{shape} (target {target})" for shape, target in SHAPES)
    size = said_memory(BUDGET)
    yield NEEDS.format(budget=size, shapes=shapes, short=size.replace(" ", ""))
    for name, stages in recipe_needs().items():
        for one in stages:
            memory = (
                " and ".join(map(said_memory, sizes)) for sizes in (one.training, one.inference)
            )
            work = f"{one.training_flops / 1e12:.3g} and {one.inference_flops / 1e12:.3g}"
            frozen = ", a part frozen" if one.frozen else ""
            cells = (
                f"`{name}`",
                one.stage,
                f"{one.trainings} x {one.epochs}",
                f"{one.parameters:,}{frozen}",
                one.policy,
                *memory,
                work,
            )
            yield f"| {' | '.join(cells)} |"


def page() -> str:
    """The page."""
    found, parts = rows(), [INTRO]
    parts += ["\n## Recipes\n\n| recipe | what | stages |\n|---|---|---|", *_recipes()]
    parts += _needs()
    counts = Counter(row.status for row in found)
    said = ", ".join(f"{number} {one}" for one, number in counts.most_common())
    parts.append(f"\n## Techniques\n\n{len(found)}: {said}.")
    for team in dict.fromkeys(row.team for row in found):
        parts += [f"\n### {team}\n\n{HEAD}", *(_row(row) for row in found if row.team == team)]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
