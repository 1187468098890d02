"""What a loader's workers make for a network on the CPU: no count of the network sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from dealias.engine.measured import measured_file, read_measured, write_measured
from dealias.engine.timing import fastest
from dealias.physics.sampling.snu import snu_mask
from dealias.runs.size import Size
from dealias.scan.maps import espirit_maps
from dealias.scan.measurement import Needs

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Preparation:
    """Sensitivity maps by ESPIRiT.

    Attributes:
        seconds: Of one sample, on one worker of this machine.
        workers: That make them, one at least.
    """

    seconds: float
    workers: int

    @property
    def each(self) -> float:
        """Seconds between one sample and the next, at best."""
        return self.seconds / self.workers


def preparation(
    needs: Needs, size: Size, workers: int, warn: Callable[[str], None] = lambda text: None
) -> Preparation | None:
    """How long a sample's maps take; measured once for a size and kept with other measurements.

    Args:
        needs: What the network asks for.
        size: Of the data.
        workers: Of the loader; none is the process that trains.
        warn: Told if it cannot be kept.

    Returns:
        None for a network that asks for no maps.
    """
    if needs.maps == "none":
        return None
    path = measured_file("maps", CPU)
    key = f"{needs.slices}x{size.coils}x{size.hw[0]}x{size.hw[1]} {needs.sets}"
    known = read_measured(path).get(key)
    if not isinstance(known, float):
        known = _measured(needs, size)
        write_measured(path, {key: known}, warn)
    return Preparation(known, max(1, workers))


def _measured(needs: Needs, size: Size) -> float:
    shape = (1, needs.slices, size.coils, *size.hw)
    kspace_BSCHW = torch.randn(shape, dtype=torch.complex64, generator=torch.Generator())
    mask = snu_mask(size.hw[1], 4)
    return fastest(
        lambda: espirit_maps(kspace_BSCHW, [mask], "a random slice", needs.crop, needs.sets), CPU
    )
