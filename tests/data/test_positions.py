"""Positions of the anatomy against a known ellipse, and limits against known spreads."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dealias.data.augment import AugmentSettings, TransformSettings
from dealias.data.positions import Position, histograms, position, proposed, survey
from dealias.data.remask import MaskSettings
from dealias.data.samples import Samples
from dealias.physics.warp import Affine, warp
from dealias.scan.measurement import Needs
from dealias.scan.scan import Scan


def ellipse(down: float, right: float, long: float, short: float, angle: float) -> np.ndarray:
    """Semi-axes in pixels on a 96 x 80 grid, the long one turned from the vertical."""
    y, x = np.indices((96, 80)) - np.array([47.5 + down, 39.5 + right])[:, None, None]
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    inside: np.ndarray = ((c * y + s * x) / long) ** 2 + ((c * x - s * y) / short) ** 2 < 1
    return inside


@pytest.mark.parametrize("angle", [0.0, 20.0, -65.0, 89.0])
def test_an_ellipse_is_found_where_it_is(angle: float) -> None:
    found = position(ellipse(6, -4, 24, 15, angle), (192, 100))
    assert found is not None
    assert found.row == pytest.approx(6 / 192, abs=2e-4)
    assert found.column == pytest.approx(-4 / 100, abs=2e-4)
    assert found.extent == pytest.approx(2 * math.sqrt(24 * 15), rel=0.01)
    assert found.aspect == pytest.approx(24 / 15, rel=0.01)
    assert found.angle == pytest.approx(angle, abs=0.6)


def test_it_turns_as_the_warp_turns() -> None:
    image = torch.from_numpy(ellipse(0, 0, 24, 15, 10).astype(np.complex128))
    turned = warp(image, Affine(rotation=25, scale=1.2), "bilinear", "reflect").abs().numpy() > 0.5
    found = position(turned, (96, 80))
    assert found is not None
    assert found.angle == pytest.approx(35, abs=0.6)
    assert found.extent == pytest.approx(1.2 * 2 * math.sqrt(24 * 15), rel=0.01)


def test_what_has_no_position_or_no_direction() -> None:
    assert position(np.zeros((8, 8)), (8, 8)) is None
    round_one = position(ellipse(0, 0, 20, 20, 0), (96, 80))
    assert round_one is not None and math.isnan(round_one.angle)
    line = position(np.eye(1, 9), (1, 9))
    assert line is not None and line.aspect == pytest.approx(1)


def test_limits_are_as_wide_as_the_data() -> None:
    """Uniform spreads give their own half-widths back; half a turn makes an angle no other."""
    steps = (np.arange(400) + 0.5) / 200 - 1
    found = proposed([
        Position(0.04 * a, 0.08 * b, 100 * math.exp(0.12 * a), math.exp(math.tan(0.1) * (b + 1)),
                 (86 + 7 * a + 90) % 180 - 90)
        for a, b in zip(steps, np.roll(steps, 137), strict=True)
    ])  # fmt: skip
    assert found.max_translation == pytest.approx((0.04, 0.08), rel=1e-3)
    assert found.max_rotation == pytest.approx(7, rel=2e-3)
    assert found.max_shear == pytest.approx((math.degrees(0.1),) * 2, rel=1e-3)
    assert found.max_scaling == pytest.approx(0.12, rel=1e-3)
    assert not found.active
    still = proposed([Position(0.1, 0.1, 100, 1.0, math.nan)] * 3)
    assert [still.max_rotation, still.max_scaling, *still.max_translation] == pytest.approx(
        [0] * 4, abs=1e-12
    )


def test_histograms_before_and_after(ellipses: Scan) -> None:
    """A translation along W that always happens leaves rows, extents and angles as they were."""
    moved = TransformSettings(translation=1, max_translation=(0, 0.2))
    settings = AugmentSettings(transforms=moved)
    samples = Samples([ellipses], MaskSettings(), Needs(), 1, augment=settings)
    before, after = survey(samples, 0.0), survey(samples, 1.0)
    assert list(before) == ["brain"]
    # foregrounds are closed with a square, which leaves the ellipse's middle where it is;
    # slice z is 2 z below and z left of pixel (56, 48) of a grid whose middle is (55.5, 47.5)
    rows, columns = zip(*[one[:2] for one in before["brain"]], strict=True)
    assert rows == pytest.approx([(2 * z + 0.5) / 112 for z in range(3)], abs=1e-3)
    assert columns == pytest.approx([(0.5 - z) / 96 for z in range(3)], abs=1e-3)
    found = histograms(before, after, bins=8)["brain"]
    assert [found[one].overlap for one in ("row", "extent", "aspect", "angle")] == [1] * 4
    assert found["column"].overlap < 0.5
    assert found["column"].before.sum() == found["column"].after.sum() == 3
    for a, b in zip(before["brain"], after["brain"], strict=True):
        assert abs(a.column - b.column) * 96 == pytest.approx(
            round(abs(a.column - b.column) * 96), abs=1e-6
        )
