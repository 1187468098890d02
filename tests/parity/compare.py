"""Compare a network with the code it was published in, and write the golden file of a test.

    PYTHONPATH=tests python tests/parity/fastmri_networks.py --source PATH/TO/fastMRI [--write]

PATH is a checkout of the reference's repository. In float64, with the same weights.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import golden
from dealias.models.network import NetworkSettings
from dealias.models.published.source import Published
from dealias.models.table import build_network
from dealias.physics.sampling.mask import SamplingMask

BOUND = 1e-10


@dataclass(frozen=True)
class Case:
    """One configuration, with the reference's network and how it is called.

    Attributes:
        name: Of the golden file.
        settings: Ours.
        published: How the reference's parameters are named here.
        make: The reference's network (its weights will be replaced).
        call: Network, masked k-space (B, S, C, H, W) complex128 and mask to image (B, H, W).
        shape: Of k-space.
        mask: A recipe for `golden.mask`.
        target: Grid of the image that is compared; the image's own where None.
        differs: What of it we do otherwise on purpose, for the printout.
        kept: How many gradients the golden file keeps, evenly; all are compared when it is written.
    """

    name: str
    settings: NetworkSettings
    published: Published
    make: Callable[[], nn.Module]
    call: Callable[[nn.Module, Tensor, SamplingMask], Tensor]
    shape: Sequence[int]
    mask: Mapping[str, Any]
    target: tuple[int, int] | None = None
    differs: str = ""
    kept: int | None = None


def theirs(case: Case) -> tuple[Tensor, dict[str, Tensor], dict[str, list[int]]]:
    """The reference's image, gradients, and the shapes of its parameters, all by its names."""
    network = case.make().double()
    shapes = {name: list(p.shape) for name, p in network.named_parameters(remove_duplicate=False)}
    own = dict(network.named_parameters())
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(golden.drawn(name, parameter.shape))
    y, mask = golden.kspace(case.shape), golden.mask(case.mask)
    masked = y * torch.tensor(mask.lines, dtype=torch.float64)
    image = case.call(network, masked, mask)
    return image, golden.gradients(network, image), {name: shapes[name] for name in own}


def built(settings: NetworkSettings, named: Mapping[str, Tensor]) -> nn.Module:
    """Our network with weights by our names; none may be missing or left over."""
    network = build_network(settings).double()
    network.load_state_dict(named)
    return network


def off(found: Tensor, wanted: Tensor, floor: float = 0) -> float:
    """Relative difference; what is almost zero counts beside the floor."""
    norm = max(float(torch.linalg.norm(wanted.detach())), floor)
    return float(torch.linalg.norm(found.detach() - wanted.detach())) / max(norm, 1e-300)


def compare(case: Case) -> tuple[float, float, dict[str, Any]]:
    """Relative error of the image, of the worst gradient, and the golden record."""
    image, wanted, shapes = theirs(case)
    network = built(case.settings, case.published.convert(golden.weights(shapes)))
    found_image = golden.image(network, vars(case))
    found = golden.gradients(network, found_image)
    renamed = case.published.convert(wanted)
    floor = 1e-3 * max(float(torch.linalg.norm(one)) for one in renamed.values())
    if missing := sorted(set(renamed) - set(found)):
        raise SystemExit(f"{case.name}: no gradient here for {', '.join(missing[:9])}")
    worst = max(off(found[name], one, floor) for name, one in renamed.items())
    norms = {name: float(torch.linalg.norm(one)) for name, one in renamed.items()}
    kept = thinned(norms, case.kept)
    record = {
        "settings": case.settings.model_dump(mode="json"),
        "published": case.published.name,
        "shape": list(case.shape), "mask": dict(case.mask), "target": case.target,
        "shapes": shapes, "image": golden.sampled(image), "norms": kept,
        "gradients": golden.products({name: renamed[name] for name in kept}),
    }  # fmt: skip
    return off(found_image, image), worst, record


def thinned(norms: Mapping[str, float], count: int | None) -> dict[str, float]:
    """So many of them, evenly, and the largest, beside which the small ones count."""
    names = list(norms)[:: max(1, -(-len(norms) // count))] if count else norms
    largest = max(norms, key=lambda name: norms[name])
    return {name: norms[name] for name in dict.fromkeys([*names, largest])}


def main(project: str, cases: Callable[[], Sequence[Case]]) -> None:
    """The command line of one project's comparison.

    Args:
        project: owner/name of the repository that must be checked out.
        cases: Makes the cases, once the checkout can be imported from.
    """
    parser = argparse.ArgumentParser(description=f"Compare with {project}.")
    parser.add_argument("--source", type=Path, required=True, help=f"a checkout of {project}")
    parser.add_argument("--write", action="store_true", help="write the golden files")
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    options = parser.parse_args()
    sys.path.insert(0, str(options.source))
    command = ["git", "-C", str(options.source), "rev-parse", "HEAD"]
    commit = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    failed = False
    for case in (one for one in cases() if options.only in one.name):
        image, gradient, record = compare(case)
        print(f"{case.name}: image {image:.1e}, worst gradient {gradient:.1e}  {case.differs}")
        good = image < BOUND and gradient < BOUND
        failed |= not good
        if options.write and good:
            source = {"project": project, "commit": commit, "torch": torch.__version__}
            path = golden.FOLDER / f"{case.name}.json"
            path.write_text(json.dumps({"source": source, **record}) + "\n")
    raise SystemExit(failed)
