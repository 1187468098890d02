"""Which expert a scan is for: by its mask, and by its anatomy where experts differ in it.

Team sMaRtIfy's Broker (SNU fastMRI challenge 2025) sent scans whose mask was exactly the public
rule to specialists that had seen no other, and all others to networks trained on many masks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from dealias.errors import CheckpointError, DataError
from dealias.inference.classifier import Classifier, ClassifierSettings, classifier_from
from dealias.models.mixture import Experts
from dealias.models.network import Network
from dealias.physics.sampling.identify import identify
from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.scan import Cell, Scan

ANY = "any"
"""The only key of a bank whose one network is for every scan."""
PREFIX = "classifier."
"""Of a classifier's weights in the file of its experts."""
_UNTOLD = {"full", "random", "custom"}
"""Families of which the lines do not say at which spacing they were drawn."""
Bank = dict[str, str]


class Route(NamedTuple):
    """Which expert, and why."""

    name: str
    why: str


class Router(BaseModel):
    """How scans are sent to experts.

    Attributes:
        snu_rule: Experts of masks that are exactly the challenge's, by cell ("brain-x4"), or of
            all by "any"; empty where such masks are like others.
        other: Experts of all other masks.
        labels: Whether a scan's label says its anatomy.
        classifier: What says it in place of labels.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    snu_rule: Bank = {}
    other: Bank = Field(min_length=1)
    labels: bool = False
    classifier: ClassifierSettings | None = None

    @property
    def anatomies(self) -> list[str]:
        """That experts differ in."""
        return sorted({c.anatomy for bank in (self.snu_rule, self.other) for c in _cells(bank)})

    def bank(self, mask: SamplingMask) -> tuple[Bank, str]:
        """The experts that a mask goes to, and why."""
        at = f" at X{mask.nominal:g}" if mask.nominal else ""
        family = "the public rule" if mask.family == "snu" else mask.family
        if not self.snu_rule:
            return self.other, f"{family}{at}"
        known = {cell.acceleration for cell in _cells(self.snu_rule)}
        if mask.family == "snu" and (not known or mask.nominal in known):
            return self.snu_rule, f"{family}{at}"
        no = "at none of its specialists'" if mask.family == "snu" else "not the public rule"
        return self.other, f"{family}{at}, {no}"


class RoutedExperts(Experts):
    """Experts that know which of them a scan is for.

    Args:
        members: By name. Nothing is shared between them.
        router: Which scan is whose.
        classifier: The router's, or None.

    Attributes:
        anatomy: Said by whoever reconstructs; goes before everything else.

    Raises:
        SettingsError: They ask for data that cannot be one measurement.
    """

    def __init__(
        self, members: Mapping[str, Network], router: Router, classifier: Classifier | None = None
    ) -> None:
        super().__init__(members)
        self.router = router
        self.classifier = classifier
        self.anatomy: str | None = None

    def route(self, scan: Scan, mask: SamplingMask, device: torch.device) -> Route:
        """The expert of a scan under a mask, and why.

        Only the lines of the mask count: its family and acceleration are found from them.

        Raises:
            DataError: Nothing says the anatomy, or there is no expert for it.
        """
        found = identify(mask.lines)
        bank, why = self.router.bank(found)
        if ANY in bank:
            return Route(bank[ANY], why)
        cells = _cells(bank)
        anatomies = sorted({cell.anatomy for cell in cells})
        if len(anatomies) > 1:
            anatomy, said = self._anatomy(scan, mask, device, anatomies)
            cells, why = [cell for cell in cells if cell.anatomy == anatomy], f"{why}; {said}"
        rate, near = acceleration(found, [cell.acceleration for cell in cells])
        why = f"{why}; {near}" if near else why
        return Route(bank[str(Cell(cells[0].anatomy, rate))], why)

    def _anatomy(
        self, scan: Scan, mask: SamplingMask, device: torch.device, known: list[str]
    ) -> tuple[str, str]:
        """The anatomy of a scan, and what says it."""
        if self.anatomy is not None:
            anatomy, said = self.anatomy, "as --anatomy says"
        elif self.classifier is not None:
            anatomy, counted = self.classifier.decide(scan, mask, device)
            said = f"by the classifier, {counted}"
        elif self.router.labels and scan.cell is not None:
            anatomy, said = scan.cell.anatomy, "by its label"
        else:
            found = "no label" if self.router.labels else "no classifier in the model"
            do = f"say --anatomy {' or --anatomy '.join(known)}"
            raise DataError(f"{scan.name}: anatomy", found, "one, as experts differ in it", do)
        if anatomy not in known:
            raise DataError(f"{scan.name}: anatomy", f"'{anatomy}'", f"one of {', '.join(known)}")
        return anatomy, f"{anatomy} {said}"


def acceleration(mask: SamplingMask, known: list[int]) -> tuple[int, str]:
    """The acceleration of an expert that is nearest to a mask's, and a word where it differs.

    Where a rule made the mask its nominal acceleration counts. Lines drawn at random say only how
    many they are, which at X8 with 8 % ACS lines may be W/8 in all or W/8 beside the ACS lines, as
    whoever drew them counted: the nearest of both counts.

    Args:
        mask: As `identify` gives it.
        known: Of the experts.
    """
    if mask.family not in _UNTOLD and mask.nominal:
        nominal = mask.nominal
        rate = min(known, key=lambda one: (abs(math.log(nominal / one)), one))
        return rate, "" if rate == nominal else f"nearest is X{rate}"
    share = max(float(mask.lines.mean()), 1 / mask.lines.size)
    acs = float(mask.acs_lines().mean())

    def off(rate: int) -> float:
        expected = (1 / rate, acs + (1 - acs) / rate)
        return min(abs(math.log(share / one)) for one in expected)

    rate = min(known, key=lambda one: (off(one), one))
    return rate, f"{share:.0%} of samples, nearest is X{rate}"


def routed(
    path: Path, experts: Network, settings: object, weights: Mapping[str, Tensor]
) -> RoutedExperts:
    """Experts with the router of their file.

    Args:
        path: The file, for messages.
        experts: As they were rebuilt.
        settings: The header's "router".
        weights: Of the classifier, without their prefix.

    Raises:
        CheckpointError: The router does not add up, or sends scans to nobody.
    """
    if not isinstance(experts, Experts):
        raise CheckpointError(path, "a router", "none: the network is no mixture of experts")
    try:
        router = Router.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(("router", *map(str, first["loc"])))
        raise CheckpointError(path, f"{key}: {first['msg']}", "a router of dealias") from None
    for bank in (router.snu_rule, router.other):
        _refuse_odd_bank(path, bank, experts.routes)
    if router.classifier is None and weights:
        raise CheckpointError(path, f"'{PREFIX}{next(iter(weights))}'", "no classifier's weights")
    classifier = None
    if router.classifier is not None:
        classifier = classifier_from(path, router.classifier.model_dump(), weights)
    members = {name: experts.members[name] for name in experts.routes}
    return RoutedExperts(members, router, classifier)  # type: ignore[arg-type]


def _refuse_odd_bank(path: Path, bank: Bank, routes: Sequence[str]) -> None:
    for key, name in bank.items():
        if name not in routes:
            raise CheckpointError(path, f"a router to '{name}'", "one of its experts")
        if _cell(key) is None and (key != ANY or len(bank) > 1):
            raise CheckpointError(path, f"a route '{key}'", f"a cell such as brain-x4, or '{ANY}'")


def _cells(bank: Bank) -> list[Cell]:
    return [cell for key in bank if (cell := _cell(key)) is not None]


def _cell(key: str) -> Cell | None:
    """The cell that a key such as brain-x4 names."""
    anatomy, found, rate = key.rpartition("-x")
    return Cell(anatomy, int(rate)) if found and rate.isdecimal() and int(rate) > 0 else None
