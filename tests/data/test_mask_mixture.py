"""Mixtures of masks: frequencies by closed form, no excluded mask ever, the same bits on resume."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dealias.data.catalogue import open_split
from dealias.data.mask_mixture import any_but_the_rule
from dealias.data.remask import MaskSettings, example_masks, training_mask
from dealias.data.samples import Key, Samples
from dealias.data.strength import Strengths, StrengthSettings, strength
from dealias.errors import DataError, SettingsError
from dealias.metrics.protocol import PROTOCOLS
from dealias.models.varnet import VarNet, VarNetSettings
from dealias.physics.sampling.fastmri import equispaced_mask
from dealias.physics.sampling.mask import SamplingMask
from dealias.physics.sampling.snu import snu_mask
from dealias.physics.sampling.table import FAMILIES
from dealias.scan.measurement import Needs
from dealias.scan.scan import Geometry, Scan
from dealias.training.checkpoint import Checkpoints, read_checkpoint
from dealias.training.job import TrainingJob
from dealias.training.loop import Stopped, train
from dealias.training.losses import LossSettings
from dealias.training.optimiser import OptimiserSettings
from dealias.training.schedules import ScheduleSettings
from dealias.training.settings import TrainingSettings
from shared import same

LINES = [name for name in FAMILIES.names if FAMILIES[name].axes == (-1,)]
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "how-it-works.md"


def scan(width: int = 96, mask: SamplingMask | None = None, full: bool = True) -> Scan:
    return Scan("a", (1, 2, 24, width), mask, full, Geometry((24, width), (20, 20)), None)  # type: ignore[arg-type]


def drawn(count: int, one: Scan, share: float = 1.0, **values: Any) -> list[SamplingMask]:
    chosen = MaskSettings(**values)
    return [training_mask(chosen, one, 3, 0, index, share) for index in range(count)]


def assert_binomial(found: int, count: int, chance: float) -> None:
    """Within four standard deviations."""
    assert abs(found - count * chance) <= 4 * (count * chance * (1 - chance)) ** 0.5


def test_kinds_come_by_weight_and_numbers_evenly() -> None:
    """Sungsimdang's ranges: R 3 to 13, 31 to 33 ACS lines."""
    count, rates, lines = 3000, {"low": 3, "high": 13}, {"low": 31, "high": 33}
    kinds = {"equispaced": 1, "two_lattices": 2.5, "binned": 0.5}
    mixture = [{"kind": kind, "weight": weight, "accelerations": rates, "centre_lines": lines}
               for kind, weight in kinds.items()]  # fmt: skip
    found = drawn(count, scan(368), mixture=mixture)
    families = Counter(mask.family for mask in found)
    for kind, weight in kinds.items():
        assert_binomial(families[kind], count, weight / 4)
    for wanted, of in ((range(3, 14), [mask.nominal for mask in found]),
                       (range(31, 34), [mask.acs_count for mask in found])):  # fmt: skip
        assert set(of) == set(wanted)
        for number in wanted:
            assert_binomial(of.count(number), count, 1 / len(wanted))
    pairs = Counter((mask.nominal, mask.acs_count) for mask in found)
    assert_binomial(pairs[5, 31], count, 1 / 33)  # independently


def test_a_share_of_acs_lines_is_uniform_in_its_range() -> None:
    """GeekSeek's .07 to .10, said once for all kinds."""
    kinds = [{"kind": "equispaced"}, {"kind": "random"}]
    share = {"low": 0.07, "high": 0.10}
    found = np.array([mask.acs_count for mask in drawn(2000, scan(1000), mixture=kinds,
                                                       centre_fraction=share)])  # fmt: skip
    assert (found.min(), found.max()) == (70, 100)
    assert abs(found.mean() - 85) < 4 * 30 / (12 * 2000) ** 0.5
    assert abs(np.mean(found < 77.5) - 0.25) < 4 * (0.25 * 0.75 / 2000) ** 0.5


