"""One training step of E2E-VarNet, ours against fastmri 0.3.0's, interleaved, as a ratio.

    python benchmarks/varnet_step.py                        # published size, 16 x 640 x 368
    python benchmarks/varnet_step.py --size 4x256x256 --cascades 6 --channels 12

Both get the same k-space, mask and sizes; the loss is the sum of the image, so that forward and
backward of the network alone are compared. Reading and masking are part of neither library's step
but for our `measure`, which transforms the readout once.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
import warnings
from collections.abc import Callable

import torch

from dealias.models.varnet import VarNet, VarNetSettings
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.measurement import measure

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastmri.models import VarNet as Reference


def main() -> None:
    """Measure and print medians and their ratio."""
    arguments = parsed()
    coils, height, width = map(int, arguments.size.split("x"))
    mask = snu_mask(width, 4)
    kspace = torch.randn(1, 1, coils, height, width, dtype=torch.complex64)
    steps = {
        "dealias": ours(arguments, kspace, mask),
        "fastmri 0.3.0": theirs(arguments, kspace, mask),
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(arguments.rounds + 1):  # the first round warms up and is dropped
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, "
          f"torch {torch.__version__}, {arguments.size}, {arguments.cascades} cascades, "
          f"{arguments.channels} channels, {arguments.rounds} rounds")  # fmt: skip
    for name, value in medians.items():
        print(f"{name:14} {value:8.3f} s a step (median)")
    print(f"ratio          {medians['dealias'] / medians['fastmri 0.3.0']:8.3f}")


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="16x640x368", help="coils x readout x phase encode")
    parser.add_argument("--cascades", type=int, default=12)
    parser.add_argument("--channels", type=int, default=18)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def ours(arguments: argparse.Namespace, kspace: torch.Tensor, mask: object) -> Callable[[], None]:
    """Forward and backward of dealias's VarNet."""
    settings = VarNetSettings(cascades=arguments.cascades, channels=arguments.channels)
    network = VarNet(settings)

    def step() -> None:
        size = (kspace.shape[-2], kspace.shape[-1])
        measurement = measure(kspace, (mask,), size, network.needs)  # type: ignore[arg-type]
        network(measurement).image_BHW.sum().backward()
        network.zero_grad(set_to_none=True)

    return step


def theirs(arguments: argparse.Namespace, kspace: torch.Tensor, mask: object) -> Callable[[], None]:
    """Forward and backward of the reference."""
    network = Reference(num_cascades=arguments.cascades, chans=arguments.channels)
    lines = torch.as_tensor(mask.lines.copy())  # type: ignore[attr-defined]
    masked = torch.view_as_real(torch.where(lines, kspace[:, 0], 0)).contiguous()
    lines_1111 = lines.reshape(1, 1, 1, -1, 1)
    acs = torch.tensor([mask.acs_count])  # type: ignore[attr-defined]

    def step() -> None:
        network(masked, lines_1111, acs).sum().backward()
        network.zero_grad(set_to_none=True)

    return step


if __name__ == "__main__":
    main()
