"""The last day that a run can start: arithmetic on a calendar, whatever day it is today."""

from __future__ import annotations

import datetime
import time

import pytest

from dealias.cli.plan_time import said_deadline
from dealias.errors import SettingsError
from dealias.runs.deadline import Deadline, deadline_of

UTC = datetime.UTC
DAY = 86_400.0


def at(*parts: int) -> datetime.datetime:
    return datetime.datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type,misc]


def due(now: datetime.datetime, days: float = 20, reserve: float = 0.25) -> Deadline:
    return Deadline(at(2026, 8, 14, 18), days * DAY, reserve, now)


@pytest.fixture
def in_seoul(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Seoul")
    time.tzset()
    yield  # type: ignore[misc]
    monkeypatch.undo()
    time.tzset()


def test_it_starts_as_long_before_as_it_takes() -> None:
    found = due(at(2026, 7, 1))
    assert found.latest == at(2026, 7, 25, 18)
    assert found.careful == at(2026, 7, 20, 18)
    assert not found.too_late
    assert found.share == 1


def test_the_last_moment_is_not_too_late_and_the_next_is() -> None:
    last = at(2026, 7, 25, 18)
    assert not due(last).too_late
    late = due(last + datetime.timedelta(days=5))
    assert late.too_late
    assert late.share == pytest.approx(0.75, rel=1e-12)
    assert due(at(2026, 9, 1)).share == 0


def test_a_date_is_its_end_and_local(in_seoul: None) -> None:
    whole = deadline_of("--deadline", "2026-08-14")
    assert whole == at(2026, 8, 14, 15)
    assert deadline_of("--deadline", "2026-08-14T18:00") == at(2026, 8, 14, 9)
    assert deadline_of("--deadline", "2026-08-14T18:00+00:00") == at(2026, 8, 14, 18)
    (first, second) = said_deadline(Deadline(whole, 2.5 * DAY, 0.2, at(2026, 1, 1)), 50)
    assert first.startswith("2026-08-14 24:00: 2.5 days of training")
    assert "must start by 2026-08-12 12:00" in first
    assert second.startswith("by 2026-08-12 00:00 ".replace("12 00:00", "11 24:00"))
    assert "a reserve of 20%" in second


@pytest.mark.parametrize("text", ["", "tomorrow", "14.8.2026", "2026-02-30", "2026-08-14T25:00"])
def test_what_is_no_date(text: str) -> None:
    with pytest.raises(SettingsError, match=r"--deadline: found '.*'; expected a date"):
        deadline_of("--deadline", text)


def test_what_is_said_when_it_is_late() -> None:
    (one,) = said_deadline(due(at(2026, 7, 30, 18)), 40)
    assert "is too late for 20 days" in one
    assert "training.epochs=30 would do" in one
    (one,) = said_deadline(due(at(2026, 7, 30, 18)), None)
    assert "75% of the epochs would do" in one
    assert said_deadline(None, 40) == ["unknown, as the time is"]
    _, second = said_deadline(due(at(2026, 7, 22)), 40)
    assert second.endswith(", which has passed")
