"""The page about looking inside: its commands run as they are shown, and show what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dealias.cli.app import run
from dealias.cli.main import app
from dealias.data.simulate import SimulateSettings, simulate
from dealias.evaluation.augmentation import SLICES
from dealias.evaluation.inside import CASCADES, COILS
from dealias.runs.analysis import MOST_CELLS
from dealias.training.reconstruction import SHOWN

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "looking-inside.md"


def test_the_commands_run_as_they_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SimulateSettings(
        subjects=3, slices=1, coils=2, size=(32, 24), target=(24, 24), accelerations=(4,)
    )
    simulate(settings, tmp_path / "look-data", lambda done: None)
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text()
    (recipe,) = re.findall(r"```yaml\n# look.yaml\n(.*?)```", text, flags=re.DOTALL)
    Path("look.yaml").write_text(recipe)
    shown = re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
    commands = [line.split() for block in shown for line in block.splitlines()]
    assert [words[1] for words in commands] == ["train", "report", "report"]
    for _, *words in commands:
        assert run(lambda w=words: app([*w, "--quiet"], standalone_mode=False), debug=True) == 0
    page = Path("runs/a/report.html").read_text()
    for title in ("Error maps by cell", "Inside the network", "Augmentation", "cascade 2"):
        assert title in page
    assert "Inside the network" in Path("looks/a/report.html").read_text()


def test_numbers_and_files_of_the_page_are_true() -> None:
    text = PAGE.read_text()
    for words in (
        f"at most {MOST_CELLS} cells", f"magnitudes of up to {COILS} coils",
        f"up to {CASCADES} of them", f"up to {SLICES} training slices", f"the {SHOWN} worst of all",
    ):  # fmt: skip
        assert words in text, words
    for name in re.findall(r"`([a-z_]+/[a-z_/]+\.py)`", text):
        assert (PAGE.parents[2] / "src" / "dealias" / name).is_file(), name
    for picture in re.findall(r"\]\((pictures/[^)]+)\)", text):
        assert (PAGE.parent / picture).is_file(), picture
    for name in re.findall(r"`(docs/[a-z_/-]+\.md)`", text):
        assert (PAGE.parents[2] / name).is_file(), name
