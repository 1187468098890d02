"""Result files: their names, their command, and what must not be in them."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

import record

FACTS = {"date": "2026-11-21", "device": "cpu", "cpu": "a CPU", "gpu": None}


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    made.add_argument("--size", default="16x640x368")
    made.add_argument("--base-coils", type=int, default=8)
    made.add_argument("--rows", default="")
    made.add_argument("--memory", action="store_true")
    made.add_argument("--data", type=Path)
    record.result_options(made, 5)
    return made


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/benchmarks/varnet.py"])


@pytest.mark.parametrize(
    "typed", ["", "--memory", "--size 4x64x48 --base-coils 2", "--rows 'crop; all rows' --rounds 9"]
)
def test_the_command_says_the_same_again(typed: str, script: None) -> None:
    asked = parser().parse_args(shlex.split(typed))
    said = shlex.split(record.command(parser(), asked))
    assert said[:2] == ["python", "benchmarks/varnet.py"]
    assert parser().parse_args(said[2:]) == asked
    assert len(said) == 2 + len(shlex.split(typed))


def test_no_place_of_this_machine_is_written(tmp_path: Path, script: None) -> None:
    typed = ["--data", str(tmp_path / "patients"), "--out", str(tmp_path / "one.json")]
    asked = parser().parse_args(typed)
    written = record.save("loader", "1x2x3", parser(), asked, {"facts": FACTS})
    text = written.read_text()
    assert "patients" not in text
    assert str(tmp_path) not in text
    assert json.loads(text)["command"] == "python benchmarks/varnet.py --data DATA"


def test_files_are_named_by_what_they_hold() -> None:
    def name(said: dict[str, Any], **facts: Any) -> str:
        return record.name("varnet", "16x640x368", said, {**FACTS, **facts})

    first = name({"cascades": 12})
    assert first.startswith("2026-11-21-varnet-16x640x368-cpu-")
    assert first == name({"cascades": 12}, load=3.0)
    facts = {"date": "2026-11-22", "cpu": "another", "device": "cuda"}
    others = [name({"cascades": 12}, **{key: value}) for key, value in facts.items()]
    assert len({first, name({"cascades": 8}), *others}) == 5


def test_facts_name_the_machine() -> None:
    found = record.facts()
    assert found["cpu"]
    assert found["gpu"] is None
    assert 2**28 < found["ram"] < 2**50
    assert found["cores"] >= 1
    assert found["torch"].startswith("2.")
    assert "commit" in found["dealias"]
