"""Make docs/recipes.md of tools/techniques.yaml: part of `make docs`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from dealias.config.compose import load_recipe, recipe_names, recipe_path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "recipes.md"
TECHNIQUES = ROOT / "tools" / "techniques.yaml"
INTRO = """# Recipes and techniques

What teams of the SNU fastMRI challenge and the papers around it did, and where it is here; what
they dropped stands here with their reason. Scores are theirs, on the challenge's data; none of the
recipes was trained by us at full size. `make recipes` runs every recipe whole on tiny simulated
data. Made by `tools/recipes_page.py` (`make docs`) from `tools/techniques.yaml`.

"In" is yes, part, **no**, or "other" where we do something else on purpose.
"""
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
        first = recipe_path(name).read_text().splitlines()[0].lstrip("# ")
        stages = ", ".join(load_recipe(name).stages) or "one training"
        yield f"| [`{name}`](../src/dealias/recipes/{name}.yaml) | {first} | {stages} |"


def page() -> str:
    """The page."""
    found, parts = rows(), [INTRO]
    parts += ["\n## Recipes\n\n| recipe | what | stages |\n|---|---|---|", *_recipes()]
    counts = Counter(row.status for row in found)
    said = ", ".join(f"{number} {one}" for one, number in counts.most_common())
    parts.append(f"\n## Techniques\n\n{len(found)}: {said}.")
    for team in dict.fromkeys(row.team for row in found):
        parts += [f"\n### {team}\n\n{HEAD}", *(_row(row) for row in found if row.team == team)]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
