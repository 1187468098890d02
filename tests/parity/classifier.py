"""sMaRtIfy's classifier; run in --source PATH/FastMRI_challenge_sMaRtIfy_final.

PYTHONPATH=tests python tests/parity/classifier.py --source PATH [--write]
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import torch
from resnet import SHAPE, compare, finish, options
from torch import nn

import golden_classes
from dealias.models.published.classifier import read_classifier


def one_channel(make: Callable[..., nn.Module], source: dict[str, str]) -> dict[str, Any]:
    """What their classifier makes of images of one channel, as its checkpoint has weights."""
    network = make(num_classes=2, channels=1)
    shapes = {name: one.shape for name, one in network.state_dict().items()}
    network.double().load_state_dict(golden_classes.single(shapes))
    shape = (SHAPE[0], 1, *SHAPE[2:])
    with torch.no_grad():
        scores = network.eval()(golden_classes.images(shape))
    return {"source": source, "shape": shape, "scores": scores.flatten().tolist()}


def main() -> None:
    """Two channels and two classes; and, for a whole checkpoint, one channel."""
    asked = options()
    sys.path.insert(0, str(asked.source))
    from moe_utils.model.resnet import ResNet50

    command = ["git", "-C", str(asked.source), "rev-parse", "HEAD"]
    commit = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    worst, record = compare(ResNet50(num_classes=2, channels=SHAPE[1]), read_classifier)
    source = {"project": "sMartify-fastmri/2025_final", "commit": commit}
    if asked.write:
        text = json.dumps(one_channel(ResNet50, {**source, "torch": torch.__version__}))
        (golden_classes.FOLDER / "smartify-grey.json").write_text(text + "\n")
    finish("smartify", worst, record, source, asked.write)


if __name__ == "__main__":
    main()
