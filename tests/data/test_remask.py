"""Training masks are functions of their place in the run; copies hold each slice at each R."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from dealias.data.narrow import refuse_cache
from dealias.data.order import epoch_batches
from dealias.data.remask import MaskSettings, mask_axes, training_mask, validation_mask
from dealias.data.samples import Samples
from dealias.errors import DataError
from dealias.physics.sampling.drop import without_lines
from dealias.physics.sampling.fastmri import equispaced_mask
from dealias.physics.sampling.mask import SamplingMask
from dealias.physics.sampling.poisson import poisson_disc_mask
from dealias.physics.sampling.snu import snu_mask
from dealias.physics.sampling.table import FAMILIES
from dealias.randomness import generator
from dealias.runs.size import size_of_scans, size_of_text
from dealias.scan.measurement import Needs
from dealias.scan.scan import Geometry, Scan

WIDTHS = [320, 322, 338, 356, 368, 370, 372, 386, 388, 392, 396, 480]
"""Of the challenge's data."""
ODD = equispaced_mask(96, 4, 0.08, 1)
"""A mask of a scan's own that is not the public rule's."""


def scan(width: int = 96, mask: SamplingMask | None = ODD, full: bool = True, z: int = 2) -> Scan:
    return Scan("a", (z, 2, 24, width), mask, full, Geometry((24, width), (20, 20)), None)  # type: ignore[arg-type]


def masks(settings: MaskSettings, count: int, one: Scan, strength: float = 1.0,
          epoch: int = 0) -> Iterator[SamplingMask]:  # fmt: skip
    for index in range(count):
        yield training_mask(settings, one, 7, epoch, index, strength)


@pytest.mark.parametrize("kind", FAMILIES.names)
def test_one_kind_is_drawn_as_it_ever_was(kind: str) -> None:
    """From its own stream: the acceleration first, then the mask, whatever the strength."""
    settings = MaskSettings(kind=kind, accelerations=(3, 4, 6), centre_fraction=0.1)
    for epoch, index in ((0, 0), (0, 5), (3, 5)):
        rng = generator(7, "mask", epoch, index)
        rate = int(rng.choice((3, 4, 6)))
        wanted = FAMILIES[kind].draw((24, 96), rate, 0.1, rng)
        for strength in (0.0, 0.5, 1.0):
            found = training_mask(settings, scan(), 7, epoch, index, strength)
            assert (found, found.acs) == (wanted, wanted.acs)


@pytest.mark.parametrize("name", FAMILIES.names)
def test_the_table_knows_the_axes_of_its_masks(name: str) -> None:
    drawn = FAMILIES[name].draw((64, 48), 3, 0.1, np.random.default_rng(0))
    assert drawn.axes == FAMILIES[name].axes