def test_what_a_kind_does_not_say_is_the_settings_own() -> None:
    own = {"kind": "binned", "accelerations": [5], "centre_fraction": 0.2}
    for mask in drawn(60, scan(200), accelerations=[3], centre_lines=[9],
                      mixture=[{"kind": "equispaced"}, own]):  # fmt: skip
        wanted = {"equispaced": (3, 9), "binned": (5, 40)}[mask.family]
        assert (mask.nominal, mask.acs_count) == wanted
    two = drawn(40, scan(), kind="snu", each_acceleration=True, mixture=[{"kind": "random"}, own])
    assert {(mask.family, mask.nominal, i % 2) for i, mask in enumerate(two)} == {
        ("random", 4, 0), ("random", 8, 1), ("binned", 5, 0), ("binned", 5, 1)
    }  # fmt: skip


def test_the_strength_is_the_chance_of_another_mask_and_nothing_else() -> None:
    """A higher strength re-masks the same samples by the same masks, and some more."""
    own, count = equispaced_mask(96, 4, 0.08, 1), 1000
    mixture = [{"kind": "bernoulli"}, {"kind": "binned"}]
    levels = (0.0, 0.3, 0.7, 1.0)
    found = {p: drawn(count, scan(mask=own), p, mixture=mixture) for p in levels}
    for p in levels:
        assert_binomial(sum(mask.family != own.family for mask in found[p]), count, p)
    for low, high in zip(levels, levels[1:], strict=False):
        pairs = list(zip(found[low], found[high], strict=True))
        assert all(a == b for a, b in pairs if a.family != own.family)
    assert all(mask.offset == 1 for mask in found[0.0])


def test_what_is_mixed_is_thinned_as_often_as_what_is_not() -> None:
    """At strength one half, with a drop of one half: 1/8 are both, and half of them mixed."""
    own, count = snu_mask(96, 4), 1000
    found = drawn(count, scan(mask=own), 0.5, mixture=[{"kind": "equispaced"}], exclude="snu",
                  accelerations=[4], drop={"probability": 0.5})  # fmt: skip
    # whole masks have an offset, and the public rule's is no mixed one's
    whole = Counter(mask == own for mask in found if mask.offset is not None)
    assert_binomial(whole[True], count, 0.5 * 0.75)
    assert_binomial(whole[False], count, 0.5 * 0.75)


def test_a_schedule_reaches_the_samples_with_their_index() -> None:
    """SMaRtIfy's helper: none before epoch 15, (1 - e^(-(t - 15)/2)) / (1 - e^-5) until 25."""
    rule = {"kind": "exponential", "delay": 15, "until": 25}
    chosen = MaskSettings(mixture=[{"kind": "bernoulli"}], probability=rule)  # type: ignore[list-item, arg-type]
    own, count = snu_mask(96, 4), 400
    for epoch in (0, 15, 17, 20, 25, 40):
        p = strength(chosen.probability, epoch)
        risen = (1 - math.exp(-(epoch - 15) / 2)) / (1 - math.exp(-5))
        assert p == pytest.approx(min(1, max(0, risen)), abs=1e-12)
        found = [training_mask(chosen, scan(mask=own), 3, epoch, i, p) for i in range(count)]
        assert_binomial(sum(mask != own for mask in found), count, p)


def test_a_models_profile_knows_all_masks_of_its_training() -> None:
    """Also those of its last epochs, and of a chance that follows the loss."""
    own, mixture = snu_mask(96, 4), [{"kind": "binned"}, {"kind": "magic"}]
    for rule in ({"kind": "linear", "delay": 20, "until": 40}, {"kind": "slope", "maximum": 0.5}):
        chosen = MaskSettings(mixture=mixture, probability=rule)  # type: ignore[arg-type]
        found = example_masks(chosen, [scan(mask=own)], 3, 50, 64)
        assert {mask.family for mask in found} == {"snu", "binned", "magic"}
    early = example_masks(chosen.model_copy(update={"probability": StrengthSettings(
        kind="linear", delay=20, until=40)}), [scan(mask=own)], 3, 20, 64)  # fmt: skip
    assert set(early) == {own}
    (plain,) = {*example_masks(MaskSettings(), [scan(mask=own)], 3, 50, 64)}
    assert plain == own


SMALL = [(8, 2), (8, 4), (24, 4)]
NEVER = {"magic", "magic_fraction"}
"""Their two sides never continue each other through the centre."""


def of_the_rule(mask: SamplingMask) -> bool:
    return any(snu_mask(mask.width, rate) == mask for rate in range(2, 17))


