"""A small data set, and the command line in processes that may be killed."""

from __future__ import annotations

import os
import runpy
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dealias.data.simulate import SimulateSettings, simulate
from dealias.training.checkpoint import Checkpoints, read_checkpoint
from shared import same

CHILD = Path(__file__).with_name("child.py")
EPOCHS, SLICES = 2, 3
STEPS = EPOCHS * 2 * SLICES
"""Two training scans; steps of one slice."""
SMALL = [
    "network.cascades=1", "network.channels=2", "network.pools=1", "network.sens_channels=2",
    "network.sens_pools=1", f"training.epochs={EPOCHS}", "training.validate_every=1",
    "training.save_minutes=1e-6", "masks.each_acceleration=false",
]  # fmt: skip
"""A checkpoint after every step."""


@dataclass
class Run:
    """A command in a process of its own."""

    process: Any
    log: Path

    def wait(self, seconds: float = 120) -> int:
        """Its exit code: negative for a signal that ended it."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            pytest.fail(f"still running after {seconds} s; it said: {self.err}")
        return int(self.process.exitcode)

    @property
    def out(self) -> str:
        return Path(f"{self.log}.out").read_text()

    @property
    def err(self) -> str:
        return Path(f"{self.log}.err").read_text()


Start = Callable[..., Run]


def launch(
    server: Any, arguments: tuple[object, ...], log: Path, environment: dict[str, str],
    limit: int | None = None, memory: int | None = None,
) -> Any:  # fmt: skip
    """Start child.py in a new process."""
    call = {"arguments": [str(one) for one in arguments], "log": str(log),
            "environment": environment, "limit": limit, "memory": memory}  # fmt: skip
    process = server.Process(target=runpy.run_path, args=(str(CHILD), {"CALL": call}))
    process.start()
    return process


@pytest.fixture
def start(server: Any, tmp_path: Path) -> Start:
    """start("train", ..., fault="step:3:SIGKILL", limit=bytes, memory=bytes) -> Run."""
    count = [0]

    def run(*arguments: object, fault: str = "", **limits: int) -> Run:
        count[0] += 1
        log = tmp_path / f"log{count[0]}"
        environment = {"DEALIAS_FAULT": fault}
        return Run(launch(server, arguments, log, environment, **limits), log)

    return run


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulated scans: two to train on, two to validate on."""
    folder = tmp_path_factory.mktemp("faults") / "data"
    settings = SimulateSettings(
        subjects=2, shares=(1, 1, 0), slices=SLICES, coils=4, size=(48, 40), target=(40, 40),
        accelerations=(4,), year=2025,
    )  # fmt: skip
    simulate(settings, folder, lambda done: None)
    return folder


@pytest.fixture
def train(start: Start, data: Path, tmp_path: Path) -> Start:
    """train(key=value ..., fault=...) starts a run in tmp_path/run, or resumes the one there."""
    run = tmp_path / "run"

    def go(*overrides: str, **more: Any) -> Run:
        if (run / "run.json").exists():
            return start("train", "--resume", run, *overrides, **more)
        return start("train", "demo", "--data", data, "--out", run, *SMALL, *overrides, **more)

    return go


@pytest.fixture(scope="session")
def straight(server: Any, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    arguments = ("train", "demo", "--data", data, "--out", folder, *SMALL)
    process = launch(server, arguments, folder.with_name("log"), {})
    process.join(120)
    assert process.exitcode == 0, folder.with_name("log.err").read_text()
    return folder


@pytest.fixture
def assert_same(straight: Path) -> Callable[[Path], None]:
    """assert_same(run): everything in its final checkpoint and model is the undisturbed run's."""

    def state(run: Path) -> dict[str, Any]:
        path = Checkpoints(run / "main" / "checkpoints", 2, lambda text: None).path("latest")
        assert path is not None
        return vars(read_checkpoint(path)[0])

    def check(run: Path) -> None:
        expected, found = state(straight), state(run)
        assert expected["step"] == STEPS
        for key, value in expected.items():
            assert same(value, found[key]), f"{key} differs"
        for name in ("main/scores.json", "main/finished.json", "main/examples.npz"):
            assert (run / name).read_bytes() == (straight / name).read_bytes(), name
        for path in (straight / "model").glob("*.safetensors"):
            assert (run / "model" / path.name).read_bytes() == path.read_bytes(), path.name
        assert not list(run.rglob(".partial-*"))

    return check
