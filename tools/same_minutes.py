"""Train each network, at a small size, for the same minutes on the demo's simulated data.

    python tools/same_minutes.py --out same-minutes --minutes 3 --page docs/results.md

Minutes are CPU time of one thread, so that whatever else runs decides little. Prints
docs/results.md's table, and with --page puts it there. A study that was stopped goes on where it
was: what lies in OUT is not made again. An hour and more; --only lets two share the work.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
import yaml

from dealias.config.compose import load_recipe
from dealias.config.schema import Recipe
from dealias.data.catalogue import open_split
from dealias.models.table import build_network
from dealias.runs.rehearsal import largest_batch, train_once

CPU = torch.device("cpu")
SMALL_MAPS = {"sens_channels": 4, "sens_pools": 3}
PROMPTS = {
    "cascades": 3, "slices": 3, "features": [8, 12, 16, 20], "prompt_channels": [4, 6, 8],
    "sens_features": [4, 6, 8, 10], "sens_prompt_channels": [2, 3, 4], "prompts": [3, 3, 3],
    "prompt_size": [16, 8, 4], "encoder": [1, 1, 1], "decoder": [1, 1, 1], "bottleneck": 1,
}  # fmt: skip
FEATURES = {"features": 8, "channels": 8, "image_channels": 8, "pools": 3, **SMALL_MAPS}
IMAGES = {"space": "image", "cascades": 2}
NETWORKS: dict[str, dict[str, Any]] = {
    "unet": {"name": "unet", "channels": 16},
    "attention-unet": {"name": "attention-unet", "channels": 16, "hidden": 64},
    "varnet": {"name": "varnet", "cascades": 4, "channels": 8, "pools": 3, **SMALL_MAPS},
    "varnet, ESPIRiT": {
        "name": "varnet", "cascades": 4, "channels": 8, "pools": 3, "maps": "espirit"},
    "varnet-fc": {"name": "varnet-fc", "cascades": 4, "channels": 8, "pools": 3, "grid": [12, 12],
                  **SMALL_MAPS},
    "promptmr": {"name": "promptmr", **PROMPTS},
    "promptmr+": {"name": "promptmr+", "history": 2, **PROMPTS},
    "dircn": {"name": "dircn", "cascades": 4, "channels": 8, "groups": 2, "sens_channels": 4},
    "fivarnet": {"name": "fivarnet", **FEATURES, "stages": [
        {"space": "feature", "cascades": 3, "attention": "alias"}, IMAGES]},
    "fivarnet, large kernels": {"name": "fivarnet", **FEATURES, "stages": [
        {"space": "feature", "cascades": 3, "large_kernels": True}, IMAGES]},
    "fivarnet, PSF attention": {"name": "fivarnet", **FEATURES, "stages": [
        {"space": "feature", "cascades": 3, "attention": "psf"}, IMAGES]},
    "humus": {"name": "humus", "cascades": 2, "features": 12, "window": 4, "depths": [2, 2],
              "heads": [2, 4], "bottleneck_heads": 4, **SMALL_MAPS},
    "dhumus": {"name": "dhumus", "cascades": 2, "channels": 8, "heads": 2, "window": 4,
               "scales": [1, 4], "factors": [2, 3], "hidden": 8, **SMALL_MAPS},
    "mambarecon, learned maps": {"name": "mambarecon", "cascades": 2, "blocks": 1, "features": 32,
                                 "states": 4, "maps": "learned", **SMALL_MAPS},
    "mamba-varnet": {"name": "mamba-varnet", "cascades": 3, "stages": 1, "blocks": 1,
                     "features": 32, "states": 4, **SMALL_MAPS},
}  # fmt: skip
PARTS = ("run", "recon", "scores.json")
TABLE = re.compile(r"(<!-- same minutes[^>]*-->\n).*?(<!-- end -->)", re.DOTALL)


def dealias(*words: object) -> float:
    """Run the command line as a user would, with one thread; seconds of CPU time."""
    command = [sys.executable, "-m", "dealias", *map(str, words)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def recipe_of(settings: dict[str, Any], epochs: int, path: Path) -> Recipe:
    """The demo's recipe with another network, and the same learning rate for all."""
    values = load_recipe("demo").model_dump(mode="json", exclude_defaults=True)
    values["network"] = {"readout_crop": 0, **settings}
    values["optimiser"] = {"lr": 1e-3}
    values["training"] = {"epochs": epochs, "workers": 0, "clip_norm": 1.0,
                          "validate_every": max(1, epochs // 4)}  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(values))
    return load_recipe(str(path))


def step_seconds(recipe: Recipe, data: Path) -> tuple[float, int]:
    """Of a training step, the smallest of three, and how many there are in an epoch."""
    torch.set_num_threads(1)
    scans = open_split(data, "train")
    torch.manual_seed(0)
    network = build_network(recipe.network)
    batch = largest_batch(recipe, network, scans)
    spent = []
    for _ in range(3):
        start = time.process_time()
        train_once(network, batch, recipe.loss, CPU)
        spent.append(time.process_time() - start)
    return min(spent), recipe.masks.copies * sum(scan.slices for scan in scans)


def trained(name: str, settings: dict[str, Any], out: Path, minutes: float) -> dict[str, Any]:
    """Train, reconstruct, evaluate; what was done already is read."""
    folder = out / re.sub(r"\W+", "-", name)
    done = folder / "done.json"
    if done.exists():
        return json.loads(done.read_text())
    recipe = recipe_of(settings, 1, folder / "recipe.yaml")
    seconds, steps = step_seconds(recipe, out / "data")
    epochs = max(1, round(60 * minutes / (seconds * steps)))
    recipe_of(settings, epochs, folder / "recipe.yaml")
    data, run, recon, scores = out / "data", *(folder / name for name in PARTS)
    spent = dealias("train", folder / "recipe.yaml", "--data", data, "--out", run)
    dealias("reconstruct", run, data / "leaderboard", "--out", recon, "--overwrite")
    dealias("evaluate", recon, data / "leaderboard", "--protocol", "snu2025", "--json", scores)
    found = {"name": name, "epochs": epochs, "minutes": spent / 60,
             "parameters": sum(p.numel() for p in build_network(recipe.network).parameters()),
             "scores": json.loads(scores.read_text())}  # fmt: skip
    done.write_text(json.dumps(found))
    return found


def table(results: list[dict[str, Any]]) -> str:
    """Markdown."""
    cells = [f"{one['anatomy']} x{one['acceleration']:g}" for one in results[0]["scores"]["cells"]]
    head = ["network", "parameters", "epochs", "minutes", *cells, "total"]
    lines = [head, ["---", *["--:"] * (len(head) - 1)]]
    for one in results:
        means = [f"{cell['mean']:.4f}" for cell in one["scores"]["cells"]]
        spent = [f"{one['parameters']:,}", str(one["epochs"]), f"{one['minutes']:.1f}"]
        lines.append([one["name"], *spent, *means, f"{one['scores']['total']:.4f}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """All networks, or some."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--only", default="", help="networks whose name has this in it")
    parser.add_argument("--page", type=Path, help="put the table between its marks in this page")
    options = parser.parse_args()
    if not (options.out / "data").exists():
        dealias("simulate", "--layout", "snu", "--subjects", 8, "--slices", 5, "--coils", 8,
                "--size", "192x96", "--target", "96x96", "--snr", 25, "--seed", 430,
                "--out", options.out / "data")  # fmt: skip
    results = []
    for name, settings in NETWORKS.items():
        if options.only in name:
            results.append(trained(name, settings, options.out, options.minutes))
            print(table(results[-1:]).splitlines()[-1], flush=True)
    print(table(results))
    if options.page:
        text = options.page.read_text()
        options.page.write_text(
            TABLE.sub(lambda found: f"{found[1]}{table(results)}\n{found[2]}", text)
        )


if __name__ == "__main__":
    main()
