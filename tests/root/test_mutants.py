"""Every fault that `make mutants` plants still has its place: a stale one would prove nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from mutants import Mutant, all_mutants  # noqa: E402


@pytest.mark.parametrize("mutant", all_mutants(), ids=lambda mutant: mutant.name)
def test_its_text_stands_once_and_its_tests_exist(mutant: Mutant) -> None:
    assert (ROOT / mutant.file).read_text().count(mutant.old) == 1
    assert mutant.new != mutant.old
    for test in mutant.tests.split():
        assert (ROOT / test.split("::")[0]).exists(), test


def test_no_two_have_one_name() -> None:
    names = [mutant.name for mutant in all_mutants()]
    assert len(set(names)) == len(names)
