"""What is wrong between files: the same scan or the same person where there should be another."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Literal

from dealias.data.findings import Checked, Finding, Level
from dealias.data.sets import trained_on


def duplicates(checked: list[Checked]) -> list[Finding]:
    """The same scan twice: forbidden across sets, odd within one."""
    findings = []
    for files in _groups(checked, "id"):
        level: Level = "FAIL" if _across(files) else "WARN"
        item = "leak" if _across(files) else "duplicate"
        found, do = f"the same scan as {_names(files[1:])}", "keep each person in one set alone"
        findings.append(Finding(level, str(files[0]), item, found, "one copy", do))
    return findings


def people(checked: list[Checked]) -> list[Finding]:
    """One person in train and in another set, as `patient_id` tells; the name stays unsaid."""
    findings = []
    for files in _groups(checked, "patient"):
        held_out = [file for file in files if not trained_on(file)]
        if _across(files) and held_out:
            found = f"a person of the training set: {_names(held_out)}"
            do = "keep each person in one set alone"
            findings.append(Finding("WARN", str(files[0]), "leak", found, "other people", do))
    return findings


def _groups(checked: list[Checked], key: Literal["id", "patient"]) -> list[list[Path]]:
    """Files that share a value, where more than one does."""
    groups: dict[str, list[Path]] = defaultdict(list)
    for one in checked:
        value = getattr(one, key)
        if value is not None:
            groups[value].append(one.file)
    return [files for files in groups.values() if len(files) > 1]


def _across(files: list[Path]) -> bool:
    """Whether some are trained on and others are not."""
    return len({trained_on(file) for file in files}) > 1


def _names(files: list[Path]) -> str:
    return ", ".join(str(file) for file in files[:3])
