"""The study of the readout crop: what is paired with what, and what the table says."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from crop_table import BEGIN, END, Trained, differences, put, table
from readout_crop import Study, append, read

from dealias.errors import DataError
from dealias.evaluation.scores import summarise
from dealias.metrics.protocol import PROTOCOLS
from dealias.metrics.scores import SliceScores, VolumeScores
from dealias.scan.scan import Cell

PEOPLE = {"anna": 3, "bert": 2, "carl": 4}
"""Slices of each."""
GAIN = {0: {"anna": 0.01, "bert": -0.02, "carl": 0.0}, 1: {"anna": 0.03, "bert": 0.0, "carl": 0.06}}
"""How much SSIM the crop adds, by seed and person."""


def trained(margin: int | None, seed: int, shuffle: int = 0) -> Trained:
    """Scores that differ from slice to slice far more than by the crop."""
    rng = random.Random(seed)  # noqa: S311  (no secrets here)
    volumes = []
    for name, slices in PEOPLE.items():
        gain = 0 if margin is None else GAIN[seed][name]
        for rate in (4, 8):
            base = [rng.uniform(0.3, 0.8) for _ in range(slices)]
            many = [SliceScores(z, value + gain, 30 + value, (1 - value) / 100)
                    for z, value in enumerate(base)]  # fmt: skip
            random.Random(shuffle).shuffle(many)  # noqa: S311
            volumes.append(VolumeScores(name, Cell("knee", rate), "snu2025", tuple(many)))
    random.Random(shuffle).shuffle(volumes)  # noqa: S311
    return Trained("knee", margin, seed, summarise(PROTOCOLS["snu2025"], volumes))


def test_slices_are_paired_with_themselves_in_whatever_order_they_come() -> None:
    off = [trained(None, 0), trained(None, 1)]
    found = differences(off, [trained(8, 1, shuffle=5), trained(8, 0, shuffle=6)], "ssim")
    assert set(found) == {0, 1}
    for seed, of in found.items():
        assert of == pytest.approx(GAIN[seed], abs=1e-12)


def test_what_has_no_partner_is_refused() -> None:
    off, on = [trained(None, 0), trained(None, 1)], trained(8, 0)
    with pytest.raises(DataError, match="other seeds or slices"):
        differences(off, [on], "ssim")
    shorter = replace(on.scores, volumes=on.scores.volumes[1:])
    with pytest.raises(DataError, match="other seeds or slices"):
        differences(off[:1], [replace(on, scores=shorter)], "ssim")


def test_the_table_says_means_differences_and_times() -> None:
    made = [trained(margin, seed) for seed in (0, 1) for margin in (None, 8)]
    rows, seconds = {None: 160, 8: 112}, {None: 0.2, 8: 0.15}
    facts = [{("knee", margin): one for margin, one in of.items()} for of in (rows, seconds)]
    head, _, off, on = table(made, *facts).split("\n")
    names = [one.strip() for one in head.split("|")[1:-1]]
    plain, cropped = ([one.strip() for one in row.split("|")[1:-1]] for row in (off, on))
    assert len(names) == len(plain) == len(cropped)
    assert plain[:3] == ["knee", "off", "160"]
    assert cropped[:3] == ["knee", "8", "112"]
    assert plain[5:7] == ["", ""]
    # people count alike, whatever their slices: (0.01 - 0.02 + 0) / 3 and (0.03 + 0 + 0.06) / 3
    assert cropped[6] == "-0.0033, +0.0300"
    assert cropped[5].startswith("+0.0133 [")
    low, high = (float(one) for one in cropped[5].split("[")[1].rstrip("]").split(","))
    assert -0.02 <= low < 0.0133 < high <= 0.06
    assert cropped[9] == "+0.0000, +0.0000"
    of_x4 = [
        [one.ssim for volume in of.scores.volumes if volume.cell == Cell("knee", 4)
         for one in volume.slices if one.ssim is not None]
        for of in made if of.margin == 8
    ]  # fmt: skip
    means = sorted(sum(many) / len(many) for many in of_x4)
    assert cropped[3] == f"{sum(means) / 2:.4f} ({means[0]:.4f} to {means[1]:.4f})"
    assert (plain[-1], cropped[-1]) == ("1.00", "0.75")


def test_a_killed_study_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    assert read(Study(), path) == []
    done = [trained(None, 0), trained(8, 0)]
    for one in done:
        append(Study(), path, one)
    whole = path.read_text()
    path.write_text(whole + whole[:100])
    assert read(Study(), path) == done
    append(Study(), path, trained(None, 1))
    assert read(Study(), path) == [*done, trained(None, 1)]
    with pytest.raises(DataError, match="results of another study"):
        read(Study(epochs=99), path)


def test_only_what_is_between_the_marks_changes(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for _ in range(2):
        put(page, "| new |")
        assert page.read_text() == f"before\n{BEGIN}\n| new |\n{END}\nafter\n"
    page.write_text("nothing")
    with pytest.raises(DataError, match="no marks"):
        put(page, "new")
    assert page.read_text() == "nothing"
