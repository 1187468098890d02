"""TensorBoard's events: the numbers of metrics.jsonl again, for who watches runs there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

FOLDER = "tensorboard"
_PLACE = ("kind", "epoch", "step")
"""Keys of a row that say where it belongs."""


class Events:
    """An events file.

    Args:
        writer: torch's SummaryWriter.
    """

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def row(self, values: dict[str, Any]) -> None:
        """Write a row's numbers by its step, such as `val/total` and `val/cells/knee-x4`."""
        for name, number in _numbers(values["kind"], values):
            self._writer.add_scalar(name, number, values["step"])
        self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


def open_events(folder: Path, purge: int, warn: Callable[[str], None]) -> Events | None:
    """Begin an events file in RUN/main/tensorboard.

    Args:
        folder: RUN/main.
        purge: Events of this step and later ones, of a run that went on without being saved, are
            hidden.
        warn: Told if tensorboard is not installed.

    Returns:
        None then.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        text = "training.tensorboard: tensorboard is not installed; metrics.jsonl has the numbers"
        warn(f"{text}; pip install tensorboard")
        return None
    return Events(SummaryWriter(str(folder / FOLDER), purge_step=purge))


def _numbers(path: str, values: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _numbers(f"{path}/{key}", value)
        elif isinstance(value, int | float) and key not in _PLACE:
            yield f"{path}/{key}", float(value)
