"""The page about the final run: its commands run as they are shown, and say what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import h5py
import pytest

from dealias.cli.app import run
from dealias.cli.main import app
from dealias.data.simulate import SimulateSettings, simulate

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "final-run.md"


def test_the_commands_run_as_they_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = SimulateSettings(
        subjects=3, slices=1, coils=3, size=(32, 24), target=(24, 24), accelerations=(4,)
    )
    simulate(settings, tmp_path / "guide-data", lambda done: None)
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text()
    (recipe,) = re.findall(r"```yaml\n# final.yaml\n(.*?)```", text, flags=re.DOTALL)
    Path("final.yaml").write_text(recipe)
    shown = re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
    commands = [line.split() for block in shown for line in block.splitlines()]
    assert [words[1] for words in commands] == ["train", "reconstruct", "evaluate"]
    said = []
    for _, *words in commands:
        assert run(lambda w=words: app(w, standalone_mode=False), debug=True) == 0
        said.append(capsys.readouterr().out)
    train, reconstruct, evaluate = said
    (sentence,) = re.findall(r'"(trained on the validation[^"]*)"', text)
    assert f"final run: {sentence}\n" in train
    final, twin = Path("runs/final"), Path("runs/final/twin")
    assert not (final / "main" / "scores.json").exists()
    assert (twin / "main" / "scores.json").is_file()
    (point,) = re.findall(r"branch point of main, by the twin: (.*)", train)
    assert json.loads((final / "run.json").read_text())["branch_point"] == {"main": point}
    assert set(json.loads((twin / "branch.json").read_text())) == {"main"}
    volumes = sorted(Path("recon").rglob("*.h5"))
    assert f"3 passes averaged (plain, readout, phase) in all {len(volumes)} volumes" in reconstruct
    assert f"3 in {len(volumes)} volumes" in evaluate
    with h5py.File(volumes[0]) as file:
        assert (file.attrs["passes"], file.attrs["flips"]) == (3, b"readout,phase")


def test_files_the_page_names_exist() -> None:
    for name in re.findall(r"`([a-z_]+/[a-z_/]+\.py)`", PAGE.read_text()):
        assert (PAGE.parents[2] / "src" / "dealias" / name).is_file(), name
