"""A folder of reconstructions against a data set, from Python and from the command line."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from dealias.cli import cmd_evaluate
from dealias.data.catalogue import open_data
from dealias.errors import DataError, SettingsError
from dealias.evaluation.evaluate import evaluate, labelled
from dealias.evaluation.scores import read_scores
from dealias.inference.layout import output_folders
from dealias.io.output import write_reconstruction
from dealias.metrics.protocol import PROTOCOLS

SNU = PROTOCOLS["snu2025"]


def reconstruct(data: Path, folder: Path, noise: float = 2e-5) -> Path:
    """Targets with noise in place of reconstructions."""
    scans = open_data(data)
    rng = np.random.default_rng(0)
    for scan, place in zip(scans, output_folders(scans), strict=True):
        target_ZHW = scan.image("target", slice(None))
        assert target_ZHW is not None
        noisy = np.abs(target_ZHW + noise * rng.standard_normal(target_ZHW.shape))
        write_reconstruction(folder / place, scan.name, noisy.astype(np.float32))
    return folder


@pytest.fixture
def recon(leaderboard: Path, tmp_path: Path) -> Path:
    return reconstruct(leaderboard, tmp_path / "recon")


def command(*arguments: object) -> tuple[int, str, str]:
    app = typer.Typer()
    cmd_evaluate.register(app)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_cells_and_volumes_of_a_data_set(leaderboard: Path, recon: Path) -> None:
    scans = open_data(leaderboard)
    done: list[int] = []
    said: list[str] = []
    scores = evaluate(recon, scans, SNU, progress=done.append, warn=said.append)
    assert [(cell.anatomy, cell.acceleration) for cell in scores.cells] == [
        ("brain", 4), ("brain", 8), ("knee", 4), ("knee", 8)
    ]  # fmt: skip
    assert sum(done) == len(scores.volumes) == 8
    assert said == []
    # the same bits as scoring each volume by oneself
    for scan, place, volume in zip(scans, output_folders(scans), scores.volumes, strict=True):
        with h5py.File(recon / place / f"{scan.name}.h5") as file:
            assert SNU.score(file["reconstruction"][()], scan) == volume


def test_missing_reconstructions_are_named_and_never_skipped(
    leaderboard: Path, recon: Path
) -> None:
    (recon / "acc8" / "knee_test2.h5").unlink()
    with pytest.raises(DataError, match=r"1 of 8 reconstructions missing: acc8/knee_test2\.h5;"):
        evaluate(recon, open_data(leaderboard), SNU)
    shutil.rmtree(recon)
    with pytest.raises(DataError, match=r"8 of 8 .* and 3 more"):
        evaluate(recon, open_data(leaderboard), SNU)


def test_a_folder_one_level_too_high_is_pointed_at(leaderboard: Path, recon: Path) -> None:
    with pytest.raises(DataError, match="there is acc4/brain_test1.h5, acc8/brain_test1.h5: "):
        evaluate(recon, open_data(leaderboard / "acc8"), SNU)
    assert len(evaluate(recon / "acc8", open_data(leaderboard / "acc8"), SNU).cells) == 2


def test_files_of_no_scan_are_mentioned(leaderboard: Path, recon: Path) -> None:
    shutil.copy(recon / "acc4" / "brain_test1.h5", recon / "acc4" / "brain_test99.h5")
    (recon / ".DS_Store").write_bytes(b"")
    said: list[str] = []
    evaluate(recon, open_data(leaderboard), SNU, warn=said.append)
    assert len(said) == 1
    assert "1 files" in said[0]
    assert "acc4/brain_test99.h5" in said[0]


def test_one_file_against_one_scan(leaderboard: Path, recon: Path) -> None:
    scans = open_data(leaderboard / "acc4" / "kspace" / "knee_test1.h5")
    scores = evaluate(recon / "acc4" / "knee_test1.h5", scans, SNU)
    assert scores.cells[0].volumes == 1
    assert scores.cells[0].ci95 is None


def test_swapped_reconstructions_do_not_score_well(leaderboard: Path, recon: Path) -> None:
    one, two = recon / "acc4" / "brain_test1.h5", recon / "acc4" / "brain_test2.h5"
    good = evaluate(recon, open_data(leaderboard), SNU)
    one.rename(recon / "x"), two.rename(one), (recon / "x").rename(two)
    bad = evaluate(recon, open_data(leaderboard), SNU)
    assert bad.cells[0].mean < good.cells[0].mean - 0.05
    assert bad.cells[1:] == good.cells[1:]


def test_labels_come_from_the_data_then_from_the_user(leaderboard: Path) -> None:
    scan = open_data(leaderboard / "acc4")[0]
    assert labelled(scan, None, None).cell == labelled(scan, "brain", None).cell == ("brain", 4)
    assert labelled(scan, None, 8).cell == ("brain", 8)
    with pytest.raises(SettingsError, match="--anatomy: found knee; expected brain"):
        labelled(scan, "knee", None)
    nameless = dataclasses.replace(scan, cell=None)
    assert labelled(nameless, None, None).cell is None
    assert labelled(nameless, "knee", None).cell == ("knee", 4)
    maskless = dataclasses.replace(nameless, mask=None)
    assert labelled(maskless, "knee", None).cell == ("knee", 0)
    assert labelled(maskless, "knee", 5).cell == ("knee", 5)
    with pytest.raises(SettingsError, match="give --anatomy too"):
        labelled(maskless, None, 5)


def test_gibberish_without_labels_asks_for_the_anatomy(leaderboard: Path, tmp_path: Path) -> None:
    for kind in ("kspace", "image"):
        new = tmp_path / "set" / kind / "xq.h5"
        new.parent.mkdir(parents=True)
        shutil.copy(leaderboard / "acc4" / kind / "brain_test1.h5", new)
        with h5py.File(new, "a") as file:
            del file.attrs["anatomy"]
    recon = reconstruct(tmp_path / "set", tmp_path / "recon")
    arguments = (recon, tmp_path / "set", "--protocol", "snu2025")
    with pytest.raises(DataError, match="give --anatomy"):
        command(*arguments)
    code, shown, _ = command(*arguments, "--anatomy", "brain")
    assert code == 0
    assert "brain x4" in shown
    # the fastMRI protocol needs no anatomy
    code, shown, _ = command(recon, tmp_path / "set", "--protocol", "fastmri")
    assert code == 0
    assert "unknown" in shown


def test_command_library_and_file_give_the_same_bits(
    leaderboard: Path, recon: Path, tmp_path: Path
) -> None:
    out, file = tmp_path / "run" / "evaluations" / "noise", tmp_path / "scores.json"
    code, shown, said = command(
        recon, leaderboard, "--protocol", "snu2025", "--out", out, "--json", file
    )
    assert (code, said) == (0, "")
    scores = evaluate(recon, open_data(leaderboard), SNU)
    assert read_scores(file) == scores == read_scores(out / "scores.json")
    for cell in scores.cells:
        assert f"{cell.anatomy} x{cell.acceleration}" in shown
        assert f"{cell.mean:.4f}" in shown
        assert f"{cell.worst[0].name} slice {cell.worst[0].z} {cell.worst[0].ssim:.4f}" in shown
    assert f"total: {scores.total:.4f} (mean of accelerations)" in shown
    assert f"[{scores.spec}]" in shown
    assert "Research use only, not a medical device" in shown


def test_a_threshold_on_the_command_line_changes_the_name(
    leaderboard: Path, recon: Path, tmp_path: Path
) -> None:
    file = tmp_path / "scores.json"
    arguments = (recon, leaderboard, "--json", file, "--quiet", "--protocol")
    command(*arguments, "snu2025", "--foreground-threshold", "0.00003")
    value = json.loads(file.read_text())
    assert value["protocol"] == "snu2025@3e-05"
    assert ">3e-05" in value["spec"]
    command(*arguments, "snu2025@3e-05")
    assert json.loads(file.read_text()) == value
    with pytest.raises(SettingsError, match="foreground threshold"):
        command(*arguments, "fastmri", "--foreground-threshold", "0.1")
    with pytest.raises(SettingsError, match="did you mean 'snu202"):
        command(*arguments, "snu2052")


def test_nothing_is_written_when_a_volume_is_refused(
    leaderboard: Path, recon: Path, tmp_path: Path
) -> None:
    with h5py.File(recon / "acc8" / "brain_test2.h5", "a") as file:
        file["reconstruction"][1, 3, 3] = np.nan
    out = tmp_path / "scores"
    with pytest.raises(DataError, match="brain_test2 slice 1"):
        command(recon, leaderboard, "--protocol", "snu2025", "--out", out)
    assert not out.exists()
