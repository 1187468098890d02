"""Some slices of a scan, as a scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dealias.scan.scan import ImageKind, Scan


@dataclass(frozen=True)
class Chosen:
    """A source that has some of another's slices."""

    scan: Scan
    slices: Sequence[int]

    def kspace(self, z: slice) -> np.ndarray:
        """k-space of the chosen slices."""
        return np.concatenate([self.scan.kspace(i) for i in self.slices[z]])

    def image(self, kind: ImageKind, z: slice) -> np.ndarray | None:
        """Images of the chosen slices."""
        found = [self.scan.image(kind, i) for i in self.slices[z]]
        return None if found[0] is None else np.concatenate(found)  # type: ignore[arg-type]


def thinned(scan: Scan, slices: Sequence[int]) -> Scan:
    """The scan with these slices alone."""
    return replace(scan, shape=(len(slices), *scan.shape[1:]), source=Chosen(scan, slices))
