"""Compare ResNet-50 with torchvision's, and write the golden file.

    PYTHONPATH=tests python tests/parity/resnet.py --source PATH/TO/torchvision [--write]

PATH is the package's folder, installed or from an unpacked wheel; one file of it alone is run.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import torch
from compare import BOUND, off
from torch import Tensor, nn

import golden
import golden_classes
from dealias.models.resnet import ResNet50, ResNetSettings
from golden_classes import MODES, State, run

SHAPE = (3, 2, 41, 56)
"""Of the images (N, C, H, W)."""
Convert = Callable[[State], tuple[ResNetSettings, State]]


def compare(network: nn.Module, convert: Convert) -> tuple[float, dict[str, Any]]:
    """The worst relative error of anything, and the golden record.

    Args:
        network: The reference's; its weights are replaced.
        convert: Its state dict to our settings and weights; gradients go through it as well.
    """
    shapes = {name: list(one.shape) for name, one in network.state_dict().items()}
    settings, weights = convert(golden_classes.weights(shapes))
    record = {"settings": settings.model_dump(mode="json"), "shapes": shapes, "shape": SHAPE}
    errors: list[float] = []
    for mode in MODES:
        network.double().load_state_dict(golden_classes.weights(shapes))
        ours = ResNet50(settings).double()
        ours.load_state_dict(weights)
        scores, wanted, after = theirs(network, convert, mode)
        found_scores, found, found_after = run(ours, SHAPE, mode)
        floor = 1e-3 * max(float(torch.linalg.norm(one)) for one in wanted.values())
        errors += [off(found_scores, scores)]
        errors += [off(found[name], wanted[name], floor) for name in found]
        errors += [off(found_after[name].double(), one.double()) for name, one in after.items()]
        record[mode] = {
            "scores": scores.flatten().tolist(),
            "norms": {name: float(torch.linalg.norm(one)) for name, one in wanted.items()},
            "gradients": golden.products(wanted),
            "running": golden.products({k: one for k, one in after.items() if "running" in k}),
        }
    assert all(math.isfinite(error) for error in errors)
    return max(errors), record


def theirs(network: nn.Module, convert: Convert, mode: str) -> tuple[Tensor, State, State]:
    """The reference's scores, gradients, and state after, the last two by our names."""
    scores, gradients, after = run(network, SHAPE, mode)
    buffers = {name: torch.zeros_like(one) for name, one in after.items() if name not in gradients}
    named = convert({**buffers, **gradients})[1]
    wanted = {name: one for name, one in named.items() if not _is_buffer(name)}
    return scores, wanted, convert(after)[1]


def _is_buffer(name: str) -> bool:
    return "running" in name or "batches" in name


def finish(
    name: str, worst: float, record: dict[str, Any], source: dict[str, str], write: bool
) -> None:
    """Say how it went, write if asked to, and leave with the exit status."""
    sys.stdout.write(f"{name}: worst of scores, gradients and running means {worst:.1e}\n")
    if write and worst < BOUND:
        golden_classes.FOLDER.mkdir(exist_ok=True)
        text = json.dumps({"source": {**source, "torch": torch.__version__}, **record})
        (golden_classes.FOLDER / f"{name}.json").write_text(text + "\n")
    raise SystemExit(worst >= BOUND)


def options() -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--write", action="store_true", help="write the golden file")
    return parser.parse_args()


def torchvisions(package: Path) -> ModuleType:
    """Its file of ResNets, with stand-ins for the tables of weights that the file imports."""
    for name in ("", ".utils", ".transforms", ".transforms._presets", ".models", ".models._api",
                 ".models._meta", ".models._utils"):  # fmt: skip
        sys.modules[f"torchvision{name}"] = MagicMock(__path__=[])
    sys.modules["torchvision.models._api"].WeightsEnum = object  # type: ignore[attr-defined]
    path = package / "models" / "resnet.py"
    spec = importlib.util.spec_from_file_location("torchvision.models.resnet", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Two channels and three classes, so that neither is forgotten."""
    asked = options()
    module = torchvisions(asked.source)
    network = module.ResNet(module.Bottleneck, [3, 4, 6, 3], num_classes=3)
    network.conv1 = nn.Conv2d(SHAPE[1], 64, 7, 2, 3, bias=False)
    settings = ResNetSettings(in_channels=SHAPE[1], classes=3)
    worst, record = compare(network, lambda state: (settings, state))
    commit = re.search(r"git_version = '(\w+)'", (asked.source / "version.py").read_text())
    source = {"project": "pytorch/vision", "commit": commit[1] if commit else "unknown"}
    finish("torchvision", worst, record, source, asked.write)


if __name__ == "__main__":
    main()
