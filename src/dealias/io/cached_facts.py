"""What a cached volume's file says of itself: a safetensors header that follows from its facts."""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.scan import Box, Cell

TYPES = {"C64": "<c8", "F32": "<f4", "U8": "|u1"}


class MaskFacts(BaseModel):
    """A mask of phase-encode lines, see SamplingMask; `lines` are the indices of those sampled."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int
    lines: tuple[int, ...]
    acs: tuple[int, int]
    nominal: float | None
    family: str
    offset: int | None

    @classmethod
    def of(cls, mask: SamplingMask) -> MaskFacts:
        """What is written of a mask over lines."""
        lines = tuple(np.flatnonzero(mask.lines).tolist())
        return cls(width=mask.width, lines=lines, acs=mask.acs, nominal=mask.nominal,
                   family=mask.family, offset=mask.offset)  # fmt: skip

    def mask(self) -> SamplingMask:
        """The mask."""
        lines = np.zeros(self.width, dtype=bool)
        lines[list(self.lines)] = True
        return SamplingMask(lines, self.acs, self.nominal, self.family, self.offset)


class Facts(BaseModel):
    """Everything about a cached volume that is no large array.

    Attributes:
        name: The scan's.
        id: Its content hash, taken from k-space.
        shape: (Z, C, H, W) of k-space.
        rows: [start, stop) of H that are kept.
        full: Whether k-space was fully sampled.
        mask: The scan's own, or None.
        target_hw: Grid of the target.
        spacing_mm: See Geometry.
        padding: See Geometry.
        cell: Anatomy and acceleration, or None.
        data_range: As the data set states it, or None.
        maximum: Maximum of the target over the volume; None where there is no target.
        threshold: That the foreground was made with.
        boxes: Lesion boxes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    id: str
    shape: tuple[int, int, int, int]
    rows: tuple[int, int]
    full: bool
    mask: MaskFacts | None
    target_hw: tuple[int, int]
    spacing_mm: tuple[float, float, float] | None
    padding: tuple[int, int] | None
    cell: Cell | None
    data_range: float | None
    maximum: float | None
    threshold: float
    boxes: tuple[Box, ...]

    def arrays(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Type and shape of each array, in the order in which they are stored."""
        z, c, _, w = self.shape
        found: dict[str, tuple[str, tuple[int, ...]]] = {
            "hybrid": ("C64", (z, c, self.rows[1] - self.rows[0], w)),
            "peaks": ("F32", (z, w)),
            "largest": ("F32", (z,)),
        }
        if self.maximum is not None:
            found |= {"target": ("F32", (z, *self.target_hw))}
            found |= {"foreground": ("U8", (z, *self.target_hw))}
        return found

    def header(self) -> tuple[bytes, dict[str, int]]:
        """The file's first bytes, and where each array begins."""
        said = self.model_dump_json()
        layout: dict[str, Any] = {"__metadata__": {"dealias_cache": said}}
        end, starts = 0, {}
        for name, (kind, shape) in self.arrays().items():
            start, end = end, end + size_of(kind, shape)
            layout[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
            starts[name] = start
        text = json.dumps(layout, separators=(",", ":")).encode()
        text += b" " * (-(len(text) + 8) % 64)  # arrays lie at multiples of a cache line
        first = struct.pack("<Q", len(text)) + text
        return first, {name: len(first) + start for name, start in starts.items()}

    def digest(self) -> str:
        """Of the file's first bytes."""
        return hashlib.sha256(self.header()[0]).hexdigest()[:16]

    def bytes(self) -> int:
        """Size of the file."""
        return len(self.header()[0]) + sum(size_of(*one) for one in self.arrays().values())


def size_of(kind: str, shape: tuple[int, ...]) -> int:
    """Bytes of an array."""
    return int(np.dtype(TYPES[kind]).itemsize * np.prod(shape, dtype=np.int64))
