"""When a trial is given up: what its validations reached, beside what the finished ones' did."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from dealias.runs.study.sweep.space import PruneSettings

Validations = Sequence[tuple[int, float]]
"""(epochs done, total) pairs."""


def below_median(
    epoch: int, own: Validations, finished: Iterable[Validations], settings: PruneSettings
) -> str | None:
    """Why a trial is to be given up, or None.

    Args:
        epoch: Epochs that it has done.
        own: Its validations.
        finished: Those of each trial that came to its end.
        settings: Which trials and epochs are spared.

    Returns:
        Such as "pruned at epoch 3: 0.9312 is below the median of 5 trials, 0.9400".
    """
    best = _best(own, epoch)
    others = [one for one in (_best(other, epoch) for other in finished) if one is not None]
    if epoch <= settings.warmup_epochs or best is None or len(others) < settings.startup_trials:
        return None
    middle = median(others)
    if best >= middle:
        return None
    text = f"{best:.4f} is below the median of {len(others)} trials, {middle:.4f}"
    return f"pruned at epoch {epoch}: {text}"


def _best(validations: Validations, epoch: int) -> float | None:
    return max((total for done, total in validations if done <= epoch), default=None)
