"""Data sets of a simulated scanner, in the exact layouts of the challenge and of fastMRI."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field
from scipy import fft as sfft

from dealias.atomic import sha256
from dealias.classical.grappa import Grappa
from dealias.errors import DataError, SettingsError
from dealias.io.volume import Volume
from dealias.io.write_fastmri import write_fastmri
from dealias.io.write_snu import write_snu
from dealias.physics.anatomy import Subject, render
from dealias.physics.readout import centre_crop_or_pad
from dealias.physics.sampling.mask import SamplingMask
from dealias.physics.sampling.snu import snu_mask
from dealias.physics.scanner import Scanner
from dealias.randomness import generator

YEARS = {
    2022: (("brain",), (5,)),
    2024: (("brain",), (4, 5, 8)),
    2025: (("brain", "knee"), (4, 8)),
}
"""Anatomies and accelerations of each year's challenge."""
CHALLENGE_HW = {"brain": (768, 396), "knee": (640, 368)}
CHALLENGE_TARGET = (384, 384)
SIGNAL = {"brain": 2.0e-4, "knee": 0.6e-4}
"""Mean signal, so that the challenge's absolute thresholds separate anatomy from noise."""
SPLITS = ("train", "val", "test")
_REACH = 0.6
"""Slices lie at -0.6..0.6 through the body."""

Objects = npt.NDArray[np.floating[Any]]
Side = Annotated[int, Field(ge=16, le=8192)]
Share = Annotated[float, Field(ge=0)]


class SimulateSettings(BaseModel):
    """What to simulate.

    Attributes:
        layout: "snu" or "fastmri".
        year: Of the challenge: which anatomies and accelerations there are.
        accelerations: Others than that year's, or None.
        subjects: People for each cell (anatomy x acceleration); no person is in two sets.
        shares: Of the people in train, val and leaderboard (test); a share above 0 gets at least
            one person.
        slices: Slices of each.
        coils: C, or None for 4 to 20 at random.
        size: (H, W) of k-space, readout oversampling included, or None for the challenge's sizes.
        target: (H, W) of the target, or None for the challenge's 384 x 384, or the smaller of H
            and W on both axes.
        snr: Of the scanner (see physics.scanner.Scanner).
        seed: Of everything.
        volumes: NIfTI heads to scan instead of random anatomy, one person each (two files of one
            person would put that person into two sets).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    layout: Literal["snu", "fastmri"] = "snu"
    year: Literal[2022, 2024, 2025] = 2025
    accelerations: tuple[Annotated[int, Field(ge=2, le=16)], ...] | None = None
    subjects: int = Field(default=5, ge=1)
    shares: tuple[Share, Share, Share] = (0.7, 0.15, 0.15)
    slices: int = Field(default=8, ge=1)
    coils: int | None = Field(default=None, ge=1, le=64)
    size: tuple[Side, Side] | None = None
    target: tuple[Side, Side] | None = None
    snr: float = Field(default=30.0, gt=0)
    seed: int = Field(default=430, ge=0)
    volumes: tuple[Path, ...] = ()

    def sizes(self, anatomy: str) -> tuple[tuple[int, int], tuple[int, int]]:
        """Encoded and target (H, W)."""
        if self.size is None:
            return CHALLENGE_HW[anatomy], self.target or CHALLENGE_TARGET
        return self.size, self.target or (min(self.size), min(self.size))

    def cells(self) -> list[tuple[str, int]]:
        """Anatomy and acceleration of each cell; NIfTI volumes are heads."""
        anatomies, accelerations = YEARS[self.year]
        if self.volumes:
            anatomies = ("brain",)
        wanted = self.accelerations or accelerations
        return [(anatomy, acceleration) for anatomy in anatomies for acceleration in wanted]


@dataclass(frozen=True)
class Plan:
    """One volume to be made."""

    split: str
    name: str
    anatomy: str
    acceleration: int
    subject: int


def plan(settings: SimulateSettings) -> list[Plan]:
    """All volumes of a data set.

    Names number train and val together from 1, as the challenge's do, and the leaderboard's anew.

    Raises:
        SettingsError: There are fewer people than the sets need.
    """
    people = len(settings.volumes) or settings.subjects
    counts = split_counts(people, settings.shares)
    splits = [split for split, count in zip(SPLITS, counts, strict=True) for _ in range(count)]
    plans: list[Plan] = []
    for anatomy, acceleration in settings.cells():
        for person, split in enumerate(splits):
            number = person + 1 - (counts[0] + counts[1] if split == "test" else 0)
            folder, name = _place(settings, split, anatomy, acceleration, number)
            # a head from a file is one person at every acceleration; it never changes sets
            subject = person if settings.volumes else len(plans)
            plans.append(Plan(folder, name, anatomy, acceleration, subject))
    return plans


def split_counts(people: int, shares: tuple[float, float, float]) -> tuple[int, int, int]:
    """People in train, val and test; the first set with a share takes what rounding leaves.

    Raises:
        SettingsError: There are too few people, or no shares.
    """
    wanted = [index for index, share in enumerate(shares) if share > 0]
    if not wanted:
        raise SettingsError("--shares", f"{shares}", "one above 0", "such as 0.7,0.15,0.15")
    if people < len(wanted):
        names = ", ".join(SPLITS[index] for index in wanted)
        do = "more people, or --shares 1,0,0 for a training set alone"
        raise SettingsError("--subjects", f"{people}", f"{len(wanted)}: one each for {names}", do)
    counts = [0, 0, 0]
    for index in wanted[1:]:
        counts[index] = max(1, round(people * shares[index] / sum(shares)))
    while people - sum(counts) < 1:
        counts[counts.index(max(counts))] -= 1
    counts[wanted[0]] = people - sum(counts)
    return counts[0], counts[1], counts[2]


def simulate(settings: SimulateSettings, out: Path, progress: Callable[[int], None]) -> int:
    """Make a data set.

    Args:
        settings: What to make.
        out: Where; must be new or empty.
        progress: Called with 1 after each volume.

    Returns:
        Number of volumes.

    Raises:
        SettingsError: The folder is not empty, or the settings do not fit each other.
        DataError: A NIfTI file cannot be used.
        DiskError: It cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingsError(out, "something there", "a new or empty folder", "choose --out")
    plans = plan(settings)
    _check_volumes(settings)
    write = write_snu if settings.layout == "snu" else write_fastmri
    for item in plans:
        write(out, item.split, make_volume(settings, item))
        progress(1)
    return len(plans)


