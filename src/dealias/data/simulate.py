"""Data sets of a simulated scanner, in the exact layouts of the challenge and of fastMRI."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field

from dealias.errors import SettingsError
from dealias.io.volume import Volume
from dealias.io.write_fastmri import write_fastmri
from dealias.io.write_snu import write_snu
from dealias.physics.anatomy import Subject, render
from dealias.physics.coils import rss
from dealias.physics.fourier import ifft
from dealias.physics.readout import centre_crop_or_pad
from dealias.physics.sampling.snu import snu_mask
from dealias.physics.scanner import Scanner
from dealias.randomness import generator

CELLS = {
    2022: (("brain", 5),),
    2024: (("brain", 4), ("brain", 5), ("brain", 8)),
    2025: (("brain", 4), ("brain", 8), ("knee", 4), ("knee", 8)),
}
CHALLENGE_HW = {"brain": (768, 396), "knee": (640, 368)}
CHALLENGE_TARGET = (384, 384)
SIGNAL = {"brain": 2.2e-4, "knee": 0.9e-4}
"""Mean signal, so that the challenge's absolute thresholds separate anatomy from noise."""


class SimulateSettings(BaseModel):
    """What to simulate.

    Attributes:
        layout: "snu" or "fastmri".
        year: Of the challenge: which anatomies and accelerations there are.
        subjects: People for each cell (anatomy x acceleration); no person is in two sets.
        slices: Slices of each.
        coils: C, or None for 4 to 20 at random.
        size: (H, W) of k-space, readout oversampling included, or None for the challenge's sizes.
        target: (H, W) of the target, or None for the challenge's 384 x 384 or half of H.
        snr: Of the scanner (see physics.scanner.Scanner).
        seed: Of everything.
        volumes: NIfTI files to scan instead of random anatomy, one person each.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    layout: Literal["snu", "fastmri"] = "snu"
    year: Literal[2022, 2024, 2025] = 2025
    subjects: int = Field(default=5, ge=1)
    slices: int = Field(default=8, ge=1)
    coils: int | None = Field(default=None, ge=1, le=64)
    size: tuple[int, int] | None = None
    target: tuple[int, int] | None = None
    snr: float = Field(default=30.0, gt=0)
    seed: int = Field(default=430, ge=0)
    volumes: tuple[Path, ...] = ()

    def sizes(self, anatomy: str) -> tuple[tuple[int, int], tuple[int, int]]:
        """Encoded and target (H, W)."""
        if self.size is None:
            return CHALLENGE_HW[anatomy], self.target or CHALLENGE_TARGET
        return self.size, self.target or (self.size[0] // 2, self.size[1])


@dataclass(frozen=True)
class Plan:
    """One volume to be made."""

    split: str
    name: str
    anatomy: str
    acceleration: int
    subject: int


def plan(settings: SimulateSettings) -> list[Plan]:
    """All volumes of a data set: one split for each person, shares about 70, 15 and 15 %.

    Raises:
        SettingsError: There are fewer people than the three sets need.
    """
    people = len(settings.volumes) or settings.subjects
    if people < 3:
        raise SettingsError("--subjects", f"{people}", "at least 3: train, val and leaderboard")
    held = max(1, round(0.15 * people))
    train = people - 2 * held
    plans, number = [], 0
    for anatomy, acceleration in CELLS[settings.year]:
        if settings.volumes and anatomy != "brain":
            continue
        for person in range(people):
            split = "train" if person < train else "val" if person < train + held else "test"
            position = person + 1 if split != "test" else person - train - held + 1
            folder, name = _place(settings, split, anatomy, acceleration, position)
            # a head from a file is one person at every acceleration; it never changes sets
            subject = person if settings.volumes else number
            plans.append(Plan(folder, name, anatomy, acceleration, subject))
            number += 1
    return plans


def simulate(settings: SimulateSettings, out: Path, progress: Callable[[int], None]) -> int:
    """Make a data set.

    Args:
        settings: What to make.
        out: Where; must be new or empty.
        progress: Called with 1 after each volume.

    Returns:
        Number of volumes.

    Raises:
        SettingsError: The folder is not empty.
        DiskError: It cannot be written.
    """
    if out.exists() and any(out.iterdir()):
        raise SettingsError(out, "a folder with files", "a new or empty folder", "choose --out")
    plans = plan(settings)
    for item in plans:
        write = write_snu if settings.layout == "snu" else write_fastmri
        write(out, item.split, make_volume(settings, item))
        progress(1)
    return len(plans)


def make_volume(settings: SimulateSettings, item: Plan) -> Volume:
    """Simulate one volume."""
    encoded_hw, target_hw = settings.sizes(item.anatomy)
    rng = generator(settings.seed, "scanner", item.subject, item.acceleration)
    coils = settings.coils or int(rng.integers(4, 21))
    oversampling = encoded_hw[0] / target_hw[0]
    scanner = Scanner(encoded_hw, coils, settings.snr, oversampling, SIGNAL[item.anatomy])
    maps_CHW = scanner.maps(rng)
    kspace_ZCHW = np.stack(
        [scanner.acquire(image, maps_CHW, rng) for image in _objects(settings, item, scanner)]
    )
    mask = snu_mask(encoded_hw[1], item.acceleration)
    masked_ZCHW = np.where(mask.lines, kspace_ZCHW, 0).astype(np.complex64)
    full = not (item.split.startswith("leaderboard") or item.split == "test")
    return Volume(
        name=item.name,
        kspace_ZCHW=kspace_ZCHW if full else masked_ZCHW,
        mask=mask,
        full=full,
        anatomy=item.anatomy,
        acceleration=item.acceleration,
        target_ZHW=rss_images(kspace_ZCHW, target_hw),
        input_ZHW=rss_images(masked_ZCHW, target_hw),
        attributes={"simulated": 1, "snr": settings.snr, "subject": item.subject},
    )


def rss_images(
    kspace_ZCHW: npt.NDArray[np.complex64], target_hw: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """The challenge's label rule: RSS of the coil images, centre crop, zero-pad."""
    images = [rss(ifft(torch.from_numpy(kspace_CHW)), 0) for kspace_CHW in kspace_ZCHW]
    return centre_crop_or_pad(torch.stack(images), target_hw).numpy()


def _objects(
    settings: SimulateSettings, item: Plan, scanner: Scanner
) -> Iterator[npt.NDArray[np.float32]]:
    if settings.volumes:
        from dealias.data.volumes import axial_slices

        path = settings.volumes[item.subject]
        yield from axial_slices(path, settings.slices, scanner.grid(), item.acceleration)
        return
    subject = Subject(settings.seed, item.subject)
    for depth in np.linspace(-0.6, 0.6, settings.slices):
        yield render(item.anatomy, subject, scanner.grid(), np.array([depth]))[0]


def _place(
    settings: SimulateSettings, split: str, anatomy: str, acceleration: int, position: int
) -> tuple[str, str]:
    if settings.layout == "fastmri":
        return split, f"file_{anatomy}_x{acceleration}_{split}_{position}"
    if split == "test":
        return f"leaderboard/acc{acceleration}", f"{anatomy}_test{position}"
    return split, f"{anatomy}_acc{acceleration}_{position}"
