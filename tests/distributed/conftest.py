"""Two ranks on gloo, each a process of the fork server, so that torch is imported once."""

from __future__ import annotations

import os
import runpy
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from dealias.data.simulate import SimulateSettings, simulate
from dealias.training.checkpoint import Checkpoints, read_checkpoint
from shared import same

HERE = Path(__file__).parent
COMMAND, WORK = HERE.parent / "faults" / "child.py", HERE / "work.py"
SMALL = [
    "network.cascades=1", "network.channels=2", "network.pools=1", "network.sens_channels=2",
    "network.sens_pools=1", "training.epochs=2", "training.validate_every=1",
    "training.save_minutes=1e-6", "masks.each_acceleration=false",
]  # fmt: skip
"""Six training slices: three steps an epoch of two, a checkpoint after each."""


@dataclass
class Together:
    """Ranks of one command."""

    processes: list[Any]
    logs: list[Path]

    def wait(self, seconds: float = 120) -> list[int]:
        """Exit codes in the order of ranks: negative for a signal that ended one."""
        for process in self.processes:
            process.join(seconds)
        if None in self.codes:
            self.kill()
            pytest.fail(f"still running after {seconds} s: {self.codes}; {self.err}")
        return self.codes

    @property
    def codes(self) -> list[int]:
        return [process.exitcode for process in self.processes]

    def kill(self) -> None:
        for process in self.processes:
            if process.exitcode is None:
                os.killpg(process.pid, signal.SIGKILL)

    @property
    def out(self) -> str:
        return "".join(Path(f"{log}.out").read_text() for log in self.logs)

    @property
    def err(self) -> str:
        return "".join(Path(f"{log}.err").read_text() for log in self.logs)

    @property
    def errors(self) -> list[str]:
        """All error lines of all ranks."""
        assert "Traceback" not in self.err, self.err
        return [line for line in self.err.splitlines() if line.startswith("error: ")]

    @property
    def results(self) -> list[Any]:
        return [torch.load(f"{log}.pt", weights_only=True) for log in self.logs]


Start = Callable[..., Together]


def environments(size: int, faults: dict[int, str]) -> Iterator[dict[str, str]]:
    """What torchrun would set."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for rank in range(size):
        yield {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size),
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
            "DEALIAS_FAULT": faults.get(rank, ""),
        }  # fmt: skip


def launch(
    server: Any, script: Path, folder: Path, size: int, faults: dict[int, str], **call: Any
) -> Together:
    """Start a script once for each rank."""
    processes, logs = [], []
    folder.mkdir(parents=True, exist_ok=True)
    number = len(list(folder.glob("*.out")))
    for rank, environment in enumerate(environments(size, faults)):
        log = folder / f"log{number}-{rank}"
        given = {"CALL": {"log": str(log), "environment": environment, **call}}
        processes.append(server.Process(target=runpy.run_path, args=(str(script), given)))
        processes[-1].start()
        logs.append(log)
    return Together(processes, logs)


def command(
    server: Any, folder: Path, arguments: tuple[object, ...], size: int, faults: dict[int, str]
) -> Together:
    """Start the command line, as several ranks or as one."""
    call = {"arguments": [str(one) for one in arguments], "limit": None, "memory": None}
    return launch(server, COMMAND, folder, size, faults, **call)


@pytest.fixture
def start(server: Any, tmp_path: Path) -> Iterator[Start]:
    """start("train", ..., size=2, faults={1: "step:3:SIGKILL"}) -> Together."""
    started: list[Together] = []

    def go(*arguments: object, size: int = 2, faults: dict[int, str] | None = None) -> Together:
        started.append(command(server, tmp_path / "logs", arguments, size, faults or {}))
        return started[-1]

    yield go
    for one in started:
        one.kill()


@pytest.fixture
def work(server: Any, tmp_path: Path) -> Iterator[Start]:
    """work("steps", argument=..., size=2) runs a function of work.py on every rank."""
    started: list[Together] = []

    def go(
        function: str, size: int = 2, timeout: float = 120, patience: float = 10, **arguments: Any
    ) -> Together:
        call = {"function": function, "arguments": arguments, "timeout": timeout,
                "patience": patience}  # fmt: skip
        started.append(launch(server, WORK, tmp_path / "logs", size, {}, **call))
        return started[-1]

    yield go
    for one in started:
        one.kill()


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulated scans: two to train on, four to validate on."""
    folder = tmp_path_factory.mktemp("distributed") / "data"
    settings = SimulateSettings(
        subjects=3, shares=(1, 2, 0), slices=3, coils=4, size=(48, 40), target=(40, 40),
        accelerations=(4,), year=2025,
    )  # fmt: skip
    simulate(settings, folder, lambda done: None)
    return folder


@pytest.fixture(scope="session")
def straight(server: Any, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one rank that nothing disturbed, with two batches a step."""
    folder = tmp_path_factory.mktemp("straight")
    run = folder / "run"
    arguments = ("train", "demo", "--data", data, "--out", run, *SMALL, "training.accumulation=2")
    alone = command(server, folder, arguments, 1, {})
    assert alone.wait() == [0], alone.err
    return run


@pytest.fixture
def small() -> list[str]:
    """Overrides that make a run of seconds."""
    return SMALL


@pytest.fixture
def train(start: Start, data: Path, tmp_path: Path) -> Start:
    """train(key=value ..., faults=...) starts a run in tmp_path/run, or resumes the one there."""
    run = tmp_path / "run"

    def go(*overrides: str, given: Path = data, **more: Any) -> Together:
        if (run / "run.json").exists():
            return start("train", "--resume", run, *overrides, **more)
        return start("train", "demo", "--data", given, "--out", run, *SMALL, *overrides, **more)

    return go


@pytest.fixture
def assert_same(straight: Path, tmp_path: Path) -> Callable[[], None]:
    """assert_same(): the run in tmp_path/run ended with every bit of the one rank's run.

    Two ranks add two gradients, as one rank with two batches does: a sum of two has no order.
    """

    def state(run: Path) -> dict[str, Any]:
        path = Checkpoints(run / "main" / "checkpoints", 2, lambda text: None).path("latest")
        assert path is not None
        return vars(read_checkpoint(path)[0])

    def check() -> None:
        run = tmp_path / "run"
        expected, found = state(straight), state(run)
        for key, value in expected.items():
            assert same(value, found[key]), f"{key} differs"
        names = ["main/scores.json", "main/finished.json", "main/examples.npz",
                 "main/examples.json"]  # fmt: skip
        names += [f"model/{path.name}" for path in (straight / "model").iterdir()]
        for name in names:
            assert (run / name).read_bytes() == (straight / name).read_bytes(), name
        assert not list(run.rglob(".partial-*"))
        assert not (run / "lock.json").exists()

    return check
