"""The table of the readout-crop study: what is paired with what, and where it is put."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from dealias.atomic import write_bytes
from dealias.errors import DataError
from dealias.evaluation.scores import Scores
from dealias.evaluation.statistics import bootstrap_interval

RATES = (4, 8)
BEGIN, END = "<!-- readout crop: begin -->", "<!-- readout crop: end -->"
HEAD = ("anatomy", "margin", "rows", "SSIM X4", "SSIM X8", "SSIM minus off", "by seed", "NMSE",
        "NMSE minus off", "by seed", "PSNR dB", "CPU time")  # fmt: skip
Margin = int | None
Facts = Mapping[tuple[str, Margin], float]


@dataclass(frozen=True)
class Trained:
    """One training, judged.

    Attributes:
        anatomy: "brain" or "knee".
        margin: Rows beyond the target's on each side, or None without a crop.
        seed: Of weights, order and masks.
        scores: On the test people, each at every acceleration.
    """

    anatomy: str
    margin: Margin
    seed: int
    scores: Scores

    @property
    def key(self) -> tuple[str, Margin, int]:
        """What tells it from the study's others."""
        return self.anatomy, self.margin, self.seed


def differences(
    off: Sequence[Trained], on: Sequence[Trained], metric: str
) -> dict[int, dict[str, float]]:
    """How much more of a metric there is with the crop, slice by slice and by the same seed.

    Args:
        off: Trainings without a crop, of one anatomy.
        on: With it.
        metric: "ssim", "nmse" or "psnr".

    Returns:
        For each seed, each person's mean over slices and accelerations.

    Raises:
        DataError: They are not of the same seeds and slices.
    """
    plain, cropped = ({one.seed: _slices(one, metric) for one in part} for part in (off, on))
    shapes = [{seed: set(found) for seed, found in part.items()} for part in (plain, cropped)]
    if shapes[0] != shapes[1]:
        raise DataError("readout crop", "other seeds or slices", "the same", "run the study again")
    pairs: dict[int, dict[str, list[float]]] = {}
    for seed, slices in plain.items():
        for key, value in slices.items():
            of_person = pairs.setdefault(seed, {}).setdefault(key[0], [])
            of_person.append(cropped[seed][key] - value)
    return {seed: {name: fmean(many) for name, many in of.items()} for seed, of in pairs.items()}


def _slices(one: Trained, metric: str) -> dict[tuple[str, int, int], float]:
    """A metric by person, acceleration and slice."""
    return {
        (volume.name, volume.cell.acceleration, each.z): getattr(each, metric)
        for volume in one.scores.volumes
        for each in volume.slices
        if volume.cell is not None and each.ssim is not None
    }


def table(found: Sequence[Trained], rows: Facts, seconds: Facts) -> str:
    """The table of results.md.

    Args:
        found: Trainings of every anatomy, margin and seed, those without a crop among them.
        rows: Of the readout that the network sees, by anatomy and margin.
        seconds: Of a step, by the same.
    """
    lines = ["| " + " | ".join(HEAD) + " |", "|---" * len(HEAD) + "|"]
    for anatomy in dict.fromkeys(one.anatomy for one in found):
        here = [one for one in found if one.anatomy == anatomy]
        off = [one for one in here if one.margin is None]
        for margin in dict.fromkeys(one.margin for one in here):
            on = [one for one in here if one.margin == margin]
            ratio = seconds[anatomy, margin] / seconds[anatomy, None]
            cells = [anatomy, said(margin), str(rows[anatomy, margin]), *_cells(off, on)]
            cells.append(f"{ratio:.2f}")
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cells(off: Sequence[Trained], on: Sequence[Trained]) -> list[str]:
    """Everything of a line that comes from scores."""
    cells = [_ranged(on, "ssim", 4, rate) for rate in RATES]
    for metric in ("ssim", "nmse"):
        if metric == "nmse":
            cells.append(_ranged(on, metric, 4))
        cells += ["", ""] if on[0].margin is None else _paired(differences(off, on, metric))
    return [*cells, _ranged(on, "psnr", 2)]


def _paired(found: dict[int, dict[str, float]]) -> list[str]:
    """Mean difference with its bootstrap interval over seeds x people; each seed's own."""
    seeds = [fmean(of.values()) for of in found.values()]
    spread = bootstrap_interval([one for of in found.values() for one in of.values()])
    interval = "" if spread is None else f" [{spread[0]:+.4f}, {spread[1]:+.4f}]"
    return [f"{fmean(seeds):+.4f}{interval}", ", ".join(f"{one:+.4f}" for one in seeds)]


def _ranged(on: Sequence[Trained], metric: str, digits: int, rate: int | None = None) -> str:
    """Mean over slices, then over seeds; in brackets the seeds' range."""
    means = [
        fmean(value for key, value in _slices(one, metric).items() if rate in (None, key[1]))
        for one in on
    ]
    low, mean, high = (f"{one:.{digits}f}" for one in (min(means), fmean(means), max(means)))
    return f"{mean} ({low} to {high})"


def said(margin: Margin) -> str:
    """How a margin is written."""
    return "off" if margin is None else str(margin)


def put(path: Path, text: str) -> None:
    """Write a text between a page's marks, in place of what is there.

    Raises:
        DataError: There are none.
    """
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise DataError(path, "no marks", f"{BEGIN} and {END}", "add them where the table goes")
    write_bytes(path, f"{before}{BEGIN}\n{text}\n{END}{after}".encode())
