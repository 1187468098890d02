"""Tables of studies, in Markdown: they are read in a terminal, and put into notes as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dealias.runs.study.ablate import Ablation, Row
    from dealias.runs.study.noise import Noise
    from dealias.runs.study.repro import Difference, Trace

SAME = "not distinguishable"


def markdown(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of a table whose columns are as wide as what is in them."""
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    yield line(names)
    yield f"|{'|'.join('-' * (width + 2) for width in widths)}|"
    yield from map(line, rows)


def signed(value: float) -> str:
    """A difference of scores; 5 digits, as gains of .0002 are claimed."""
    return f"{value:+.5f}"


def interval(ends: tuple[float, float] | None) -> str:
    """Its two ends."""
    return "-" if ends is None else f"{signed(ends[0])} to {signed(ends[1])}"


def verdict(distinguishable: bool, difference: float) -> str:
    """In a word."""
    if not distinguishable:
        return SAME
    return "better" if difference > 0 else "worse"


def repro_lines(one: Trace, difference: Difference | None) -> Iterator[str]:
    """What was found of a training that was run twice."""
    steps = len(one.steps)
    if difference is None:
        yield f"identical: {steps} steps twice, every loss, gradient norm and weight bit-equal"
        return
    yield f"not identical: step {difference.step} of {steps} is the first that differs"
    pairs = (("mean loss so far", difference.losses), ("gradient norm", difference.norms))
    for what, (a, b) in pairs:
        if a is None or b is None:
            yield f"{what}: {a} and {b}"
        else:
            yield f"{what}: {a:.9g} and {b:.9g} ({b - a:+.3g})"
    yield f"first differing module: {difference.module} ({difference.what})"
    share = f"{difference.share:.3g} of the largest weight"
    yield f"weights after the last step: at most {difference.apart:.3g} apart ({share})"


def noise_lines(noise: Noise) -> Iterator[str]:
    """The spread over seeds."""
    names = "cell", "mean", "standard deviation", "95 % interval of it", "two runs differ if above"
    rows = [
        (
            name, f"{one.mean:.5f}", f"{one.deviation:.5f}",
            f"{one.ci95[0]:.5f} to {one.ci95[1]:.5f}", f"{one.detectable():.5f}",
        )
        for name, one in noise.spreads.items()
    ]  # fmt: skip
    yield from markdown(names, rows)
    yield f"SSIM by {noise.protocol}, {noise.seeds} seeds"


def ablation_lines(found: Ablation) -> Iterator[str]:
    """A row for each technique in each cell, and the recipe's own noise."""
    names = "technique", "stated", "cell", "effect", "95 % interval", "noise", ""
    yield from markdown(names, [_ablated(row) for row in found.rows])
    total = found.noise.spreads["total"]
    yield (
        f"SSIM by {found.noise.protocol}, with minus without, {found.noise.seeds} seeds, paired by "
        f"seed and slice; two single runs of the recipe differ by up to {total.detectable():.5f}"
    )
    if found.unused:
        yield f"not in use in this recipe: {', '.join(found.unused)}"


def _ablated(row: Row) -> tuple[str, ...]:
    effect, stated = row.effect, row.technique.stated
    return (
        row.technique.name, "" if stated is None else f"{stated:+.4f}", effect.cell,
        signed(effect.mean), interval(effect.ci95), f"{row.noise:.5f}",
        verdict(row.distinguishable, effect.mean),
    )  # fmt: skip
