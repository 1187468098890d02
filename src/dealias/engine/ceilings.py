"""What a device can do at most: nothing runs faster than its arithmetic and its memory allow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields

import torch
from torch import Tensor

from dealias.engine.measured import measured_file, read_measured, write_measured
from dealias.engine.timing import OWN_CACHE, cold, fastest

_LINKS = 50
"""In a chain that tells what operations cost apart from their work, each of four of them."""
_FEW = 2
"""Links that hardly know each other from the caches."""


@dataclass(frozen=True)
class Ceilings:
    """Of one device.

    Attributes:
        flops: Per second, of a product of two float32 matrices.
        bytes: Per second, read and written by a copy.
        call: Seconds that torch and Python spend on one operation, forward or backward, beside its
            work.
        cold_call: The same among others that move much data, and push Python's out of the caches.
    """

    flops: float
    bytes: float
    call: float
    cold_call: float

    def floor(self, flops: float, moved: float) -> float:
        """Seconds below which no work of so many FLOPs and bytes can be done."""
        return max(flops / self.flops, moved / self.bytes)

    def beside(self, moved: int) -> float:
        """Seconds beside the work of an operation that moves so many bytes."""
        return self.call if moved < OWN_CACHE else self.cold_call


def known_ceilings(device: torch.device) -> Ceilings | None:
    """Those of an earlier measurement, or None."""
    values = read_measured(measured_file("ceilings", device))
    try:
        found = Ceilings(**{one.name: float(values[one.name]) for one in fields(Ceilings)})
    except (KeyError, TypeError, ValueError):
        return None
    return found if min(asdict(found).values()) > 0 else None


def measure_ceilings(
    device: torch.device, warn: Callable[[str], None] = lambda text: None
) -> Ceilings:
    """Measure a device, in about a second, and keep the figures in the user's cache folder.

    Args:
        device: Which; it should have nothing else to do.
        warn: Told if they cannot be kept.
    """
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        found = Ceilings(_flops(device), _bytes(device), *_calls(device))
    write_measured(measured_file("ceilings", device), asdict(found), warn)
    return found


def _flops(device: torch.device) -> float:
    size = 4096 if device.type == "cuda" else 1024
    a = torch.randn(size, size, device=device)
    out = torch.empty_like(a)
    return 2 * size**3 / fastest(lambda: torch.mm(a, a, out=out), device, 0.4, 50)


def _bytes(device: torch.device) -> float:
    # far beyond any cache
    source = torch.ones(1 << (28 if device.type == "cuda" else 25), device=device)
    target = torch.ones_like(source)
    return 2 * source.nbytes / fastest(lambda: target.copy_(source), device, 0.4, 50)


def _calls(device: torch.device) -> tuple[float, float]:
    x = torch.ones(1, 1, device=device, requires_grad=True)

    def chain(links: int) -> None:
        y: Tensor = x
        for _ in range(links):
            y = y.view(1, 1) * 1.0
        y.sum().backward()  # type: ignore[no-untyped-call]

    # each link is two operations, and has two in the backward pass
    call = fastest(lambda: chain(_LINKS), device, 0.1, 20) / (4 * _LINKS)
    if device.type == "cuda":  # whose data do not go through the processor's caches
        return call, call
    # in networks between the two, as `timing.usual` says of their work
    return call, (call + cold(lambda: chain(_FEW), device, 15) / (4 * _FEW)) / 2
