"""What each technique of a recipe gives, beside what chance alone gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dealias.evaluation.effect import Effect, effects
from dealias.evaluation.scores import Scores
from dealias.runs.study.clock import Done
from dealias.runs.study.noise import Noise, noise_of
from dealias.runs.study.series import AS_IT_IS, Arm, Study, run_study
from dealias.runs.study.techniques import Technique, in_use


@dataclass(frozen=True)
class Row:
    """A technique in one cell, or in the total.

    Attributes:
        technique: Which.
        effect: Score with it minus score without it, paired by seed and slice.
        noise: The difference of two means over as many seeds that chance alone would exceed once in
            twenty times.
    """

    technique: Technique
    effect: Effect
    noise: float

    @property
    def distinguishable(self) -> bool:
        """Whether the interval leaves out 0 and the effect is larger than the noise."""
        return self.effect.distinguishable and abs(self.effect.mean) > self.noise

    @property
    def verdict(self) -> str:
        """For a person."""
        if not self.distinguishable:
            return "not distinguishable"
        return "gains" if self.effect.mean > 0 else "loses"

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        ends = None if self.effect.ci95 is None else list(self.effect.ci95)
        return {
            "technique": self.technique.name,
            "without": list(self.technique.without),
            "stated": self.technique.stated,
            "source": self.technique.source,
            "cell": self.effect.cell,
            "effect": self.effect.mean,
            "ci95": ends,
            "noise": self.noise,
            "verdict": self.verdict,
        }


@dataclass(frozen=True)
class Ablation:
    """What a study found.

    Attributes:
        noise: Of the recipe as it is.
        rows: For each technique in use, its cells, then the total.
        unused: Names of techniques that the recipe does not use.
    """

    noise: Noise
    rows: tuple[Row, ...]
    unused: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        rows = [row.to_json() for row in self.rows]
        return {"noise": self.noise.to_json(), "rows": rows, "unused": list(self.unused)}


def ablate(
    study: Study,
    techniques: Sequence[Technique],
    progress: Callable[[Done], None] = lambda done: None,
    warn: Callable[[str], None] = lambda text: None,
) -> Ablation:
    """Train a recipe as it is and without each technique in turn, all with the same seeds.

    Args:
        study: What and where.
        techniques: To be left out, one at a time.
        progress: Told of every step.
        warn: Told of everything that is not as it should be.

    Raises:
        UserError: As for `run_study`.
    """
    used = in_use(techniques, study.recipe, study.overrides)
    arms = {one: Arm(f"without-{one.name}", one.without) for one in used}
    found = run_study(study, [Arm(AS_IT_IS), *arms.values()], progress, warn)
    whole, noise = found[AS_IT_IS], noise_of(found[AS_IT_IS])
    rows = [row for one, arm in arms.items() for row in _rows(one, whole, found[arm.name], noise)]
    unused = tuple(one.name for one in techniques if one not in used)
    return Ablation(noise, tuple(rows), unused)


def _rows(
    technique: Technique, whole: Sequence[Scores], without: Sequence[Scores], noise: Noise
) -> list[Row]:
    return [
        Row(technique, effect, noise.spreads[effect.cell].detectable(noise.seeds))
        for effect in effects(without, whole)
    ]