def rule(width: int, rate: int) -> list[bool]:
    """The challenge's rule in so many words: W//2 on the lattice, 8 % from (W - n + 1)//2 on."""
    count = round(0.08 * width)
    first = (width - count + 1) // 2
    return [(i - width // 2) % rate == 0 or first <= i < first + count for i in range(width)]


@pytest.mark.parametrize("rates", [(4, 8), (4, 5, 8)])
def test_an_epoch_holds_each_slice_once_at_each_acceleration(rates: tuple[int, ...]) -> None:
    settings = MaskSettings(kind="snu", accelerations=rates, each_acceleration=True)
    scans = [scan(width, None, z=1 + width % 3) for width in WIDTHS]
    slices = [(s, z) for s, one in enumerate(scans) for z in range(one.slices)]
    samples = Samples(scans, settings, Needs(), 7)
    assert len(samples) == len(samples.keys()) == len(samples.sizes()) == len(rates) * len(slices)
    for epoch in range(3):
        seen: Counter[tuple[int, int, float | None]] = Counter()
        for group in epoch_batches(samples.keys(), 3, 7, epoch, samples.sizes()):
            for index in group:
                s, z = samples.index[index]
                mask = training_mask(settings, scans[s], 7, epoch, index)
                assert mask.lines.tolist() == rule(scans[s].shape[3], int(mask.nominal or 0))
                seen[s, z, mask.nominal] += 1
        assert seen == {(s, z, rate): 1 for s, z in slices for rate in rates}


def test_a_plan_counts_each_copy() -> None:
    scans, needs = [scan(width, None) for width in (368, 372, 396)], Needs()
    for each in (False, True):
        settings = MaskSettings(kind="snu", each_acceleration=each)
        seen = size_of_scans(scans, scans[:1], needs, settings)
        assert seen.slices == len(Samples(scans, settings, needs, 7)) == 6 * (1 + each)
        assert seen.val_slices == 2
        assert size_of_text("2x24x96", None, 50, settings).slices == 50 * (1 + each)
        assert size_of_text("2x24x96", None, None, settings).slices is None


def test_copies_of_random_masks_differ_in_more_than_acceleration() -> None:
    settings = MaskSettings(kind="bernoulli", accelerations=(4, 4), each_acceleration=True)
    a, b = masks(settings, 2, scan())
    assert (a.nominal, b.nominal) == (4, 4)
    assert a != b


@pytest.mark.parametrize("kind", FAMILIES.names)
def test_dropped_lines_lie_outside_the_acs(kind: str) -> None:
    for seed, count in enumerate((1, 3, 10**6)):
        rng = np.random.default_rng(seed)
        whole = FAMILIES[kind].draw((64, 96), 4, 0.1, rng)
        thin = without_lines(whole, count, rng)
        outside = int((whole.lines & ~whole.acs_lines()).sum())
        assert not (thin.lines & ~whole.lines).any()
        assert whole.lines.sum() - thin.lines.sum() == min(count, outside)
        assert thin.lines[whole.acs_lines()].all()
        assert (thin.acs, thin.acs_rows, thin.nominal) == (whole.acs, whole.acs_rows, 4)
        assert (thin.offset, thin.family) == (None, "random" if whole.axes == (-1,) else "custom")


def test_lines_drop_with_the_chance_that_the_strength_leaves() -> None:
    """Each line outside the ACS equally often; a whole mask stays what it is."""
    settings = MaskSettings(drop={"probability": 0.8, "lines": 2})  # type: ignore[arg-type]
    own, count = snu_mask(96, 4), 1500
    for strength, wanted in ((0.0, 0.0), (0.5, 0.4), (1.0, 0.8)):
        found = list(masks(settings, count, scan(mask=own), strength))
        thinned = [mask for mask in found if mask != own]
        spread = (count * wanted * (1 - wanted)) ** 0.5
        assert abs(len(thinned) - count * wanted) <= 4 * spread
        assert all(mask.offset == own.offset for mask in found if mask == own)
    lost = sum((own.lines & ~mask.lines).astype(int) for mask in thinned)
    outside = own.lines & ~own.acs_lines()
    assert not lost[~outside].any()
    mean = 2 * len(thinned) / outside.sum()
    assert np.abs(lost[outside] - mean).max() < 4 * mean**0.5
    full = SamplingMask(np.ones(8, bool), (0, 8), 1.0, "full", 0)
    assert without_lines(full, 3, np.random.default_rng(0)) is full


VARIED = [
    {"mixture": [{"kind": "binned", "accelerations": [6]}]},
    {"mixture": [{"kind": "binned"}], "probability": {"kind": "linear", "until": 9}},
    {"exclude": "snu"},
    {"drop": {"lines": 4}},
    {"jitter": {"lines": 1}},
    {"each_acceleration": True},
]


@pytest.mark.parametrize("more", VARIED)
def test_validation_is_blind_to_what_training_varies(more: dict[str, Any]) -> None:
    plain = MaskSettings(kind="equispaced", accelerations=(2, 3))
    varied = MaskSettings(kind="equispaced", accelerations=(2, 3), **more)
    bare = scan(mask=None)
    wanted = list(masks(plain, 40, bare))
    assert [validation_mask(varied, bare, 7, index) for index in range(40)] == wanted
    assert list(masks(varied, 40, bare)) != wanted
    assert validation_mask(varied, scan(mask=ODD, full=False), 7, 0) is ODD


def test_validation_needs_a_mask_from_somewhere() -> None:
    mixed = MaskSettings(mixture=[{"kind": "binned"}])  # type: ignore[list-item]
    with pytest.raises(DataError, match=r"a: found no mask.*set masks\.kind=snu"):
        validation_mask(mixed, scan(mask=None), 7, 0)
    with pytest.raises(DataError, match="masked already"):
        validation_mask(MaskSettings(kind="snu"), scan(mask=None, full=False), 7, 0)


REFUSED = [
    ({"kind": "stored", "each_acceleration": True}, "each_acceleration needs a family.*not stored"),
    ({"kind": "snu", "exclude": "snu"}, "leaves no mask of kind snu"),
    ({"mixture": [{"kind": "binned"}, {"kind": "snu"}], "exclude": "snu"}, "leaves no mask"),
    ({"exclude": "snu"}, "needs masks that are drawn, and kind is stored"),
    ({"kind": "snu", "probability": {"maximum": 0.5}}, "probability is of mixture, drop or jitter"),
    ({"kind": "snu", "mixture": [{"kind": "poisson_disc"}]}, "over one axis, or all over two"),
    ({"kind": "poisson_disc", "jitter": {}}, "jitter is of masks over one axis"),
    ({"mixture": [{"kind": "file"}]}, "one of stored, snu"),
    ({"mixture": [{"kind": "binnd"}]}, "did you mean 'binned'"),
    ({"mixture": [{"kind": "binned", "weight": 0}]}, "mixture.0.weight\n.*greater than 0"),
    ({"mixture": [{"kind": "binned", "accelerations": []}]}, "mixture.0.accelerations\n.*at least"),
    ({"accelerations": {"low": 5, "high": 3}}, "a list, or a range such as {low: 3, high: 13}"),
    ({"accelerations": {"low": 3.5, "high": 4}}, "a list, or a range"),
    ({"accelerations": {"low": 3}}, "a list, or a range"),
    ({"accelerations": [0]}, "accelerations.0\n.*greater than or equal to 1"),
    ({"centre_fraction": 1}, "centre_fraction\n.*a share between 0 and 1"),
    ({"centre_fraction": {"low": 0.1, "high": 0.07}}, "centre_fraction\n.*a share between"),
    ({"centre_fraction": {"low": 0.1, "hihg": 0.2}}, "centre_fraction\n.*a share between"),
    ({"centre_fraction": "wide"}, "centre_fraction\n.*a share between"),
]


@pytest.mark.parametrize(("values", "message"), REFUSED)
def test_settings_that_cannot_be_meant_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MaskSettings(**values)


def test_settings_survive_their_own_dump() -> None:
    settings = MaskSettings(
        kind="snu", accelerations={"low": 3, "high": 5}, centre_lines=[31, 33],
        centre_fraction={"low": 0.07, "high": 0.1}, exclude="snu", drop={}, jitter={}, mixture=[
            {"kind": "binned", "accelerations": {"low": 4, "high": 8}, "centre_fraction": 0.04},
            {"kind": "stored", "weight": 2}],
    )  # type: ignore[arg-type] # fmt: skip
    dumped = json.loads(json.dumps(settings.model_dump(mode="json")))
    assert MaskSettings(**dumped) == settings
    assert settings.accelerations == (3, 4, 5)
    assert settings.mixture[0].accelerations == (4, 5, 6, 7, 8)
    assert dumped["centre_fraction"] == {"low": 0.07, "high": 0.1}


def test_masks_over_other_axes_share_no_batch() -> None:
    plane = poisson_disc_mask((24, 96), 4, 0.1, np.random.default_rng(0))
    own, drawn = MaskSettings(), MaskSettings(kind="poisson_disc")
    assert mask_axes(own, scan(mask=plane)) == mask_axes(drawn, scan()) == (-2, -1)
    assert (mask_axes(own, scan()), mask_axes(own, scan(mask=None))) == ((-1,), ())
    mixed = MaskSettings(mixture=[{"kind": "binned"}])  # type: ignore[list-item]
    assert Samples([scan()], mixed, Needs(), 7).keys() == [((2, 24, 96), (20, 20), (-1,))] * 2
    with pytest.raises(DataError, match=r"a: found another mask than masks\.mixture draws"):
        Samples([scan(mask=plane)], mixed, Needs(), 7).keys()
    refuse_cache([scan()], Needs(), drawn)  # which is of caches alone
    assert size_of_scans([scan()], [], Needs(), drawn).two_axes
    assert not size_of_scans([scan()], [], Needs(), mixed).two_axes
