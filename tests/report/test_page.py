"""The report escapes what strangers wrote, needs nothing else, and shows in a browser."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dealias.errors import DataError
from dealias.report.compare import compared
from dealias.report.figures import panels
from dealias.report.page import write_report
from dealias.report.read import Example, read_run

HOSTILE = "<script>document.title='owned'</script>\x1b[31m"


def scores(mean: float, protocol: str = "snu2025") -> dict[str, object]:
    cell = {
        "anatomy": "brain", "acceleration": 4, "volumes": 3, "slices": 9, "mean": mean,
        "median": mean, "ci95": [mean - 0.01, mean + 0.01], "worst": [],
    }  # fmt: skip
    return {
        "protocol": protocol,
        "spec": "ssim:win7",
        "total": mean,
        "cells": [cell],
        "volumes": [],
    }


def make_run(folder: Path, count: int = 3, size: int = 48) -> Path:
    rng = np.random.default_rng(0)
    main = folder / "main"
    (folder / "evaluations" / "network").mkdir(parents=True)
    main.mkdir()
    (folder / "run.json").write_text(json.dumps({"recipe": HOSTILE, "environment": {"torch": "2"}}))
    (folder / "settings.yaml").write_text(f"name: {HOSTILE}\n")
    rows = [{"kind": "train", "epoch": 0, "step": 1, "loss": 0.5, "lr": 1e-3, "seconds": 1.0},
            {"kind": "val", "epoch": 0, "step": 1, "loss": 0.4, "lr": 1e-3, "seconds": 1.0,
             "total": 0.8, "cells": {"brain-x4": 0.8}}]  # fmt: skip
    (main / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (main / "scores.json").write_text(json.dumps(scores(0.9)))
    (folder / "evaluations" / "network" / "scores.json").write_text(json.dumps(scores(0.95)))
    facts = [{"name": HOSTILE, "z": z, "cell": "brain-x4", "ssim": 0.5 + z / 1e3, "residual": 0.1,
              "data_range": 1.0} for z in range(count)]  # fmt: skip
    images = rng.random((count, size, size)).astype(np.float32)
    kinds = ("zero_filled", "reconstruction", "reference")
    np.savez(main / "examples.npz", **{f"{kind}_NHW": images for kind in kinds})
    (main / "examples.json").write_text(json.dumps(facts))
    return folder


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.scripts = 0
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.sources += [value or "" for key, value in attrs if key in ("src", "href")]


def test_what_strangers_wrote_is_escaped_and_nothing_is_loaded(tmp_path: Path) -> None:
    page = write_report(make_run(tmp_path / "run")).read_text()
    tags = Tags()
    tags.feed(page)
    assert tags.scripts == 1
    assert all(source.startswith("data:") for source in tags.sources)
    assert "\x1b" not in page
    assert "&lt;script&gt;document.title" in page
    assert "default-src 'none'" in page
    assert page.count("Research use only, not a medical device") >= 2


def test_the_script_is_the_one_the_policy_names(tmp_path: Path) -> None:
    import base64
    import hashlib

    page = write_report(make_run(tmp_path / "run")).read_text()
    script = page.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page


def test_an_empty_run_and_a_run_with_nan_have_a_report(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "run.json").write_text("{}")
    assert "What ran" in write_report(tmp_path / "empty").read_text()
    run = make_run(tmp_path / "nan")
    images = np.full((3, 8, 8), np.nan, np.float32)
    kinds = ("zero_filled", "reconstruction", "reference")
    np.savez(run / "main" / "examples.npz", **{f"{kind}_NHW": images for kind in kinds})
    assert "Worst slices first" in write_report(run).read_text()


def test_a_large_run_stays_small(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", count=24, size=384)
    assert write_report(run).stat().st_size < 50e6


def test_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run.json"):
        read_run(tmp_path)
    run = make_run(tmp_path / "run")
    (run / "main" / "metrics.jsonl").write_text('{"kind": "train"}\n{"ki')
    with pytest.raises(DataError, match=r"metrics.jsonl.*after 1 good"):
        read_run(run)


def test_error_panel_is_five_times_the_difference_in_one_window() -> None:
    reference = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    example = Example({}, reference, reference + np.float32(0.05), reference)
    import base64
    import io

    def pixels(uri: str) -> np.ndarray:
        data = base64.b64decode(uri.split(",")[1])
        return np.asarray(Image.open(io.BytesIO(data))).astype(float)

    shown = dict(panels(example))
    top = np.percentile(reference, 99.8)
    assert np.allclose(pixels(shown["Error ×5"]), 0.25 / top * 255, atol=1)
    assert np.allclose(pixels(shown["Reference"]), np.clip(reference / top, 0, 1) * 255, atol=1)


def test_methods_of_different_protocols_are_never_in_one_table() -> None:
    groups = compared({"a": scores(0.9), "b": scores(0.8), "c": scores(0.99, "fastmri")})
    assert [group["protocol"] for group in groups] == ["fastmri", "snu2025"]
    best = {row["name"]: row["values"][0]["best"] for row in groups[1]["rows"]}
    assert best == {"a": True, "b": False}


@pytest.mark.subprocess
def test_it_shows_in_a_browser(tmp_path: Path, need: Callable[[str], str]) -> None:
    report = write_report(make_run(tmp_path / "run"))
    common = [
        need("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
        "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}",
    ]  # fmt: skip
    shot = tmp_path / "shot.png"
    subprocess.run(
        [*common, f"--screenshot={shot}", "--window-size=1200,1600", report.as_uri()],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    assert np.asarray(Image.open(shot).convert("L")).std() > 10
    dom = subprocess.run(
        [*common, "--dump-dom", report.as_uri()], capture_output=True, text=True, timeout=120
    ).stdout
    # the slider's script ran: one slice is shown, the others are hidden; the hostile one did not
    assert len(re.findall(r'<div class="slice" hidden', dom)) == 2
    assert "<title>run · dealias report</title>" in dom
