"""Whole data sets: layouts, names, existing files, time limits, and the command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from dealias.classical.iterative import ZeroFilled
from dealias.cli import cmd_export, cmd_reconstruct
from dealias.data.catalogue import open_data
from dealias.errors import DataError, SettingsError
from dealias.inference.budget import TimeBudget, seconds
from dealias.inference.bundle import Model, load_model
from dealias.inference.layout import output_folders
from dealias.inference.run import reconstruct_all
from dealias.physics.sampling.mask import SamplingMask
from dealias.scan.profile import Profile
from dealias.scan.scan import Scan

Write = Callable[..., Path]
Make = Callable[..., Scan]
ZERO_FILLED = Model(ZeroFilled(), "zero-filled", {})


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_challenge_s_layout_is_mirrored_and_equal_names_do_not_meet(
    tmp_path: Path, write_kspace: Write
) -> None:
    data = tmp_path / "leaderboard"
    for acceleration in ("acc4", "acc8"):
        write_kspace(data / acceleration / "kspace" / "brain_test1.h5")
    out = tmp_path / "reconstructions_leaderboard"
    summary = reconstruct_all(lambda scan: ZERO_FILLED, open_data(data), out)
    assert list(files(out)) == ["acc4/brain_test1.h5", "acc8/brain_test1.h5"]
    assert [volume.file for volume in summary.volumes] == list(files(out))
    with h5py.File(out / "acc4/brain_test1.h5") as file:
        assert file["reconstruction"].shape == (2, 40, 36)
        assert file["reconstruction"].dtype == np.float32
        assert "esearch use only" in str(file.attrs["software_notice"])


def test_a_flat_folder_stays_flat_and_so_does_one_file(tmp_path: Path, write_kspace: Write) -> None:
    for name in ("file1000.h5", "file1001.h5"):
        write_kspace(tmp_path / "multicoil_test" / name)
    reconstruct_all(
        lambda scan: ZERO_FILLED, open_data(tmp_path / "multicoil_test"), tmp_path / "out"
    )
    assert list(files(tmp_path / "out")) == ["file1000.h5", "file1001.h5"]
    one = tmp_path / "multicoil_test" / "file1001.h5"
    reconstruct_all(lambda scan: ZERO_FILLED, open_data(one), tmp_path / "one")
    assert files(tmp_path / "one")["file1001.h5"] == files(tmp_path / "out")["file1001.h5"]


def test_two_scans_for_one_output_are_refused_before_anything_is_written(
    tmp_path: Path, make_scan: Make
) -> None:
    scans = [make_scan(path=Path(place)) for place in ("/d/x/kspace/a.h5", "/d/x/a.h5")]
    with pytest.raises(DataError, match="two scans of this name"):
        reconstruct_all(lambda scan: ZERO_FILLED, scans, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    apart = [make_scan(path=Path(place)) for place in ("/d/x/a.h5", "/d/y/a.h5")]
    assert output_folders(apart) == [Path("x"), Path("y")]


def test_existing_outputs_are_refused_until_overwrite(tmp_path: Path, make_scan: Make) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "b.h5").write_text("mine")
    (out / ".partial-1-a.h5").write_text("left by a killed run")
    scans = [make_scan(name="a"), make_scan(name="b")]
    with pytest.raises(DataError, match=r"b\.h5.*--overwrite"):
        reconstruct_all(lambda scan: ZERO_FILLED, scans, out)
    assert (out / "b.h5").read_text() == "mine"
    assert not (out / "a.h5").exists()
    reconstruct_all(lambda scan: ZERO_FILLED, scans, out, overwrite=True)
    assert sorted(files(out)) == ["a.h5", "b.h5"]
    assert files(out)["a.h5"] == files(out)["b.h5"]


def test_a_scan_that_is_refused_leaves_no_file_of_its_own(tmp_path: Path, make_scan: Make) -> None:
    bad = make_scan().kspace(slice(None)).copy()
    bad[1, 0, 0, 0] = np.nan
    scans = [make_scan(name="good"), make_scan(name="bad", kspace=bad)]
    with pytest.raises(DataError, match="bad, slice 1"):
        reconstruct_all(lambda scan: ZERO_FILLED, scans, tmp_path / "out")
    assert list(files(tmp_path / "out")) == ["good.h5"]


@pytest.mark.parametrize("method", ["zero-filled", "cg-sense:iterations=3"])
def test_files_renamed_to_gibberish_give_identical_bytes(
    tmp_path: Path, write_kspace: Write, method: str
) -> None:
    named = write_kspace(tmp_path / "leaderboard" / "acc4" / "kspace" / "knee_test1.h5")
    other = tmp_path / "Qz__77" / "한글 $(touch x).h5"
    other.parent.mkdir()
    shutil.copy(named, other)
    model = load_model(method)
    results = []
    for index, source in enumerate((named, other)):
        reconstruct_all(lambda scan: model, open_data(source), tmp_path / f"out{index}")
        results.append(list(files(tmp_path / f"out{index}").values()))
    assert results[0] == results[1]


def test_warnings_name_the_scan_and_stand_in_the_summary(tmp_path: Path, make_scan: Make) -> None:
    model = Model(ZeroFilled(), "x", {}, Profile.of([make_scan((2, 8, 40, 36))]))
    said: list[str] = []
    summary = reconstruct_all(lambda scan: model, [make_scan()], tmp_path, warn=said.append)
    assert said == ["a: coils 4, trained on 8 to 8"]
    assert summary.volumes[0].warnings == ("coils 4, trained on 8 to 8",)
    assert json.dumps(summary.to_json())


def test_the_time_limit_warns_early_and_once() -> None:
    now, said = [0.0], list[str]()
    budget = TimeBudget(100, 50.0, said.append, clock=lambda: now[0])
    for _ in range(10):
        now[0] += 1.0
        budget.advance(1)
    assert len(said) == 1
    assert "3 of 100 slices took 3 s" in said[0]
    assert "about 100 s" in said[0]


def test_a_time_limit_that_will_be_kept_is_not_mentioned() -> None:
    now, said = [0.0], list[str]()
    budget = TimeBudget(100, 110.0, said.append, clock=lambda: now[0])
    for _ in range(100):
        now[0] += 1.0
        budget.advance(1)
    assert said == []


def test_durations() -> None:
    assert [seconds(text) for text in ("2h30m", "50m", "90s", "1h1s")] == [9000, 3000, 90, 3601]
    for text in ("", "2", "h", "1d", "30m2h", "-5m", "0m", "1.5h"):
        with pytest.raises(SettingsError, match="--time-limit"):
            seconds(text)


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    cmd_reconstruct.register(app)
    cmd_export.register(app)
    return app


def test_the_command(tmp_path: Path, write_kspace: Write, app: typer.Typer) -> None:
    write_kspace(tmp_path / "data" / "a.h5")
    out, summary = tmp_path / "out", tmp_path / "s.json"
    command = ["reconstruct", "cg-sense:iterations=2", str(tmp_path / "data"), "--out", str(out)]
    more = ["--json", str(summary), "--device", "cpu", "--time-limit", "1h"]
    result = CliRunner().invoke(app, [*command, *more], catch_exceptions=False)
    assert result.exit_code == 0
    assert "cg-sense: 1 volumes, 2 slices" in result.stdout
    assert "largest data-consistency residual" in result.stdout
    assert "next: dealias evaluate" in result.stdout
    said = json.loads(summary.read_text())
    assert said["volumes"][0]["file"] == "a.h5"
    assert 0 < said["volumes"][0]["residual"] < 1


def test_the_command_undersamples_full_data_by_a_named_rule(
    tmp_path: Path, app: typer.Typer
) -> None:
    rng = np.random.default_rng(1)
    with h5py.File(tmp_path / "full.h5", "w") as file:
        noise = rng.standard_normal((1, 2, 40, 48)) + 1j * rng.standard_normal((1, 2, 40, 48))
        file["kspace"] = noise.astype(np.complex64)
    command = ["reconstruct", "zero-filled", str(tmp_path / "full.h5"), "--out"]
    images = []
    for rule in ("snu:1", "snu:4"):
        out = tmp_path / rule
        CliRunner().invoke(app, [*command, str(out), "--mask", rule], catch_exceptions=False)
        with h5py.File(out / "full.h5") as file:
            images.append(file["reconstruction"][()])
    # white noise: the energy left is the share of columns that were sampled
    share = (np.linalg.norm(images[1]) / np.linalg.norm(images[0])) ** 2
    assert share == pytest.approx(15 / 48, rel=0.1)
    for wrong in ("snu", "snu:0", "snu:x"):
        with pytest.raises(SettingsError, match="--mask"):
            cmd_reconstruct.mask_rule(wrong)
    with pytest.raises(SettingsError, match="mask family 'full'.*snu, equispaced"):
        cmd_reconstruct.mask_rule("full:4")


@pytest.mark.parametrize(("acs", "said"), [(7, True), (11, False)])
def test_few_acs_lines_are_said_and_give_an_image(acs: int, said: bool, tmp_path: Path) -> None:
    lines = np.zeros(48, bool)
    lines[::4] = True
    lines[24 - acs // 2 : 25 + acs // 2] = True
    mask = SamplingMask(lines, (24 - acs // 2, 25 + acs // 2))
    rng = np.random.default_rng(1)
    with h5py.File(tmp_path / "full.h5", "w") as file:
        noise = rng.standard_normal((1, 4, 40, 48)) + 1j * rng.standard_normal((1, 4, 40, 48))
        file["kspace"] = noise.astype(np.complex64)
    heard: list[str] = []
    model = load_model("cg-sense")
    reconstruct_all(lambda scan: model, open_data(tmp_path / "full.h5"), tmp_path / "out",
                    mask=lambda scan: mask, warn=heard.append)  # fmt: skip
    assert ["kernel is 4 wide and not 6" in text for text in heard] == [True] * said
    with h5py.File(tmp_path / "out" / "full.h5") as file:
        assert np.isfinite(file["reconstruction"][()]).all()
