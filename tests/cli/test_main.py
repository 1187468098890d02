"""The command line: help without torch, errors as one line, exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dealias.cli.app import run
from dealias.cli.main import app, main
from dealias.errors import CheckpointError, DataError, DiskError, HealthError, SettingsError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError("a"), 2), (DataError("a"), 3), (CheckpointError("a"), 4),
        (HealthError("a"), 5), (DiskError("a"), 6), (KeyboardInterrupt(), 130),
    ],
)  # fmt: skip
def test_each_error_has_its_code(error: BaseException, code: int) -> None:
    def fail() -> None:
        raise error

    assert run(fail, debug=False) == code


def test_a_bug_is_called_a_bug(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ZeroDivisionError("oops\x1b[2J")

    assert run(fail, debug=False) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "a bug in dealias: ZeroDivisionError: oops\\x1b" in said
    assert run(fail, debug=True) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.subprocess
def test_help_needs_no_torch_and_every_command_has_an_example() -> None:
    code = (
        "import sys\nfrom dealias.cli.main import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "not a medical device" in done.stdout
    for command in app.registered_commands:
        assert command.callback is not None
        assert "Example: dealias " in (command.callback.__doc__ or ""), command.name


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["trian"], 2, "No such command"),
        (["train"], 2, "error: train: found too little"),
        (["train", "varnt", "--data", "x", "--out", "y"], 2, "did you mean 'varnet'"),
        (["train", "varnet", "--data", "none", "--out", "y"], 3, "none"),
        (["train", "--resume", "none"], 2, "no run.json"),
        (["check", "none"], 3, "no .h5 files"),
        (["reconstruct", "none", "none", "--out", "y"], 2, "no such file or folder"),
        (["report", "none"], 3, "no run.json"),
        (["evaluate", "a", "none", "--protocol", "snu2025"], 3, "none"),
    ],
)
def test_a_users_mistake_is_one_line(
    arguments: list[str], code: int, said: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["dealias", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    stderr = capfd.readouterr().err
    assert stop.value.code == code, stderr
    assert said in stderr
    assert "Traceback" not in stderr
    assert len(stderr.splitlines()) < 20
    assert list(tmp_path.iterdir()) == []


@pytest.mark.subprocess
@pytest.mark.parametrize("reader", ["head -1", "true"])
def test_a_closed_pipe_is_no_error(reader: str) -> None:
    command = f"{sys.executable} -c 'from dealias.cli.main import main; main()' recipes varnet"
    done = subprocess.run(
        ["bash", "-c", f"{command} | {reader}; exit ${{PIPESTATUS[0]}}"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
