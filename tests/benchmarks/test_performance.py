"""The performance page: what it says of result files, and that it is the one they make."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import performance_pictures
import performance_tables as tables
import pytest
from performance import SECTIONS, page, picture
from performance_results import Result, read

ROOT = Path(__file__).resolve().parents[2]
GPU = {"name": "a card", "memory": 8 * 2**30}
SLOW = {"wall": [3.9, 4.0, 4.2], "cpu": [7.0, 8.0, 9.0]}
FAST = {"wall": [0.9, 1.0, 1.1], "cpu": [1.5, 2.0, 2.5]}
SHORT = {"fits": False}


def result(kind: str, date: str = "2026-01-31", gpu: Any = None, **values: Any) -> dict[str, Any]:
    """A result file's content."""
    facts = {"date": date, "device": "cuda" if gpu else "cpu", "cpu": "a CPU", "cores": 2,
             "threads": 2, "ram": 2**34, "gpu": gpu, "load": 0.1, "system": "Linux",
             "python": "3", "torch": "2", "fastmri": "0", "dealias": "0, commit 1"}  # fmt: skip
    asked = {"size": "16x640x368", "cascades": 12, "iterations": 60, "rounds": 5, "cap": ""}
    return {"kind": kind, "command": "python x", "facts": facts, "difference": 1e-6,
            "arguments": asked | values.pop("arguments", {}), **values}  # fmt: skip


def written(folder: Path, name: str, values: dict[str, Any]) -> None:
    (folder / f"{values['facts']['date']}-{name}.json").write_text(json.dumps(values))


def rows(text: str) -> dict[str, list[str]]:
    """Cells of a table by their row's name."""
    lines = [line[2:-2].split(" | ") for line in text.splitlines()[2:]]
    return {line[0]: [cell.strip() for cell in line[1:]] for line in lines}


def test_the_page_is_the_one_that_the_files_make() -> None:
    docs = ROOT / "docs"
    results = read(ROOT / "benchmarks" / "results")
    assert (docs / "performance.md").read_text() == page(results), "run python tools/performance.py"
    drawn = {picture(one) for one in results if SECTIONS[one.kind].draw}
    assert {one.name for one in docs.glob("pictures/performance-*")} == drawn


def test_its_links_lead_somewhere() -> None:
    text = page([])
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (ROOT / "docs" / link).is_file(), link
    for command in re.findall(r"python (\S+\.py)", text):
        assert (ROOT / command).is_file(), command


def test_without_files_it_says_that_nothing_was_measured() -> None:
    text = page([])
    assert text.count("Not measured yet on a CPU or a GPU.") == 6
    assert text.count("Not measured yet on a CPU.") == 2
    assert not re.search(r"\| \d", text)


def test_the_newest_of_each_measurement_is_shown(tmp_path: Path) -> None:
    both = {"official": SLOW, "crop": FAST}
    for date in ("2026-02-01", "2026-01-31", "2025-12-31"):
        written(tmp_path, "varnet-a", result("varnet", date, training=both))
    more = {"arguments": {"cap": "8GiB"}}
    written(tmp_path, "varnet-b", result("varnet", "2024-01-01", GPU, training=both, **more))
    written(tmp_path, "varnet-c", result("varnet", "2024-01-01", GPU, training=both))
    found = read(tmp_path)
    said = [(one.facts["date"], one.name) for one in found]
    assert said == [("2026-02-01", "varnet-a"), ("2024-01-01", "varnet-b"),
                    ("2024-01-01", "varnet-c")]  # fmt: skip
    text = page(found)
    assert text.count("\n### ") == 3
    assert "### 12 cascades, 16 x 640 x 368, a card, held to 8GiB" in text


def test_ratios_are_of_medians_to_the_official_one() -> None:
    found = Result("x", result("varnet", training={"official": SLOW, "crop": FAST}))
    assert rows(tables.times(found, "training")) == {
        "official": ["4.00 (3.90 to 4.20)", "1.00", "8.00", "1.00"],
        "crop": ["1.00 (0.900 to 1.10)", "0.25", "2.00", "0.25"],
    }


