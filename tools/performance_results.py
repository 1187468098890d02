"""Result files of the benchmarks, as the performance page needs them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dealias.sizes import said_memory


@dataclass(frozen=True)
class Result:
    """One result file.

    Attributes:
        name: Of the file, without date and ending: of its pictures too.
        values: All that is in it.
    """

    name: str
    values: dict[str, Any]

    @property
    def kind(self) -> str:
        """Of measurement."""
        return str(self.values["kind"])

    @property
    def facts(self) -> dict[str, Any]:
        """Machine and versions."""
        return dict(self.values["facts"])

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU did the work."""
        return self.facts["device"] == "cuda"

    @property
    def memory(self) -> str:
        """What a row did not fit in."""
        return self.values["arguments"].get("cap") or "memory"

    def key(self) -> str:
        """The same for the same measurement on the same hardware."""
        facts = self.facts
        machine = [facts[one] for one in ("device", "cpu", "cores", "threads", "gpu")]
        return json.dumps([self.kind, self.values["arguments"], machine], sort_keys=True)

    def measured(self) -> str:
        """When, on what, with which versions, by which command."""
        facts, rounds = self.facts, f"; {self.values['arguments']['rounds']} rounds"
        what = f"{facts['cpu']}, {facts['cores']} cores, {said_memory(facts['ram'])} of RAM"
        if facts["gpu"]:
            what = f"{facts['gpu']['name']}, {said_memory(facts['gpu']['memory'])}; {what}"
        threads = f"{facts['threads']} thread{'s' if facts['threads'] > 1 else ''}"
        kernels = f"CPU kernels {facts['kernels']}; " if "kernels" in facts else ""
        return (
            f"`{self.values['command']}`\n\n{facts['date']}, {what}; {threads}, load "
            f"{facts['load']:g} when it began; {kernels}{facts['system']}, "
            f"Python {facts['python']}, torch {facts['torch']}, fastmri {facts['fastmri']}, "
            f"dealias {facts['dealias']}{'' if self.kind == 'varnet-memory' else rounds}."
        )


def read(folder: Path) -> list[Result]:
    """The newest file of each measurement and machine, CPUs before GPUs.

    Args:
        folder: With files named by their date first.
    """
    newest: dict[str, Result] = {}
    for path in sorted(folder.glob("*.json"), key=lambda one: one.name):
        values = json.loads(path.read_text())
        date = values["facts"]["date"]
        result = Result(path.stem.removeprefix(f"{date}-"), values)
        before = newest.get(result.key())
        if before is None or before.facts["date"] <= date:
            newest[result.key()] = result
    return sorted(newest.values(), key=lambda one: (one.on_gpu, one.name))


def of_kind(results: Iterable[Result], kind: str) -> list[Result]:
    """Those of one kind."""
    return [one for one in results if one.kind == kind]


def fits(row: dict[str, Any]) -> bool:
    """Whether memory sufficed for a row."""
    return bool(row.get("fits", True))


def size(text: str) -> str:
    """16x640x368 as people read it."""
    return text.replace("x", " x ")
