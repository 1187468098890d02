"""A profile tells what lies outside of it, and only that."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.profile import Profile
from dealias.scan.scan import Cell, Geometry, Scan


@dataclass(frozen=True)
class Noise:
    shape: tuple[int, int, int, int]
    scale: float

    def kspace(self, z: slice) -> np.ndarray:
        return np.full(self.shape, self.scale, np.complex64)[z]

    def image(self, kind: str, z: slice) -> None:
        return None


def mask(width: int, acceleration: int, family: str = "snu") -> SamplingMask:
    lines = np.zeros(width, bool)
    lines[::acceleration] = True
    return SamplingMask(lines, (0, 1), acceleration, family)


def scan(h: int = 40, w: int = 32, coils: int = 4, scale: float = 1e-4, acc: int = 4) -> Scan:
    shape = (2, coils, h, w)
    return Scan(
        "canary_patient", shape, mask(w, acc), False, Geometry((h, w), (h, w)),
        Noise(shape, scale), Cell("brain", acc),
    )  # fmt: skip


PROFILE = Profile.of([scan(), scan(h=44, w=48, coils=8, scale=3e-4, acc=8)])


def test_what_it_was_made_from_lies_inside() -> None:
    assert PROFILE.warnings(scan()) == []
    assert PROFILE.warnings(scan(h=42, w=40, coils=6, scale=9e-4, acc=8)) == []
    assert (PROFILE.volumes, PROFILE.slices, PROFILE.anatomies) == (2, 4, ("brain",))
    assert PROFILE.nominal == (4.0, 8.0)


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (scan(h=39), "readout rows 39, trained on 40 to 44"),
        (scan(w=64), "phase-encode columns 64, trained on 32 to 48"),
        (scan(coils=9), "coils 9, trained on 4 to 8"),
        (scan(acc=6), r"nominal acceleration 6 was not trained on \(4, 8 were\)"),
        (scan(acc=2), "acceleration 2, trained on 4 to 8"),
        (scan(scale=1.0), "largest k-space magnitude 1, trained on 0.0001 to 0.0003"),
        (scan(scale=0.0), "largest k-space magnitude 0"),
        (replace(scan(), mask=mask(32, 4, "random")), "mask family 'random'"),
    ],
)
def test_each_difference_is_named(odd: Scan, said: str) -> None:
    import re

    assert any(re.match(said, text) for text in PROFILE.warnings(odd))


def test_masks_of_training_go_before_stored_ones_and_a_used_mask_before_the_scan_s() -> None:
    profile = Profile.of([scan()], [mask(32, 2), mask(32, 16)])
    assert profile.nominal == (2.0, 16.0)
    assert profile.warnings(scan(), mask(32, 2)) == []
    assert profile.warnings(scan(), mask(32, 4)) != []


def test_names_and_labels_play_no_part_and_are_not_kept() -> None:
    renamed = replace(scan(scale=1.0), name="x", cell=None)
    assert PROFILE.warnings(renamed) == PROFILE.warnings(scan(scale=1.0))
    assert "canary" not in PROFILE.model_dump_json()


def test_json_and_back() -> None:
    assert Profile.model_validate_json(PROFILE.model_dump_json()) == PROFILE
    unmasked = Profile.of([replace(scan(scale=0.0), mask=None, full=True)])
    assert unmasked.effective is None
    assert unmasked.scale is None
    assert unmasked.warnings(scan(acc=4)) == []
