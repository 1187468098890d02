"""What image augmentation does to where the anatomy lies, and to the noise of targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from dealias.data.augment import AugmentSettings, TransformSettings
from dealias.data.augment_noise import noise_left
from dealias.data.augment_slices import anatomy_of
from dealias.data.positions import Histogram, histograms, proposed, survey
from dealias.data.remask import MaskSettings
from dealias.data.samples import Samples
from dealias.data.strength import StrengthSettings
from dealias.evaluation.augmentation_facts import AugmentationFacts, HistogramFacts, Limits
from dealias.evaluation.inside import spread
from dealias.scan.measurement import Needs
from dealias.scan.scan import Scan

SLICES = 48
"""Most slices of an anatomy that are looked at, evenly spread over its scans."""
BINS = 12


def augmentation_facts(
    scans: Sequence[Scan],
    masks: MaskSettings,
    augment: AugmentSettings,
    needs: Needs,
    seed: int,
    progress: Callable[[int], None] = lambda slices: None,
) -> dict[str, AugmentationFacts]:
    """Look at some training slices as they are, and as augmentation makes them.

    Args:
        scans: Of the training.
        masks: The training's.
        augment: The training's.
        needs: The network's.
        seed: The run's.
        progress: Called with the number of slices looked at since the last call.

    Returns:
        By anatomy, "" for scans without a label.

    Raises:
        DataError: A scan cannot be read or augmented.
    """
    samples = Samples(scans, masks, augmentation_needs(needs), seed, augment=augment)
    strength = highest(augment.strength)
    found: dict[str, AugmentationFacts] = {}
    for anatomy, places in _places(samples).items():
        before, after = (
            survey(samples, one, places=_told(places, progress)) for one in (0.0, strength)
        )
        for name, one in histograms(before, after, BINS).items():
            settings = augment.of(anatomy or None)
            scan = samples.scans[samples.index[places[0]][0]]
            grids = scan.geometry.encoded_hw, scan.geometry.target_hw
            noise = noise_left(settings, *grids, augment.edges)
            found[name] = AugmentationFacts(
                slices=len(before[name]),
                strength=strength,
                histograms={quantity: _facts(shown) for quantity, shown in one.items()},
                limits=_limits(settings),
                proposed=_limits(proposed(before[name])),
                noise={str(mode): left for mode, left in noise.items()},
                interpolation=augment.interpolation,
            )
    return found


def augmentation_needs(needs: Needs) -> Needs:
    """What of a network's needs matters here: rows, which a cache may not have; no maps."""
    return Needs(readout_crop=needs.readout_crop)


def highest(settings: StrengthSettings) -> float:
    """The highest strength that any epoch has."""
    if settings.kind == "points":
        return max(value for _, value in settings.points)
    return settings.maximum


def slices_looked_at(scans: Sequence[Scan]) -> int:
    """How many `augmentation_facts` will look at, each counted before and after."""
    counts: dict[str | None, int] = {}
    for scan in scans:
        counts[anatomy_of(scan)] = counts.get(anatomy_of(scan), 0) + scan.slices
    return sum(2 * min(SLICES, count) for count in counts.values())


def _places(samples: Samples) -> dict[str, list[int]]:
    """Indices of some samples of each anatomy."""
    places: dict[str, list[int]] = {}
    # of a slice that an epoch holds several times, once
    for index in range(0, len(samples), samples.masks.copies):
        scan = samples.scans[samples.index[index][0]]
        places.setdefault(anatomy_of(scan) or "", []).append(index)
    return {
        anatomy: [known[i] for i in spread(len(known), SLICES)] for anatomy, known in places.items()
    }


def _told(places: Sequence[int], progress: Callable[[int], None]) -> Iterator[int]:
    for place in places:
        yield place
        progress(1)


def _facts(one: Histogram) -> HistogramFacts:
    return HistogramFacts(
        edges=tuple(one.edges.tolist()),
        before=tuple(one.before.tolist()),
        after=tuple(one.after.tolist()),
        overlap=one.overlap,
    )


def _limits(settings: TransformSettings) -> Limits:
    values = settings.model_dump()
    return {key: one for key, one in values.items() if key.startswith("max_")}