@pytest.mark.parametrize("kind", [name for name in LINES if name != "snu"])
def test_an_excluded_rule_never_comes(kind: str) -> None:
    """At widths so small that most families hit upon it, where nothing excludes it."""
    hit = 0
    for width, rate in SMALL:
        values = {"mixture": [{"kind": kind, "accelerations": [rate]}], "centre_fraction": 0.08}
        plain = drawn(150, scan(width), **values)
        other = drawn(150, scan(width), exclude="snu", **values)
        hit += sum(mask == snu_mask(width, rate) for mask in plain)
        assert not any(of_the_rule(mask) for mask in other)
        # what was not the rule's is as it was
        pairs = zip(plain, other, strict=True)
        assert all(a == b for a, b in pairs if not of_the_rule(a))
    assert (hit == 0) == (kind in NEVER)


def test_the_starts_that_are_left_are_as_likely_as_each_other() -> None:
    """The rule is one lattice in R; the other R - 1 share its chance."""
    count, rate, width = 2000, 5, 323
    start = (width // 2) % rate
    plain = Counter(mask.offset for mask in drawn(
        count, scan(width), kind="equispaced", accelerations=[rate]))  # fmt: skip
    other = Counter(mask.offset for mask in drawn(
        count, scan(width), kind="equispaced", accelerations=[rate], exclude="snu"))  # fmt: skip
    assert_binomial(plain[start], count, 1 / rate)
    assert set(other) == set(range(rate)) - {start}
    for offset in other:
        assert_binomial(other[offset], count, 1 / (rate - 1))


def test_where_there_is_no_other_mask_it_is_said() -> None:
    stored = {"mixture": [{"kind": "stored"}], "exclude": "snu"}
    assert drawn(3, scan(mask=equispaced_mask(96, 4, 0.08, 1)), **stored)
    with pytest.raises(SettingsError, match="found the public rule's mask 100 times in a row"):
        drawn(1, scan(mask=snu_mask(96, 4)), **stored)
    turns = iter([snu_mask(96, 4), snu_mask(96, 8), equispaced_mask(96, 8, 0.08, 1)])
    assert any_but_the_rule(lambda: next(turns)).offset == 1


def test_a_mixture_that_would_fail_later_fails_at_once() -> None:
    late = {"kind": "linear", "delay": 30, "until": 40}
    crowded = {"kind": "equispaced_fraction", "centre_fraction": {"low": 0.04, "high": 0.13}}
    cases: list[tuple[dict[str, Any], Scan, str]] = [
        (crowded, scan(320), r"masks\.centre_fraction: found 42 ACS lines of 320"),
        ({"kind": "binned", "centre_lines": [8, 40]}, scan(40), r"centre_lines: found 40 of 40"),
        ({"kind": "stored"}, scan(), "no mask"),
    ]
    for one, which, message in cases:
        chosen = MaskSettings(kind="snu", mixture=[{"kind": "binned"}, one], probability=late)  # type: ignore[list-item, arg-type]
        with pytest.raises((SettingsError, DataError), match=message):
            Samples([scan(640, snu_mask(640, 4)), which], chosen, Needs(), 3)
    with pytest.raises(DataError, match="masked already.*masks.kind=stored without a mixture"):
        drawn(1, scan(mask=snu_mask(96, 4), full=False), 0.0, mixture=[{"kind": "binned"}])


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(LINES), width=st.integers(64, 400), rate=st.integers(3, 10),
       share=st.floats(0.03, 0.09), index=st.integers(0, 10**6))  # fmt: skip
def test_acs_lines_are_sampled_and_the_acceleration_is_near_nominal(
    kind: str, width: int, rate: int, share: float, index: int
) -> None:
    mixture = [{"kind": kind, "accelerations": [rate], "centre_fraction": share}]
    chosen = MaskSettings(mixture=mixture)  # type: ignore[arg-type]
    mask = training_mask(chosen, scan(width), 3, 1, index)
    start, stop = mask.acs
    assert mask.lines[start:stop].all()
    if kind != "snu":
        assert mask.acs_count == round(share * width) or kind == "magic_fraction"
    assert (mask.nominal, mask.lines.size) == (rate, width)
    outside = int((mask.lines & ~mask.acs_lines()).sum())
    chance = 1 / rate
    if kind in ("random", "equispaced_fraction", "magic_fraction"):
        # these count the ACS lines in: W / R of them all
        chance = (width / rate - mask.acs_count) / (width - mask.acs_count)
    if kind == "partial_fourier":
        return  # which measures three quarters of one side, by design
    wanted = chance * (width - mask.acs_count)
    by_chance = 5 * (wanted * (1 - chance)) ** 0.5 if kind in ("random", "bernoulli") else 0
    # a spacing in whole numbers, lines at the ends, bins that are cut by the ACS
    rounding = 4 if kind != "magic_fraction" else 4 + 0.5 * wanted
    assert abs(outside - wanted) <= by_chance + rounding


