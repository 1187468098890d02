"""Who is still there when a rank has left, and why it went."""

from __future__ import annotations

import contextlib
import json
import re
import time

import torch.distributed as dist
from torch.distributed.distributed_c10d import Store

from dealias.errors import HealthError, UserError

PATIENCE = 10.0
"""Seconds in which a living rank answers; one that computes for longer is taken for gone."""
LINGER = 2.0
"""Seconds that rank 0 waits at most for the others to read what it keeps."""


class Roll:
    """A list in the store that all ranks see, for the time when nothing else works.

    A rank that goes for a reason leaves it here, so that all can end with that one error. Whoever
    leaves nothing has died.

    Args:
        store: The one that the ranks met in; rank 0 keeps it, or torchrun.
        rank: This one.
        size: How many there are.
    """

    def __init__(self, store: Store, rank: int, size: int) -> None:
        self.store, self.rank, self.size = store, rank, size

    def answer(self, error: UserError | None = None) -> None:
        """Say that this rank is there, and its reason to go if it has one.

        Its connections are closed, so that ranks that wait for it wait no longer.
        """
        kind = type(error).__name__ if error is not None else ""
        said = json.dumps([kind, [str(one) for one in error.args] if error is not None else []])
        with contextlib.suppress(RuntimeError):
            self.store.set(f"answer {self.rank}", said)
        if dist.is_initialized():
            dist.destroy_process_group()

    def call(self, broken: str) -> UserError:
        """Wait for everyone's answer; gives the error that all ranks end with.

        Args:
            broken: What torch said about the connection.
        """
        answers: dict[int, UserError | None] = {}
        deadline = time.monotonic() + PATIENCE
        try:
            while len(answers) < self.size and time.monotonic() < deadline:
                self._collect(answers)
                time.sleep(0.05)
            missing = sorted(set(range(self.size)) - set(answers))
        except RuntimeError:
            missing = [0]  # the store went with it
        errors = [error for _, error in sorted(answers.items()) if error is not None]
        return errors[0] if errors else self._lost(missing, broken)

    def claim(self) -> bool:
        """Whether this rank is the one that tells the user: the first to ask is."""
        try:
            return self.store.add("said", 1) == 1
        except RuntimeError:
            return self.rank == 1  # rank 0 kept the store

    def stay(self) -> None:
        """Rank 0 keeps the store: let the others read in it."""
        deadline = time.monotonic() + LINGER
        with contextlib.suppress(RuntimeError):
            while self.rank == 0 and time.monotonic() < deadline:
                answers = [self.store.check([f"answer {rank}"]) for rank in range(self.size)]
                if self.store.add("said", 0) >= sum(answers):
                    return
                time.sleep(0.05)

    def _collect(self, answers: dict[int, UserError | None]) -> None:
        for rank in range(self.size):
            key = f"answer {rank}"
            if rank not in answers and self.store.check([key]):
                kind, args = json.loads(self.store.get(key))
                kinds = {one.__name__: one for one in UserError.__subclasses__()}
                answers[rank] = kinds.get(kind, HealthError)(*args) if kind else None

    def _lost(self, missing: list[int], broken: str) -> HealthError:
        # torch's text without its place in the source and its advice
        text = re.sub(r"^\[\S+\.cc:\d+\] ", "", broken).partition(". This is")[0][:120]
        found = f"no answer: it died, or hangs ({text})"
        do = "see why, then start again; a run goes on with dealias train --resume"
        who = f"rank {', '.join(map(str, missing))}" if missing else "the network"
        return HealthError(f"{who} of {self.size}", found, "", do)
