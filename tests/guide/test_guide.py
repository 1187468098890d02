"""What people read before they run does run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "guide"


@pytest.fixture(scope="module")
def guide_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set the guide names."""
    folder = tmp_path_factory.mktemp("guide")
    command = [
        sys.executable, "-c", "from dealias.cli.main import main; main()", "simulate", "--subjects",
        "3", "--slices", "2", "--coils", "6", "--size", "128x96", "--out", "guide-data",
    ]  # fmt: skip
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


def blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)


PAGES = {"how-it-works.md": 11, "noise-and-coils.md": 4, "plan.md": 3}


@pytest.mark.parametrize(("page", "count"), PAGES.items())
def test_what_a_page_shows_works(
    page: str, count: int, guide_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(guide_data)
    names: dict[str, Any] = {}
    found = blocks(GUIDE / page)
    assert len(found) == count
    for block in found:
        exec(compile(block, page, "exec"), names)


@pytest.mark.parametrize("page", PAGES)
def test_files_the_guide_names_exist(page: str) -> None:
    text = (GUIDE / page).read_text()
    for name in re.findall(r"`([a-z_]+/[a-z_/]+\.py)`", text):
        assert (ROOT / "src" / "dealias" / name).is_file(), name
    for picture in re.findall(r"\]\((pictures/[^)]+)\)", text):
        assert (GUIDE / picture).is_file(), picture


def test_the_notebook_runs(guide_data: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(GUIDE / "first-steps.ipynb", as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "commit it without outputs"
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    resources = {"metadata": {"path": str(guide_data)}}
    NotebookClient(notebook, timeout=120, resources=resources).execute()


def test_stages_and_experts_run_as_they_are_shown(
    guide_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dealias.cli.app import run
    from dealias.cli.main import app
    from dealias.config.compose import load_recipe
    from dealias.runs.jobs import planned

    text = (GUIDE / "stages-and-experts.md").read_text()
    monkeypatch.chdir(guide_data)
    (recipe,) = re.findall(r"```yaml\n# mine.yaml\n(.*?)```", text, flags=re.DOTALL)
    Path("mine.yaml").write_text(recipe)
    shown = re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
    commands = [line.split() for block in shown for line in block.splitlines()]
    assert len(commands) == 4
    for name, *arguments in commands:
        assert name == "dealias"
        assert run(lambda words=arguments: app(words, standalone_mode=False), debug=True) == 0
    assert "experts/knee-x8" in Path("runs/a/report.html").read_text()
    (recipe,) = re.findall(r"```yaml\n# with-classifier.yaml\n(.*?)```", text, flags=re.DOTALL)
    Path("with-classifier.yaml").write_text(recipe)
    jobs = planned(load_recipe("with-classifier.yaml"), Path("guide-data"))
    assert [job.recipe.task for job in jobs] == ["anatomy", *["reconstruction"] * 4]
