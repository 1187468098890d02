"""A volume to be written: what a simulated scanner or a converter hands to a layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from dealias.physics.sampling.mask import SamplingMask

Kspace = npt.NDArray[np.complex64]
Images = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Volume:
    """One volume in memory.

    Attributes:
        name: File stem.
        kspace_ZCHW: Complex64, full or already masked.
        mask: The mask it was, or is to be, sampled with.
        full: Whether k-space is fully sampled.
        anatomy: "brain" or "knee".
        acceleration: Nominal.
        target_ZHW: Root-sum-of-squares of the full k-space on the target's grid, or None.
        input_ZHW: The zero-filled image, or None.
        grappa_ZHW: The GRAPPA image, or None where none was made.
        attributes: More numbers and short texts to store, such as simulated=1.
    """

    name: str
    kspace_ZCHW: Kspace
    mask: SamplingMask
    full: bool
    anatomy: str
    acceleration: int
    target_ZHW: Images | None = None
    input_ZHW: Images | None = None
    grappa_ZHW: Images | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
