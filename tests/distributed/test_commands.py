"""Whole commands: volumes shared by ranks, torchrun itself, and the Slurm example."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dealias.cli.cmd_reconstruct import mask_rule
from dealias.data.catalogue import open_data
from dealias.inference.bundle import load_model
from dealias.inference.run import reconstruct_all

SCRIPT = Path(__file__).parent.parent.parent / "examples" / "slurm" / "train.sbatch"
pytestmark = pytest.mark.subprocess


def files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_volumes_shared_by_ranks_have_the_bytes_of_one(
    start: Callable[..., Any], straight: Path, data: Path, tmp_path: Path
) -> None:
    model = load_model(str(straight / "model"))
    warned: list[str] = []
    alone = reconstruct_all(
        lambda scan: model, open_data(data), tmp_path / "alone", mask=mask_rule("random:6"),
        warn=warned.append,
    )  # fmt: skip
    assert len(warned) >= 6  # another mask family than the network was trained on
    summary, out = tmp_path / "summary.json", tmp_path / "both"
    command = ("reconstruct", straight / "model", data, "--out", out, "--mask", "random:6")
    both = start(*command, "--json", summary)
    assert both.wait() == [0, 0], both.err
    assert files(out) == files(tmp_path / "alone")
    assert both.out.count("6 volumes, 18 slices") == both.out.count("\nnext: ") == 1
    assert sorted(line for line in both.err.splitlines() if line.startswith("WARN")) == sorted(
        f"WARN {text}" for text in warned
    )
    expected, found = alone.to_json(), json.loads(summary.read_text())
    for one in (expected, found):
        one.pop("seconds")
        for volume in one["volumes"]:
            volume.pop("seconds")
    assert found == json.loads(json.dumps(expected))
    again = start(*command)
    assert again.wait() == [3, 3], again.err
    assert len(again.errors) == 1
    assert "add --overwrite" in again.errors[0]


def shell(command: list[object], **environment: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command that leaves nothing running."""
    process = subprocess.Popen(
        [str(one) for one in command], env=os.environ | {"OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0,
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=300)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, out, err


def test_torchrun(data: Path, straight: Path, small: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    arguments = ["train", "demo", "--data", data, "--out", run, *small]
    code, out, err = shell([*torchrun, "-m", "dealias", *arguments])
    assert code == 0, err
    assert out.count("trained: ") == 1
    assert (run / "main" / "scores.json").read_bytes() == (
        straight / "main" / "scores.json"
    ).read_bytes()


def test_the_slurm_example_is_bash() -> None:
    subprocess.run(["bash", "-n", SCRIPT], check=True)


STUBS = """
scontrol() { [ "$1" = show ] && echo 127.0.0.1 || echo "$@" >>"$LOG"; }
srun() {
  shift; local code=0 pids=()
  for rank in 0 1; do
    SLURM_PROCID=$rank SLURM_LOCALID=$rank setsid "$@" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || code=$?; done
  return "$code"
}
export -f scontrol srun
"""


@pytest.mark.slow
def test_the_slurm_example_requeues_and_goes_on(
    data: Path, straight: Path, small: list[str], tmp_path: Path
) -> None:
    """Stopped as Slurm warns, queued again, and ended with the bits of the undisturbed run."""
    binary = tmp_path / "bin"
    binary.mkdir()
    (binary / "dealias").write_text(f'#!/bin/bash\nexec {sys.executable} -m dealias "$@"\n')
    (binary / "dealias").chmod(0o755)
    (tmp_path / "stubs").write_text(STUBS)
    run, log = tmp_path / "run", tmp_path / "log"
    slurm = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_NTASKS": "2", "SLURM_JOB_NODELIST": "here",
             "LOG": str(log), "BASH_ENV": str(tmp_path / "stubs"),
             "PATH": f"{binary}:{os.environ['PATH']}"}  # fmt: skip
    command: list[object] = ["bash", SCRIPT, "demo", data, run, *small]
    ends = []
    for count, fault in enumerate(("step:2:SIGUSR1", "")):
        # the fault signals a rank's whole process group, as Slurm would
        again = {"DEALIAS_FAULT": fault, "SLURM_RESTART_COUNT": str(count)}
        code, _, err = shell(command, **again, **slurm)
        ends.append((code, log.read_text() if log.exists() else ""))
        # as if the machine had failed
        (run / "lock.json").write_text('{"pid": 1, "host": "another"}')
    queued = f"requeue {os.getpid()}\n"
    assert ends == [(143, queued), (0, queued)], err
    assert (run / "main" / "scores.json").read_bytes() == (
        straight / "main" / "scores.json"
    ).read_bytes()
