"""Checkpoints: whole or absent, verified when read, and never the only good one overwritten.

checkpoints/000400/ holds state.pt (tensors and plain numbers, readable with weights_only) and
manifest.json, whose sha256 is checked because torch.load does not notice a flipped bit. `latest`
and `best` are small files that name a folder.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from dealias.atomic import remove_stale, replacing, sha256, write_bytes
from dealias.errors import CheckpointError
from dealias.faults import fault

SCHEMA = 2
STATE, MANIFEST, LATEST, BEST = "state.pt", "manifest.json", "latest", "best"
_ASIDE = ".partial-old-"


@dataclass
class TrainState:
    """Everything a run continues from, besides its settings.

    Attributes:
        epoch: Current epoch.
        position: Batches of it that are done.
        step: Optimiser steps done.
        loss_sum: Sum of the epoch's losses so far, and
        loss_count: of how many slices.
        bad_steps: Steps in a row without finite numbers.
        best: {"total", "epoch", "step"} of the best validation, or empty.
        totals: Every validation's total, by its epoch.
        network: Its state_dict.
        optimiser: Its state_dict.
        scaler: Its state_dict.
        average: state_dict of the averaged weights, if there are any.
        averaging: What their average needs to go on.
    """

    epoch: int = 0
    position: int = 0
    step: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    bad_steps: int = 0
    best: dict[str, float] = field(default_factory=dict)
    totals: dict[int, float] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)
    optimiser: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)
    average: dict[str, Any] = field(default_factory=dict)
    averaging: dict[str, Any] = field(default_factory=dict)

    @property
    def validation_losses(self) -> list[float]:
        """1 - total of each validation before the current epoch, in order."""
        return [1 - total for epoch, total in self.totals.items() if epoch < self.epoch]

    @property
    def kept(self) -> dict[str, Any]:
        """The weights to use: the average where there is one."""
        return self.average or self.network


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: RUN/main/checkpoints.
        keep_last: Newest ones kept, beside the best.
        warn: Told of everything that is not as it should be.
    """

    def __init__(self, folder: Path, keep_last: int, warn: Callable[[str], None]) -> None:
        self.folder, self.keep_last, self.warn = folder, keep_last, warn

    def save(self, state: TrainState, facts: dict[str, Any]) -> Path:
        """Write a checkpoint, then the pointers, then prune.

        Args:
            state: Everything.
            facts: Settings, data manifest and environment, for the manifest.

        Returns:
            Its folder.

        Raises:
            DiskError: The disk is full or may not be written; older checkpoints stay.
        """
        target = self.folder / f"{state.step:06d}"
        with replacing(target) as partial:
            partial.mkdir()
            fault("checkpoint-opened")
            _write(vars(state), partial / STATE)
            fault("checkpoint-half-written")
            manifest = {
                "schema": SCHEMA,
                "step": state.step,
                "epoch": state.epoch,
                "position": state.position,
                "sha256": {STATE: sha256(partial / STATE)},
                **facts,
            }
            (partial / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
            fault("checkpoint-before-rename")
            self._set_aside(target)
        fault("checkpoint-after-rename")
        self._point(state)
        self._prune(state)
        return target

    def load(self) -> tuple[TrainState, dict[str, Any]] | None:
        """The newest checkpoint that is whole; None if there never was one.

        Raises:
            CheckpointError: There are checkpoints, but none can be used.
        """
        if not self.folder.is_dir():
            return None
        self._bring_back()
        remove_stale(self.folder)
        candidates = sorted((p for p in self.folder.iterdir() if p.is_dir()), reverse=True)
        for candidate in candidates:
            try:
                state, manifest = read_checkpoint(candidate)
            except CheckpointError as error:
                self.warn(f"{error}; trying the one before")
                continue
            if candidate is not candidates[0]:
                self.warn(f"continuing from {candidate.name}, an earlier checkpoint")
            self._point(state)
            return state, manifest
        if candidates:
            do = "restore one from a copy, or train into a new folder"
            found = f"{len(candidates)} checkpoints, none of them whole"
            raise CheckpointError(self.folder, found, "one that can be continued", do)
        return None

    def path(self, pointer: str) -> Path | None:
        """The folder that `latest` or `best` names, if it is there."""
        file = self.folder / pointer
        if not file.is_file():
            return None
        target = self.folder / Path(file.read_text().strip()).name
        return target if target.is_dir() else None

    def _set_aside(self, target: Path) -> None:
        """Make room if this very step was saved before (the run is doing it again)."""
        if target.exists():
            aside = target.with_name(f"{_ASIDE}{target.name}")
            shutil.rmtree(aside, ignore_errors=True)
            target.rename(aside)
            fault("checkpoint-set-aside")

    def _bring_back(self) -> None:
        """Undo a set-aside whose successor never came: it may be the only checkpoint there is."""
        for aside in self.folder.glob(f"{_ASIDE}*"):
            target = self.folder / aside.name.removeprefix(_ASIDE)
            if not target.exists():
                aside.rename(target)

    def _point(self, state: TrainState) -> None:
        write_bytes(self.folder / LATEST, f"{state.step:06d}\n".encode())
        fault("checkpoint-before-best")
        if state.best:
            name = f"{int(state.best['step']):06d}"
            if (self.folder / name).is_dir():
                write_bytes(self.folder / BEST, f"{name}\n".encode())

    def _prune(self, state: TrainState) -> None:
        remove_stale(self.folder)
        folders = sorted(p for p in self.folder.iterdir() if p.is_dir())
        best = f"{int(state.best['step']):06d}" if state.best else ""
        for old in folders[: -self.keep_last]:
            if old.name != best:
                fault("checkpoint-pruning")
                shutil.rmtree(old)


def _write(values: dict[str, Any], path: Path) -> None:
    try:
        with _undisturbed(), path.open("wb") as file:
            torch.save(values, file)
    except RuntimeError as error:
        # torch's own error does not say that the disk is full; the one behind it does
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Hear of a dead data worker only afterwards.

    torch raises that error from its handler of SIGCHLD, wherever the process happens to be; in
    the middle of `torch.save` it would close the file under a C++ writer, which then aborts.
    """
    handler = signal.getsignal(signal.SIGCHLD)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[int] = []
    signal.signal(signal.SIGCHLD, lambda number, frame: heard.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, handler)
    if heard:
        handler(signal.SIGCHLD, None)


def read_checkpoint(folder: Path) -> tuple[TrainState, dict[str, Any]]:
    """Read and verify one checkpoint.

    Raises:
        CheckpointError: A file is missing, damaged, or of a newer version.
    """
    expected = "a whole checkpoint"
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        digest = manifest["sha256"][STATE]
        schema = int(manifest["schema"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(folder, f"a damaged manifest ({error})", expected) from None
    if schema > SCHEMA:
        do = "upgrade dealias"
        raise CheckpointError(folder, f"schema {schema}", f"at most {SCHEMA}", do)
    path = folder / STATE
    if not path.is_file() or sha256(path) != digest:
        raise CheckpointError(path, "bytes other than those written", expected)
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(path, f"nothing readable ({error})", expected) from None
    return TrainState(**values), manifest
