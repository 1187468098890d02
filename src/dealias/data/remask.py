"""Which mask a training sample is seen through; drawn by counted randomness."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from dealias.errors import DataError
from dealias.io.mask import load_mask
from dealias.physics.sampling.mask import SamplingMask
from dealias.physics.sampling.table import FAMILIES
from dealias.randomness import generator
from dealias.scan.scan import Scan
from dealias.table import nearest


class MaskSettings(BaseModel):
    """How training scans are masked.

    Attributes:
        kind: "stored" takes each scan's own mask; "file" re-masks fully sampled scans by one stored
            mask; the name of a family draws an acceleration, and a mask of that family.
        accelerations: To draw from, with equal chances.
        centre_fraction: Share of ACS lines; the challenge's rule has its own.
        file: The mask of kind "file": .npy, or .h5 with `mask`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str = "stored"
    accelerations: tuple[int, ...] = Field(default=(4, 8), min_length=1)
    centre_fraction: float = Field(default=0.08, gt=0, lt=1)
    file: Path | None = None

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        names = ["stored", "file", *FAMILIES.names]
        if kind not in names:
            raise ValueError(f"one of {', '.join(names)}; {nearest(kind, names)}".rstrip("; "))
        return kind

    @model_validator(mode="after")
    def _has_its_file(self) -> MaskSettings:
        if (self.kind == "file") != (self.file is not None):
            raise ValueError("kind=file and file go together: set both or neither")
        return self


def training_mask(
    settings: MaskSettings, scan: Scan, seed: int, epoch: int, index: int
) -> SamplingMask:
    """The mask of one sample in one epoch.

    Args:
        settings: How.
        scan: Of which scan.
        seed: The run's seed.
        epoch: Of the run.
        index: Of the sample.

    Returns:
        The mask: a function of the arguments alone.

    Raises:
        DataError: The scan has no mask of its own, or is masked already and cannot be re-masked.
    """
    if settings.kind == "stored":
        if scan.mask is None:
            raise DataError(scan.name, "no mask", "a stored one", "set masks.kind=snu")
        return scan.mask
    if not scan.full:
        do = "set masks.kind=stored"
        raise DataError(scan.name, "k-space that is masked already", "fully sampled k-space", do)
    if settings.file is not None:
        return _stored(settings.file, scan)
    rng = generator(seed, "mask", epoch, index)
    hw, acceleration = (scan.shape[2], scan.shape[3]), int(rng.choice(settings.accelerations))
    return FAMILIES[settings.kind].draw(hw, acceleration, settings.centre_fraction, rng)


def _stored(path: Path, scan: Scan) -> SamplingMask:
    mask = _load(path)
    if mask.lines.shape not in (scan.shape[3:], scan.shape[2:]):
        expected = f"{scan.shape[3:]} or {scan.shape[2:]}, as {scan.name} has"
        raise DataError(path, f"a mask of shape {mask.lines.shape}", expected, "set masks.file")
    return mask


_load = cache(load_mask)
