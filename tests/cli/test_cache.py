"""`dealias cache`, and the commands that take a cache in place of the data."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from dealias.cli.app import run as run_command
from dealias.cli.main import app

SMALL = [
    "network.cascades=1", "network.channels=2", "network.pools=1", "network.sens_channels=2",
    "network.sens_pools=1", "training.epochs=1", "network.readout_crop=2",
    "masks.each_acceleration=false",
]  # fmt: skip
Capture = pytest.CaptureFixture[str]


def dealias(*arguments: object) -> int:
    """Run a command as main() would."""
    words = [str(argument) for argument in arguments]
    return run_command(lambda: app(words, standalone_mode=False), debug=False)


def dealias_cache(data: Path, out: Path, *more: object) -> int:
    return dealias("cache", data, "--out", out, "--workers", 0, "--quiet", *more)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/ and cache/, rows 4 to 44 of 48 and a margin of 2."""
    root = tmp_path_factory.mktemp("cache")
    assert dealias("simulate", "--out", root / "data", "--subjects", 3, "--slices", 2, "--coils", 4,
                   "--accelerations", 4, "--size", "48x40", "--target", "36x36", "--year", 2024,
                   "--quiet") == 0  # fmt: skip
    assert (
        dealias_cache(root / "data", root / "cache", "--margin", 2, "--json", root / "a.json") == 0
    )
    return root


def test_a_run_from_the_cache_is_the_run_from_the_files(root: Path) -> None:
    for data in ("data", "cache"):
        run, recon = root / f"run-{data}", root / f"recon-{data}"
        assert dealias("train", "demo", "--data", root / data, "--out", run, "--quiet", *SMALL) == 0
        assert dealias("reconstruct", run, root / data / "leaderboard", "--out", recon,
                       "--quiet") == 0  # fmt: skip
        assert dealias("evaluate", recon, root / data / "leaderboard", "--protocol", "snu2021",
                       "--quiet", "--json", root / f"{data}.json") == 0  # fmt: skip
    for name in ("model/main.safetensors", "model/bundle.json", "main/scores.json"):
        assert (root / "run-data" / name).read_bytes() == (root / "run-cache" / name).read_bytes()
    volumes = sorted(
        path.relative_to(root / "recon-data") for path in (root / "recon-data").rglob("*.h5")
    )
    assert len(volumes) == 1
    for name in volumes:
        a, b = (root / f"recon-{data}" / name for data in ("data", "cache"))
        assert a.read_bytes() == b.read_bytes()
    assert (root / "data.json").read_bytes() == (root / "cache.json").read_bytes()


def test_what_was_done_is_said(root: Path, capsys: Capture) -> None:
    assert dealias_cache(root / "data", root / "cache", "--margin", 2) == 0
    said = capsys.readouterr().out
    assert "3 volumes, 6 slices" in said
    assert f"next: dealias train varnet --data {root / 'cache'}" in said
    facts = json.loads((root / "a.json").read_text())
    assert facts["kspace_bytes"] == 6 * 4 * 48 * 40 * 8
    stored = sum(path.stat().st_size for path in (root / "cache" / "volumes").iterdir())
    assert facts["bytes"] == stored
    assert (facts["volumes"], facts["slices"], facts["rows"]) == (3, 6, "margin 2")


@pytest.mark.parametrize(
    ("change", "found"),
    [("network.readout_crop=3", "rows 4 to 44 of 48; expected rows 3 to 45"),
     ("network.readout_crop=null", "expected all rows"),
     ("masks.kind=variable_density", "a 2-D mask")],
)  # fmt: skip
def test_training_that_a_cache_does_not_serve_leaves_nothing(
    change: str, found: str, root: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "run"
    code = dealias("train", "demo", "--data", root / "cache", "--out", out, *SMALL, change)
    assert code == 3
    said = capsys.readouterr().err
    assert found in said
    assert said.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("method", "found"), [("cg-sense", "ESPIRiT maps"), ("zero-filled", "expected all rows")]
)
def test_methods_that_need_more_say_so(
    method: str, found: str, root: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "recon"
    assert (
        dealias("reconstruct", method, root / "cache" / "leaderboard", "--out", out, "--quiet") == 3
    )
    assert found in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.h5"))


def test_check_reads_a_cache_from_end_to_end(root: Path, tmp_path: Path, capsys: Capture) -> None:
    cache = tmp_path / "cache"
    shutil.copytree(root / "cache", cache)
    assert dealias("check", cache) == 0
    assert "3 PASS, 0 WARN, 0 FAIL" in capsys.readouterr().out
    volume = next((cache / "volumes").iterdir())
    data = bytearray(volume.read_bytes())
    data[-1] ^= 1
    volume.write_bytes(data)
    assert dealias("check", cache) == 3
    assert "2 PASS, 0 WARN, 1 FAIL" in capsys.readouterr().out


def test_the_commands_of_the_guide_work(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "guide" / "cache.md").read_text()
    (block,) = re.findall(r"```bash\n(.*?)```", page, flags=re.DOTALL)
    (tmp_path / "data").symlink_to(root / "data")
    monkeypatch.chdir(tmp_path)
    lines = [shlex.split(line)[1:] for line in block.splitlines()]
    assert [line[0] for line in lines] == ["cache", "check", "train"]
    for line in lines:
        more = {"cache": ["--workers", 0], "train": SMALL}.get(line[0], [])
        assert dealias(*line, *more) == 0


@pytest.mark.parametrize(
    ("options", "code", "found"),
    [(("--limit", "10 kB"), 2, "at most 10 kB"), (("--limit", "much"), 2, "a size such as 200GB"),
     (("--margin", "-1"), 2, "a number of rows, or all"), (("--rows", "35"), 2, "target's 36"),
     (("--rows", "40", "--margin", "1"), 2, "one of the two")],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(
    options: tuple[str, ...], code: int, found: str, root: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert dealias_cache(root / "data", tmp_path / "new", *options) == code
    said = capsys.readouterr().err
    assert found in said
    assert said.count("\n") == 1
    assert not (tmp_path / "new").exists()
