"""Mask rules of a data set: how many volumes have which, and whether training has them all."""

from __future__ import annotations

from collections import Counter, defaultdict

from dealias.data.findings import Checked, Finding
from dealias.data.sets import set_of, trained_on
from dealias.physics.sampling.mask import SamplingMask
from dealias.physics.sampling.table import FAMILIES

_FULL = "full X1"


def rule(mask: SamplingMask) -> str:
    """Family and nominal acceleration: "snu X4"; the family alone where R is only estimated."""
    estimated = mask.family in ("random", "custom") or mask.nominal is None
    return mask.family if estimated else f"{mask.family} X{mask.nominal:g}"


def counted_rules(checked: list[Checked]) -> list[Finding]:
    """Volumes by mask rule: of each set if there are several, and last of the whole."""
    by_set: dict[str, list[Checked]] = defaultdict(list)
    for one in checked:
        by_set[set_of(one.file) or ""].append(one)
    said = {f"masks of {name}": _counted(by_set[name]) for name in sorted(by_set) if name}
    said = (said if len(by_set) > 1 else {}) | {"masks": _counted(checked)}
    return [Finding("PASS", "all", item, found) for item, found in said.items() if found]


def unseen_rules(checked: list[Checked]) -> list[Finding]:
    """Sets that hold mask rules of which training has no example.

    Full masks are no rule: where training has no others, its recipe is what draws them.
    """
    masked = [one for one in checked if one.family and one.family != _FULL]
    known = {one.family or "" for one in masked if trained_on(one.file)}
    strange: dict[str, list[Checked]] = defaultdict(list)
    for one in masked:
        if known and one.family not in known and (name := set_of(one.file)):
            strange[name].append(one)
    findings = []
    for name, volumes in sorted(strange.items()):
        found = f"{name} has {_counted(volumes)}"
        expected = f"rules that training has: {', '.join(sorted(known))}"
        do = _advice({one.family or "" for one in volumes}, known)
        findings.append(Finding("WARN", str(volumes[0].file), "masks", found, expected, do))
    return findings


def _advice(strange: set[str], known: set[str]) -> str:
    """What to train with so that these rules are no longer new, and the old ones stay."""
    family = sorted(strange)[0].partition(" X")[0]
    chosen = "masks.kind, masks.accelerations"
    if family in FAMILIES and all(one.startswith(f"{family} X") for one in strange):
        rates = [one.partition(" X") for one in strange | known]
        said = sorted({int(float(rate)) for name, _, rate in rates if name == family})
        chosen = f"masks.kind={family} masks.accelerations={said}".replace(", ", ",")
    return f"train on such masks too ({chosen}), or expect worse images there"


def _counted(checked: list[Checked]) -> str:
    counts = Counter(one.family for one in checked if one.family)
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
