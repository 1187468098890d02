"""Write what each published configuration needs for one slice: `python tools/model_sizes.py`.

Counted without running anything; `dealias models` shows it. Each configuration takes seconds.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import dealias.models
from dealias.config.compose import load_recipe
from dealias.engine.policies import MemoryPolicy
from dealias.models.configurations import CONFIGURATIONS, Configuration
from dealias.models.sizes import FILE
from dealias.runs.footprint import Footprint
from dealias.runs.size import Size

SIZE = Size(coils=16, hw=(640, 368), target_hw=(384, 368))


def counted(one: Configuration) -> dict[str, float]:
    """Operations of one reconstruction, and most bytes that tensors hold in it and in training."""
    recipe = load_recipe("varnet").model_copy(update={"network": one.settings})
    footprint = Footprint(recipe, SIZE, "cpu", None, None)
    inference = footprint.inference_count(MemoryPolicy())
    training = footprint.training_count(MemoryPolicy())
    return {"flops": inference.flops, "inference": inference.live, "training": training.live}


def main() -> None:
    """Count all, or some and keep the others."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="configurations whose name has this in it")
    wanted = [one for one in CONFIGURATIONS if parser.parse_args().only in one.name]
    path = Path(dealias.models.__file__).parent / FILE
    known = json.loads(path.read_text())["configurations"] if path.exists() else {}
    for one in wanted:
        known[one.name] = counted(one)
        print(one.name, known[one.name], flush=True)
    ordered = {name: known[name] for name in CONFIGURATIONS.names if name in known}
    values = {"size": str(SIZE), "configurations": ordered}
    path.write_text(json.dumps(values, indent=1) + "\n")


if __name__ == "__main__":
    main()