def test_independent_lines_have_the_binomial_number() -> None:
    """Mean and variance of Bernoulli(1/R) outside the ACS."""
    found = np.array([(mask.lines & ~mask.acs_lines()).sum() for mask in drawn(
        1500, scan(368), kind="bernoulli", accelerations=[4])])  # fmt: skip
    free, p = 368 - 29, 0.25
    assert abs(found.mean() - free * p) < 4 * (free * p * (1 - p) / 1500) ** 0.5
    assert found.var() == pytest.approx(free * p * (1 - p), rel=4 * (2 / 1500) ** 0.5)


def test_samples_are_masked_by_the_strength_in_their_key(root: Path) -> None:
    scans = open_split(root, "train")
    chosen = MaskSettings(mixture=[{"kind": "binned"}])  # type: ignore[list-item]
    samples = Samples(scans, chosen, Needs(), 3)
    none, some = Strengths(1, 0), Strengths(1, 0.5)
    assert all(samples[Key(2, i, none)].mask == scans[0].mask for i in range(6))
    found = [samples[Key(2, i, some)].mask for i in range(6)]
    assert found == [training_mask(chosen, scans[0], 3, 2, i, 0.5) for i in range(6)]
    assert samples[(2, 0)].mask.family == "binned"


VARIED = {
    "kind": "snu", "accelerations": [2, 4], "each_acceleration": True, "exclude": "snu",
    "mixture": [{"kind": "bernoulli"}, {"kind": "equispaced", "weight": 2}],
    "probability": {"kind": "linear", "until": 1, "maximum": 0.8}, "drop": {"probability": 0.5},
}  # fmt: skip


def test_a_run_of_copies_and_mixtures_goes_on_bit_for_bit(root: Path, tmp_path: Path) -> None:
    """2 scans of 3 slices at 2 accelerations are 12 samples: 24 steps in 2 epochs."""

    def job(name: str) -> TrainingJob:
        torch.manual_seed(0)
        folder = tmp_path / name / "main"
        folder.mkdir(parents=True, exist_ok=True)
        network = VarNet(VarNetSettings(cascades=1, channels=2, pools=1, sens_channels=2,
                                        sens_pools=1))  # fmt: skip
        return TrainingJob(
            network, MaskSettings(**VARIED), LossSettings(), OptimiserSettings(lr=1e-2),
            ScheduleSettings(), TrainingSettings(epochs=2, save_minutes=None, validate_every=2),
            open_split(root, "train"), open_split(root, "val"), PROTOCOLS["fastmri"], folder,
            torch.device("cpu"),
        )  # fmt: skip

    def outcome(one: TrainingJob) -> Any:
        path = Checkpoints(one.folder / "checkpoints", 2, lambda text: None).path("latest")
        assert path is not None
        return read_checkpoint(path)[0]

    def until(steps: int) -> Callable[[], str | None]:
        count = iter(range(1, 1000))
        return lambda: "asked" if next(count) >= steps else None

    straight = job("straight")
    train(straight)
    with pytest.raises(Stopped):
        train(replace(job("halted"), stop=until(17)))
    halted = job("halted")
    train(halted)
    assert outcome(straight).step == 24
    a, b = vars(outcome(straight)), vars(outcome(halted))
    for key in a:
        assert same(a[key], b[key]), key


def test_the_guides_recipes_can_be_meant() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    chosen = [MaskSettings(**yaml.safe_load(block)["masks"]) for block in blocks]
    assert [one.copies for one in chosen] == [2, 1]
    assert chosen[1].exclude == "snu"
    one = scan(368, snu_mask(368, 4))
    for settings_ in chosen:
        for index in range(40):
            training_mask(settings_, one, 3, 20, index, strength(settings_.probability, 20))
