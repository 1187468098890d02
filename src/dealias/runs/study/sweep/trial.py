"""What is kept of a trial: its values from the moment that it is begun, and how it ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dealias.atomic import write_json
from dealias.errors import DataError

RUNNING, FINISHED, PRUNED = "running", "finished", "pruned"
FAILED, REFUSED = "failed", "never started"


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        number: From 0.
        values: Of every setting of the space.
        state: "running" until it has ended: "finished", "pruned", "failed" or "never started".
        reason: Why it did not finish.
        total: Of its model on the validation split, by the sweep's protocol; None without a model.
        cells: The same in each cell.
        epochs: That it trained, of all its stages.
        validations: Epochs done, and the validation's total then.
    """

    number: int
    values: dict[str, Any]
    state: str = RUNNING
    reason: str = ""
    total: float | None = None
    cells: dict[str, float] = field(default_factory=dict)
    epochs: int = 0
    validations: tuple[tuple[int, float], ...] = ()

    @property
    def ended(self) -> bool:
        """Whether nothing is left to do."""
        return self.state != RUNNING

    @property
    def reached(self) -> float | None:
        """The total, or the best validation of a trial that was given up."""
        best = max((total for _, total in self.validations), default=None)
        return best if self.total is None and self.state == PRUNED else self.total

    @property
    def outcome(self) -> str:
        """What became of it, in a line; nothing of one that finished."""
        if self.state in (FINISHED, PRUNED):
            return self.reason
        return f"{self.state}: {self.reason}" if self.reason else self.state

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {**asdict(self), "validations": [list(one) for one in self.validations]}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Trial:
        """What `to_json` wrote."""
        pairs = tuple((int(epoch), float(total)) for epoch, total in value["validations"])
        return Trial(**{**value, "validations": pairs})


class Records:
    """The trials of a sweep, each a small file beside its run: trials/0003.json.

    Args:
        folder: OUT/trials.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, number: int) -> Path:
        """The run folder of a trial."""
        return self.folder / f"{number:04d}"

    def read(self, number: int) -> Trial | None:
        """A trial that was begun.

        Raises:
            DataError: Its file is damaged.
        """
        path = self._file(number)
        if not path.is_file():
            return None
        try:
            return Trial.from_json(json.loads(path.read_bytes()))
        except (ValueError, TypeError, KeyError) as error:
            found = f"{type(error).__name__}: {error}"
            raise DataError(path, found, "a trial's record", "remove it: it is run again") from None

    def write(self, trial: Trial) -> None:
        """Keep a trial as it is now, whole or not at all.

        Raises:
            DiskError: The disk is full or may not be written.
        """
        write_json(self._file(trial.number), trial.to_json())

    def all(self) -> tuple[Trial, ...]:
        """All that were begun, by number."""
        numbers = sorted(
            int(path.stem) for path in self.folder.glob("*.json") if path.stem.isdigit()
        )
        found = (self.read(number) for number in numbers)
        return tuple(trial for trial in found if trial is not None)

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:04d}.json"
