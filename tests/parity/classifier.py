"""sMaRtIfy's classifier; run in --source PATH/FastMRI_challenge_sMaRtIfy_final.

PYTHONPATH=tests python tests/parity/classifier.py --source PATH [--write]
"""

from __future__ import annotations

import subprocess
import sys

from resnet import SHAPE, compare, finish, options

from dealias.models.published.classifier import read_classifier


def main() -> None:
    """Two channels and two classes."""
    asked = options()
    sys.path.insert(0, str(asked.source))
    from moe_utils.model.resnet import ResNet50

    command = ["git", "-C", str(asked.source), "rev-parse", "HEAD"]
    commit = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    worst, record = compare(ResNet50(num_classes=2, channels=SHAPE[1]), read_classifier)
    source = {"project": "sMartify-fastmri/2025_final", "commit": commit}
    finish("smartify", worst, record, source, asked.write)


if __name__ == "__main__":
    main()
