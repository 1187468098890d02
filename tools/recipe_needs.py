"""Write what each recipe needs at full size on a card: `python tools/recipe_needs.py`.

Counted without running anything; `dealias recipes` and docs/recipes.md show it. What was counted
before with the same settings is not counted again. A new large network takes a minute.
"""

from __future__ import annotations

import argparse
import json

from dealias.config.compose import recipe_names
from dealias.runs.needs import BUDGET, DEVICE, FILE, SHAPES, StageNeed, count_recipe, recipe_needs
from dealias.sizes import said_memory


def write(known: dict[str, tuple[StageNeed, ...]]) -> None:
    """Write the file, in the order of the recipes."""
    names = [name for name in recipe_names() if name in known]
    ordered = {name: [one.to_json() for one in known[name]] for name in names}
    values = {"device": DEVICE, "budget": BUDGET, "shapes": SHAPES, "recipes": ordered}
    FILE.write_text(json.dumps(values, indent=1) + "\n")


def main() -> None:
    """Count all, or some and keep the others."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="recipes whose name has this in it")
    parser.add_argument("--again", action="store_true", help="also what was counted before")
    given = parser.parse_args()
    known = dict(recipe_needs()) if FILE.exists() else {}
    counted = {one.counted: one for stages in known.values() for one in stages}
    if given.again:
        counted = {}
    for name in (name for name in recipe_names() if given.only in name):
        known[name] = count_recipe(name, counted)
        write(known)
        for one in known[name]:
            fits = "" if one.most <= BUDGET else f"  DOES NOT FIT {said_memory(BUDGET)}"
            print(f"{name} {one.stage}: {said_memory(one.most)}{fits}", flush=True)


if __name__ == "__main__":
    main()
