"""Which augmentation a sample gets: chances, limits, and draws that do not disturb each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from dealias.data.augment import UNAUGMENTED, AugmentSettings, TransformSettings, drawn
from dealias.data.augment_noise import noise_left
from dealias.physics.warp import UNMOVED, Transform
from dealias.randomness import generator

HW, TARGET = (40, 36), (32, 32)
WEIGHTS: dict[str, Any] = {
    "flip_h": 0.4, "flip_v": 0.1, "rot90": 0.3, "translation": 1.0, "rotation": 0.9, "shear": 0.5,
    "scaling": 0.7, "max_translation": (0.1, 0.25), "max_rotation": 20, "max_shear": (3, 9),
    "max_scaling": 0.2,
}  # fmt: skip
SETTINGS = TransformSettings(**WEIGHTS)
DRAWS = 1500


def draws(
    settings: TransformSettings, strength: float = 1.0, count: int = DRAWS, hw: Any = HW,
    target: Any = TARGET,
) -> list[Transform]:  # fmt: skip
    rngs = (generator(1, "augment", 0, index) for index in range(count))
    return [drawn(settings, strength, hw, target, rng) for rng in rngs]


def happened(one: Transform) -> dict[str, bool]:
    return {
        "flip_h": one.flip_h, "flip_v": one.flip_v, "rot90": bool(one.quarter_turns),
        "translation": one.shift_hw != (0, 0), "rotation": one.affine.rotation != 0,
        "shear": one.affine.shear_hw != (0, 0), "scaling": one.affine.scale != 1,
    }  # fmt: skip


def test_nothing_happens_by_default() -> None:
    assert not UNAUGMENTED.active
    assert not TransformSettings().moves_rows
    assert draws(TransformSettings(), count=20) == [UNMOVED] * 20
    assert draws(SETTINGS, strength=0.0, count=20) == [UNMOVED] * 20


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_chances_are_weight_times_strength(strength: float) -> None:
    found = [happened(one) for one in draws(SETTINGS, strength)]
    for kind in ("flip_h", "flip_v", "rot90", "rotation", "shear", "scaling"):
        p = WEIGHTS[kind] * strength
        count = sum(one[kind] for one in found)
        assert abs(count - p * DRAWS) < 4 * (DRAWS * p * (1 - p)) ** 0.5, kind


def test_a_stronger_epoch_adds_and_changes_nothing() -> None:
    for weak, strong in zip(draws(SETTINGS, 0.3), draws(SETTINGS, 0.9), strict=True):
        before, after = happened(weak), happened(strong)
        assert all(after[kind] for kind in before if before[kind])
        if before["rotation"]:
            assert weak.affine.rotation == strong.affine.rotation
        if before["translation"]:
            assert weak.shift_hw == strong.shift_hw


def test_a_weight_leaves_the_other_transforms_alone() -> None:
    others = TransformSettings(**{**WEIGHTS, "flip_h": 0.0, "shear": 0.0})
    for a, b in zip(draws(SETTINGS, count=200), draws(others, count=200), strict=True):
        assert (a.flip_v, a.quarter_turns, a.shift_hw) == (b.flip_v, b.quarter_turns, b.shift_hw)
        assert (a.affine.rotation, a.affine.scale) == (b.affine.rotation, b.affine.scale)
        assert not b.flip_h and b.affine.shear_hw == (0, 0)


def test_amounts_fill_their_limits_evenly() -> None:
    found = draws(SETTINGS)
    amounts = {
        4: [one.shift_hw[0] for one in found],
        9: [one.shift_hw[1] for one in found],
        20: [one.affine.rotation for one in found if one.affine.rotation],
        3: [one.affine.shear_hw[0] for one in found if one.affine.shear_hw[0]],
        9.0001: [one.affine.shear_hw[1] for one in found if one.affine.shear_hw[1]],
        0.2: [one.affine.scale - 1 for one in found if one.affine.scale != 1],
    }
    for limit, values in amounts.items():
        assert 0.98 * limit < max(values) <= limit
        assert -limit <= min(values) < -0.98 * limit
        sd = limit / 3**0.5
        assert abs(np.mean(values)) < 4 * sd / len(values) ** 0.5
        assert np.std(values) == pytest.approx(sd, rel=0.1)


def test_quarter_turns_keep_the_targets_field_of_view() -> None:
    always = TransformSettings(rot90=1)

    def quarters(hw: tuple[int, int], target: tuple[int, int]) -> set[int]:
        return {one.quarter_turns for one in draws(always, 1.0, 60, hw, target)}

    assert quarters((40, 36), (32, 32)) == {1, 2, 3}
    # turned, 40 x 30 has 30 rows, where the target has 32
    assert quarters((40, 30), (32, 28)) == {2}
    assert quarters((30, 40), (28, 32)) == {2}


def test_an_anatomys_own_settings_stand_in_place_of_the_general_ones() -> None:
    knee = TransformSettings(flip_h=0.5)
    settings = AugmentSettings(knee=knee)
    assert settings.active
    assert settings.of("knee") == knee
    for other in ("brain", "heart", None):
        assert settings.of(other) == TransformSettings()
    assert AugmentSettings(transforms=SETTINGS, knee=knee).of("brain") == SETTINGS


@pytest.mark.parametrize(("settings", "moves"), [
    ({"flip_h": 1, "max_rotation": 9}, False),
    ({"translation": 1, "max_translation": (0, 0.1)}, False),
    ({"translation": 1, "max_translation": (0.1, 0)}, True),
    *(({kind: 0.1}, True) for kind in ("flip_v", "rot90", "rotation", "shear", "scaling")),
])  # fmt: skip
def test_what_moves_rows(settings: dict[str, Any], moves: bool) -> None:
    assert TransformSettings(**settings).moves_rows == moves


@pytest.mark.parametrize("values", [
    {"transforms": {"flip_h": 1.1}}, {"transforms": {"max_shear": [45, 0]}},
    {"transforms": {"max_translation": [0.1]}}, {"heart": {}}, {"interpolation": "nearest"},
    {"transforms": {"rotate": 1}},
])  # fmt: skip
def test_odd_settings_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AugmentSettings.model_validate(values)


def test_bilinear_smooths_and_band_limited_does_not() -> None:
    rotation = TransformSettings(rotation=1, scaling=1, max_rotation=15)
    left = noise_left(rotation, (48, 40), (32, 32), "wrap", draws=6)
    assert left["bilinear"] == pytest.approx(2 / 3, abs=0.03)
    assert left["bicubic"] == pytest.approx(57 / 70, abs=0.03)
    assert left["band-limited"] == pytest.approx(1, abs=0.01)
    flips = TransformSettings(flip_h=1, flip_v=0.5, rot90=1)
    assert noise_left(flips, (40, 40), (32, 32), draws=4) == pytest.approx(
        {"bilinear": 1, "bicubic": 1, "band-limited": 1}, abs=1e-12
    )