def _check_volumes(settings: SimulateSettings) -> None:
    """Read every NIfTI file before anything is written."""
    if settings.volumes:
        from dealias.data.volumes import load_volume

        for path in settings.volumes:
            load_volume(path)


def make_volume(settings: SimulateSettings, item: Plan) -> Volume:
    """Simulate one volume; a function of the settings and the plan's line alone."""
    encoded_hw, target_hw = settings.sizes(item.anatomy)
    rng = generator(settings.seed, "scanner", item.subject, item.acceleration)
    coils = settings.coils or int(rng.integers(4, 21))
    scanner = Scanner(encoded_hw, target_hw, coils, settings.snr, SIGNAL[item.anatomy])
    kspace_ZCHW = scanner.acquire(_object(settings, item, scanner), rng)
    target_ZHW = rss_images(kspace_ZCHW, target_hw)
    mask = snu_mask(encoded_hw[1], item.acceleration)
    masked_ZCHW = kspace_ZCHW * mask.lines
    full = not _is_test(item.split)
    return Volume(
        name=item.name,
        kspace_ZCHW=kspace_ZCHW if full else masked_ZCHW,
        mask=mask,
        full=full,
        anatomy=item.anatomy,
        acceleration=item.acceleration,
        target_ZHW=target_ZHW,
        input_ZHW=rss_images(masked_ZCHW, target_hw),
        grappa_ZHW=_grappa_images(masked_ZCHW, mask, target_hw),
        attributes={
            "simulated": 1,
            "snr": settings.snr,
            "seed": settings.seed,
            "subject": item.subject,
            "patient_id": _patient(settings, item),
        },
    )


def _grappa_images(
    masked_ZCHW: npt.NDArray[np.complex64], mask: SamplingMask, target_hw: tuple[int, int]
) -> npt.NDArray[np.float32] | None:
    """GRAPPA's images by the label's rule; None where the ACS is too narrow for a kernel."""
    scale = np.abs(masked_ZCHW).max() or np.float32(1)
    try:
        filled = [
            Grappa().filled(torch.from_numpy(one / scale), mask).numpy() for one in masked_ZCHW
        ]
    except DataError:
        return None
    return scale * rss_images(np.stack(filled), target_hw)


def rss_images(
    kspace_ZCHW: npt.NDArray[np.complex64], target_hw: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """The challenge's label rule: RSS of the coil images, centre crop, zero-pad.

    Args:
        kspace_ZCHW: Centred, orthonormal.
        target_hw: (H, W) of the target.

    Returns:
        (Z, *target_hw) float32.
    """
    # magnitudes alone are wanted, and where k-space is centred changes phases alone: one shift of
    # the combined image does what `physics.fourier.ifft` does with two of every coil
    images = [np.linalg.norm(sfft.ifft2(one, norm="ortho"), axis=0) for one in kspace_ZCHW]
    centred = np.fft.fftshift(np.stack(images), axes=(1, 2))
    return centre_crop_or_pad(torch.from_numpy(centred), target_hw).numpy()


def _object(settings: SimulateSettings, item: Plan, scanner: Scanner) -> Objects:
    if settings.volumes:
        from dealias.data.volumes import axial_slices

        path = settings.volumes[item.subject]
        slices = axial_slices(path, settings.slices, scanner.grid(), item.acceleration)
        return np.stack(list(slices))
    # one slice alone is taken from the middle
    reach = _REACH if settings.slices > 1 else 0.0
    depths = np.linspace(-reach, reach, settings.slices)
    return render(item.anatomy, Subject(settings.seed, item.subject), scanner.grid(), depths)


def _patient(settings: SimulateSettings, item: Plan) -> str:
    """A hash that two scans of one person share, and that says nothing else."""
    if settings.volumes:
        return sha256(settings.volumes[item.subject])[:32]
    person = f"simulated {settings.seed} {item.subject}"
    return hashlib.sha256(person.encode()).hexdigest()[:32]


def _is_test(split: str) -> bool:
    return split == "test" or split.startswith("leaderboard")


def _place(
    settings: SimulateSettings, split: str, anatomy: str, acceleration: int, number: int
) -> tuple[str, str]:
    """Folder and name, as in that year's release; 2022 had one acceleration and did not name it."""
    if settings.layout == "fastmri":
        return split, f"file_{anatomy}_x{acceleration}_{split}_{number}"
    single = settings.year == 2022 and len(settings.cells()) == 1
    if split == "test":
        folder = "leaderboard" if single else f"leaderboard/acc{acceleration}"
        return folder, f"{anatomy}_test{number}"
    return split, f"{anatomy}{number}" if single else f"{anatomy}_acc{acceleration}_{number}"
