"""What a check found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Level = Literal["PASS", "WARN", "FAIL"]


@dataclass(frozen=True)
class Finding:
    """One line of a check.

    Attributes:
        level: FAIL must be mended; WARN should be looked at.
        file: Which file.
        item: What was looked at.
        found: What stands there.
        expected: What should.
        do: What to do.
    """

    level: Level
    file: str
    item: str
    found: str
    expected: str = ""
    do: str = ""

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return dict(vars(self))


@dataclass(frozen=True)
class Checked:
    """Findings of one file, and what tells whether it appears twice.

    Attributes:
        file: The k-space file.
        findings: What was found.
        id: Content hash of the scan, or None if it could not be opened.
        family: Mask family and acceleration ("snu X4"), for the data set's summary.
        patient: The file's attribute `patient_id`, or None.
    """

    file: Path
    findings: tuple[Finding, ...]
    id: str | None
    family: str | None
    patient: str | None = None


def worst(findings: Iterable[Finding]) -> Level:
    """The worst level among findings; PASS if there are none."""
    levels = {finding.level for finding in findings}
    return "FAIL" if "FAIL" in levels else "WARN" if "WARN" in levels else "PASS"
