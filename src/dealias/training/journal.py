"""What a training writes beside its checkpoints; one rank alone writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dealias.atomic import write_bytes, write_json
from dealias.training.events import Events
from dealias.training.step import StepResult


class Journal:
    """metrics.jsonl, nan_report.json and other small files of RUN/main.

    Args:
        folder: RUN/main.
        writes: Whether anything is written at all.
    """

    def __init__(self, folder: Path, writes: bool) -> None:
        self.folder, self.writes = folder, writes
        self.events: Events | None = None

    def begin(self, epoch: int) -> None:
        """Keep the rows of earlier epochs, and drop those of epochs that will be run again."""
        if not self.writes:
            return
        path = self.folder / "metrics.jsonl"
        rows = []
        for line in path.read_text().splitlines() if path.is_file() else []:
            try:
                row = json.loads(line)
            except ValueError:
                break  # a line half-written when the power went
            if row["epoch"] < epoch:
                rows.append(json.dumps(row) + "\n")
        write_bytes(path, "".join(rows).encode())

    def row(self, **values: Any) -> None:
        """Append a row to metrics.jsonl, and tell the events of it."""
        if self.writes:
            with (self.folder / "metrics.jsonl").open("a") as file:
                file.write(json.dumps(values) + "\n")
        if self.events is not None:
            self.events.row(values)

    def close(self) -> None:
        """Nothing more will be written."""
        if self.events is not None:
            self.events.close()

    def file(self, name: str, value: Any) -> None:
        """Write a small JSON file."""
        if self.writes:
            write_json(self.folder / name, value)

    def bad_step(self, step: int, epoch: int, result: StepResult) -> None:
        """Write nan_report.json: which slices were in a step that was not taken."""
        slices = [
            {"name": name, "z": z, "loss": str(value)}
            for (name, z), value in zip(result.names, result.losses, strict=True)
        ]
        self.file("nan_report.json", {"step": step, "epoch": epoch, "slices": slices})