def test_what_did_not_fit_is_said_and_nothing_is_compared_with_it() -> None:
    values = {"training": {"official": SHORT, "crop": FAST},
              "arguments": {"cap": "8GiB"}}  # fmt: skip
    found = rows(tables.times(Result("x", result("varnet", gpu=GPU, **values)), "training"))
    assert found["official"][0] == "does not fit in 8GiB"
    assert found["crop"] == ["1.00 (0.900 to 1.10)", "", "2.00", ""]


def test_peaks_are_in_gib_and_compared() -> None:
    peaks = {"official": {"peak": 8 * 2**30, "reserved": 9 * 2**30}, "crop": {"peak": 2**30}}
    found = rows(tables.peaks(Result("x", result("varnet-memory", training=peaks))))
    assert found == {"official": ["8.00 (9.00 reserved)", "1.00"], "crop": ["1.00", "0.12"]}


def case(planned: float, truth: dict[str, Any]) -> dict[str, Any]:
    one = {"planned": {"peak": 2**30, "seconds": planned}, "measured": {"peak": 2**31, **truth},
           "floor": 0.5}  # fmt: skip
    return {"size": "1x2x3", "plan_cold": 60.0, "plan_warm": 1.5, "training": {"keep": one},
            "inference": {"keep": one}}  # fmt: skip


@pytest.mark.parametrize(
    ("gpu", "truth", "seconds"),
    [
        (None, FAST, "1.00 (0.900 to 1.10)"),  # two threads: wall
        (None, {"wall": [8.0] * 3, "cpu": [1.0] * 3}, "1.00 (1.00 to 1.00)"),  # a busy machine
        (GPU, {"wall": [1.0] * 3, "cpu": [0.1] * 3}, "1.00 (1.00 to 1.00)"),
    ],
)
def test_a_plan_is_compared_as_it_was_meant(gpu: Any, truth: Any, seconds: str) -> None:
    found = Result("x", result("plan", gpu=gpu, cases={"net": case(1.2, truth)}))
    assert rows(tables.plans(found, "training")) == {
        "net: `keep`": ["1.00", "2.00", "-50.0%", "1.20", seconds, "+20%", "50%"]
    }


def test_slices_a_second_and_their_quartiles_change_sides() -> None:
    one = {"from": "cache", "state": "cold", "workers": 2, "until": "copied",
           "seconds": [0.1, 0.2, 0.5], "megabytes": 20.0}  # fmt: skip
    found = rows(tables.loader(Result("x", result("loader", cases=[one]))))
    assert found == {"cache, cold": ["2", "copied", "5.0 (2.0 to 10.0)", "100", "200.0"]}


def test_each_point_of_growth_stands_once() -> None:
    point = {"coils": 8, "size": "320x184", "cascades": 2,
             "rows": {"official": {**SLOW, "peak": 2**30}, "crop": SHORT}}  # fmt: skip
    sweeps = {"coils": [point], "size": [point], "cascades": [point, {**point, "cascades": 4}]}
    text = tables.growth(Result("x", result("growth", sweeps=sweeps)))
    assert text.splitlines()[2:] == [
        f"| 8 x 320 x 184 | {cascades} | 4.00, 1.00 | does not fit |" for cascades in (2, 4)
    ]


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.01234, "0.0123"), (1.0, "1.00"), (9.999, "10.0"), (99.96, "100"), (1234.5, "1234")],
)
def test_numbers_have_three_digits(value: float, said: str) -> None:
    assert tables.number(value) == said


def texts(figure: Any) -> list[Any]:
    """All text with its box in pixels."""
    figure.canvas.draw()
    return [one for one in figure.findobj(match=lambda one: hasattr(one, "get_text"))
            if one.get_text().strip() and one.get_visible()]  # fmt: skip


@pytest.mark.parametrize("count", [2, 10])
def test_no_text_of_a_picture_lies_on_another(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []
    monkeypatch.setattr(performance_pictures, "_save", lambda figure, path: kept.append(figure))
    found = {"official": SLOW, "none": SHORT} | {f"row {i}": FAST for i in range(count)}
    values = result("varnet", training=found, inference=found)
    performance_pictures.bars(Result("x", values), tmp_path)
    boxes = [one.get_window_extent() for one in texts(kept[0])]
    assert len(boxes) > 2 * count
    for number, one in enumerate(boxes):
        assert not any(one.overlaps(other) for other in boxes[:number])
