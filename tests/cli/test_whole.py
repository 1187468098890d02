"""The whole job by its commands: nothing personal leaves, no file name matters, all agrees."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from dealias.cli.app import run as run_command
from dealias.cli.main import app
from dealias.io.output import read_reconstruction

CANARY = "CANARY^PATIENT"
SMALL = [
    "network.cascades=1", "network.channels=2", "network.pools=1", "network.sens_channels=2",
    "network.sens_pools=1", "training.epochs=1", "masks.each_acceleration=false",
]  # fmt: skip


def dealias(*arguments: object, code: int = 0) -> None:
    """Run a command as main() would."""
    words = [str(argument) for argument in arguments]
    assert run_command(lambda: app(words, standalone_mode=False), debug=True) == code


def personal(path: Path) -> None:
    """Everything a scanner or a hospital may have written into a file."""
    with h5py.File(path, "a") as file:
        for key in ("patient_id", "patient_name", "birth_date", "acquisition", "study"):
            if key in file.attrs:
                del file.attrs[key]
            file.attrs[key] = CANARY if key != "patient_id" else np.bytes_(CANARY)
        header = f"<ismrmrdHeader><subjectInformation>{CANARY}</subjectInformation></ismrmrdHeader>"
        file.create_dataset("notes", data=header, dtype=h5py.string_dtype())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in a folder with a name that tells, trained on, reconstructed, scored, shown."""
    root = tmp_path_factory.mktemp("whole")
    data, run, recon = root / CANARY / "data", root / "run", root / "recon"
    dealias("simulate", "--out", data, "--subjects", 3, "--slices", 2, "--coils", 4,
            "--size", "48x40", "--target", "40x40", "--quiet")  # fmt: skip
    for path in data.rglob("*.h5"):
        personal(path)
    dealias("train", "demo", "--data", data, "--out", run, "--quiet", *SMALL)
    dealias("reconstruct", run, data / "leaderboard", "--out", recon, "--quiet",
            "--json", root / "recon.json")  # fmt: skip
    dealias("evaluate", recon, data / "leaderboard", "--protocol", "snu2025", "--quiet",
            "--out", run / "evaluations" / "network")  # fmt: skip
    dealias("report", run)
    dealias("export", run, "--out", root / "model.safetensors")
    return root


def test_nothing_personal_is_in_anything_written(whole: Path) -> None:
    outputs = [path for path in whole.rglob("*") if path.is_file()]
    written = [path for path in outputs if CANARY not in path.as_posix()]
    assert {path.suffix for path in written} >= {".html", ".json", ".jsonl", ".safetensors", ".h5",
                                                 ".pt", ".txt", ".yaml", ".npz"}  # fmt: skip
    tells = [path.relative_to(whole).as_posix() for path in written
             if CANARY.encode() in path.read_bytes()]  # fmt: skip
    # where the data lay, so that --resume finds it; no part of the model, the report, the scores
    assert tells == ["run/run.json"]
    assert CANARY in json.loads((whole / "run" / "run.json").read_text())["data"]


def test_errors_say_the_path_that_was_given_and_nothing_else_of_the_file(
    whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = whole / "bad.h5"
    shutil.copy(next((whole / CANARY).rglob("kspace/*.h5")), bad)
    with h5py.File(bad, "a") as file:
        file["kspace"][0, 0, 0, 0] = np.nan
    capsys.readouterr()
    dealias("reconstruct", "cg-sense", bad, "--out", whole / "none", "--quiet", code=3)
    said = capsys.readouterr().err
    assert "bad" in said
    assert "NaN" in said
    assert CANARY not in said
    bad.unlink()


@pytest.mark.parametrize("model", ["run", "zero-filled", "cg-sense"])
def test_every_file_renamed_to_gibberish_gives_identical_bytes(whole: Path, model: str) -> None:
    source = whole / CANARY / "data" / "leaderboard"
    kspace = sorted(source.rglob("kspace/*.h5"))
    renamed = whole / f"gibberish-{model}"
    names = {}
    for number, path in enumerate(kspace):
        name = f"q{(number * 7919) % 104729:x}zx"
        names[path.stem, path.parent.parent.name] = name
        for kind in ("kspace", "image"):
            there = renamed / "in" / f"f{number}" / kind / f"{name}.h5"
            there.parent.mkdir(parents=True)
            shutil.copy(path.parent.parent / kind / path.name, there)
            with h5py.File(there, "a") as file:
                for key in ("anatomy", "acceleration"):
                    del file.attrs[key]
    chosen = whole / "run" if model == "run" else model
    dealias("reconstruct", chosen, source, "--out", renamed / "a", "--quiet")
    dealias("reconstruct", chosen, renamed / "in", "--out", renamed / "b", "--quiet")
    plain = {path.relative_to(renamed / "a"): path for path in (renamed / "a").rglob("*.h5")}
    assert len(plain) == len(kspace)
    for path in plain.values():
        name = names[path.stem, path.parent.name]
        other = next((renamed / "b").rglob(f"{name}.h5"))
        assert other.read_bytes() == path.read_bytes()


def test_the_exported_file_reconstructs_the_same_bits(whole: Path) -> None:
    data = whole / CANARY / "data" / "leaderboard"
    dealias("reconstruct", whole / "model.safetensors", data, "--out", whole / "again", "--quiet")
    for path in (whole / "recon").rglob("*.h5"):
        again = whole / "again" / path.relative_to(whole / "recon")
        np.testing.assert_array_equal(read_reconstruction(path), read_reconstruction(again))


def test_every_result_says_research_use_only(whole: Path) -> None:
    notice = "research use only"
    assert notice in (whole / "run" / "report.html").read_text().lower()
    assert notice in (whole / "run" / "model" / "card.md").read_text().lower()
    for path in (whole / "recon").rglob("*.h5"):
        with h5py.File(path) as file:
            assert notice in file.attrs["software_notice"].decode().lower()
