"""Every recipe whole, on tiny simulated data: train all stages, reconstruct, evaluate, report.

At last it is trained twice more, in two processes: every loss, gradient norm and weight of all
stages has to be bit-equal (`dealias study repro`).

    python tools/recipes.py [NAME ...]

Each recipe is run by the commands that a person would type, with a small network of its own kind
and structure and two epochs. A line a recipe says what came out; the exit code is 1 if any failed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from dealias.cli.main import app
from dealias.config.compose import load_recipe, recipe_names, stage_recipes, written
from dealias.config.schema import Recipe
from dealias.config.strict import write_yaml
from dealias.data.simulate import SimulateSettings, simulate
from dealias.data.strength import StrengthSettings
from dealias.models.table import NETWORKS

SIZES = {
    "anchors", "bottleneck", "channels", "decoder", "encoder", "expand", "factors", "features",
    "grid", "heads", "hidden", "image_channels", "kernel", "patch", "pools", "prompt_channels",
    "prompt_size", "scales", "sens_channels", "sens_features", "sens_pools", "sens_prompt_channels",
    "states", "stride", "window",
}  # fmt: skip
"""Settings of networks that say how large they are, and not what they are made of."""
CASCADES = 2
CLASSIFIER = ("classifier.network.widths=[4,8]", "classifier.network.depths=[1,1]")
"""A small one."""
YEARS = {"ensemble2022": 2022, "ensemble2022_mixup": 2022, "sungsimdang_promptmr": 2024}
"""Challenges of recipes that are not of 2025."""
Values = dict[str, Any]


def tiny(recipe: Recipe, *overrides: str) -> Recipe:
    """A recipe with small networks of the same structure; augmentation is on from the beginning.

    Args:
        recipe: Of any size.
        overrides: Of every stage, such as training.epochs=1.

    Returns:
        A recipe with the same stages.
    """
    values = written(recipe)
    deep = any(stage.freeze for stage in recipe.stages.values())
    own = stage_recipes(recipe)
    for name, stage in own.items():
        if stage.task == "anatomy":
            # it learns every anatomy, on splits of its own
            changed = [*CLASSIFIER, *(one for one in overrides if not one.startswith("data."))]
        else:
            changed = [*_overrides(_smaller(stage, deep)), *_from_the_beginning(stage), *overrides]
        values["stages"][name]["set"] = [*values["stages"][name].get("set", ()), *changed]
    if own:
        return _checked(values, [])
    values["network"] = {**values.get("network", {}), **_smaller(recipe, deep)}
    return _checked(values, [*_from_the_beginning(recipe), *overrides])


def _checked(values: Values, overrides: list[str]) -> Recipe:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{values['name']}.yaml"
        path.write_text(write_yaml(values))
        return load_recipe(str(path), overrides)


def _smaller(recipe: Recipe, deep: bool) -> Values:
    """Sizes of the table's small network of the same kind, and few cascades unless some freeze."""
    network = recipe.network
    small = NETWORKS[network.name].tiny.model_dump(mode="json")
    sizes = {key: one for key, one in small.items() if key in SIZES}
    full = network.model_dump(mode="json")
    for key in ("cascades", "stages", "blocks"):
        if isinstance(full.get(key), int) and not deep:
            sizes[key] = min(full[key], CASCADES)
    if isinstance(full.get("stages"), list):
        sizes["stages"] = [{**stage, "cascades": 1} for stage in full["stages"]]
    return sizes


def _from_the_beginning(recipe: Recipe) -> list[str]:
    """Strengths at what they come to, in the first epoch as in the last."""
    parts = {"augment.strength": recipe.augment.strength,
             "masks.probability": recipe.masks.probability}  # fmt: skip
    plain = {"kind": "constant", "delay": 0, "until": None, "hold": None, "points": []}
    return [
        f"{path}.{key}={_text(one)}"
        for path, strength in parts.items()
        if strength != StrengthSettings()
        for key, one in plain.items()
    ]


def _overrides(sizes: Values) -> Iterable[str]:
    return (f"network.{key}={_text(one)}" for key, one in sizes.items())


def _text(value: Any) -> str:
    """A value in the grammar of overrides."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_text(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_text, value)) + "]"
    return json.dumps(value) if not isinstance(value, str) else value


def dataset(folder: Path, year: int) -> Path:
    """One person a cell in each set, two slices each."""
    path = folder / f"data-{year}"
    if not path.exists():
        settings = SimulateSettings(
            year=year, subjects=3, slices=2, coils=3, size=(64, 64), target=(48, 48)  # type: ignore[arg-type]
        )  # fmt: skip
        simulate(settings, path, lambda done: None)
    return path


def run(name: str, folder: Path) -> str:
    """All steps of a recipe.

    Args:
        name: Of the recipe.
        folder: For data and results.

    Returns:
        What came out.

    Raises:
        RuntimeError: A step failed.
    """
    recipe = tiny(load_recipe(name), "training.epochs=2", "training.workers=0")
    data = dataset(folder, YEARS.get(recipe.name, 2025))
    place = folder / name.replace("/", "-")
    place.mkdir()
    path, out, recon = place / f"{recipe.name}.yaml", place / "run", place / "recon"
    path.write_text(write_yaml(written(recipe)))
    steps = {
        "train": [path, "--data", data, "--out", out, "--device", "cpu", "--quiet"],
        "reconstruct": [out, data / "leaderboard", "--out", recon, "--device", "cpu", "--quiet"],
        "evaluate": [recon, data / "leaderboard", "--protocol", recipe.protocol, "--quiet",
                     "--json", place / "scores.json", "--out", out / "evaluations" / "test"],
        "report": [out],
    }  # fmt: skip
    began = time.monotonic()
    for command, arguments in steps.items():
        _command(command, arguments)
    seconds = time.monotonic() - began
    twice = _command("study", ["repro", path, "--data", data, "--steps", 9999, "--device", "cpu"])
    scores = json.loads((place / "scores.json").read_text())
    trainings = len(list(out.rglob("finished.json")))
    images = len(list(recon.rglob("*.h5")))
    size = (out / "report.html").stat().st_size // 1000
    return (
        f"{seconds:5.0f} s  {trainings} trainings, {images} volumes, "
        f"SSIM {scores['total']:.4f}, report {size} kB; "
        f"{twice.splitlines()[0]}"
    )


def _command(command: str, arguments: list[Any]) -> str:
    done = CliRunner().invoke(app, [command, *map(str, arguments)])
    if done.exit_code:
        raise RuntimeError(f"{command}: exit code {done.exit_code}: {done.exception!r}\n"
                           f"{done.output[-2000:]}")  # fmt: skip
    return done.stdout


def main() -> int:
    """Run them; the number of those that failed decides the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="Recipes; all without any.")
    names = parser.parse_args().names or recipe_names()
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            try:
                found = run(name, Path(folder))
            except RuntimeError as error:
                failed.append(name)
                found = f"FAILED: {error}"
            print(f"{name:32} {found}", flush=True)
    print(f"{len(names) - len(failed)} of {len(names)} recipes ran whole, on simulated data")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
