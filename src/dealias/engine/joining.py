"""Joining the other ranks, and leaving them: together, with one message, or with one error."""

from __future__ import annotations

import contextlib
import datetime
import os
import signal
import time
from collections.abc import Iterator

import torch
import torch.distributed as dist
import torch.distributed.nn.functional  # noqa: F401
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from dealias.engine.device import choose_device
from dealias.engine.ranks import Broken, Ranks
from dealias.engine.roll import Roll
from dealias.errors import HealthError, SettingsError, UserError

TIMEOUT = 1800.0
"""Seconds that ranks wait for one another: rank 0 may write, or plan, or have a larger volume."""
LAST_WORDS = 0.5
"""Seconds a silent rank stays: who started the ranks ends all of them as soon as one has gone."""
# torch.distributed.nn.functional is imported here, before there is a group: its functions have the
# group as a default that is there when they are made, and would hold its connections open for ever
_NEEDED = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@contextlib.contextmanager
def joined(device: str | None) -> Iterator[tuple[Ranks, torch.device]]:
    """Be one rank of a run, as torchrun's environment variables say; alone without them.

    Whatever error ends one rank ends all of them with its exit code, and one of them says it.

    Args:
        device: As for `choose_device`; of several GPUs a rank takes the one of its LOCAL_RANK.

    Yields:
        The ranks, and this one's device.

    Raises:
        SettingsError: The variables or the device cannot be used.
        HealthError: A rank has died.
        SystemExit: As well, on ranks that leave it to another to say so.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield Ranks(), choose_device(device)
        return
    roll = _meet()
    ranks = Ranks(roll.rank, roll.size, roll)
    try:
        yield ranks, _own_device(ranks, device)
        ranks.wait()
    except (UserError, Broken) as error:
        raise _leave(roll, error) from None
    except Exception as error:
        # a bug, which this rank will say itself
        roll.claim()
        _leave(roll, HealthError(f"rank {roll.rank}", f"{type(error).__name__}: {error}"))
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _meet() -> Roll:
    missing = [name for name in _NEEDED if not os.environ.get(name)]
    if missing:
        do = "start it with torchrun, or unset WORLD_SIZE"
        found = f"{os.environ['WORLD_SIZE']} ranks, but not {', '.join(missing)}"
        raise SettingsError("WORLD_SIZE", found, "what torchrun sets", do)
    limit = datetime.timedelta(seconds=TIMEOUT)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        store, rank, size = next(rendezvous("env://", timeout=limit))
        store.set_timeout(limit)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=limit)
    except (RuntimeError, ValueError) as error:
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        do = "are all ranks started, and may this machine talk to that one?"
        raise HealthError("ranks", f"no meeting at {where} ({str(error)[:120]})", "", do) from None
    return Roll(PrefixStore("roll", store), rank, size)


def _own_device(ranks: Ranks, name: str | None) -> torch.device:
    """This rank's device.

    Raises:
        SettingsError: It is not there, or another rank has it as well.
    """
    chosen = choose_device(name)
    if chosen.index is not None:
        raise SettingsError("--device", f"'{name}' for {ranks.size} ranks", "cuda or cpu")
    if chosen.type == "cuda":
        # a scheduler may show each rank its own card alone, which then is number 0
        index = int(os.environ["LOCAL_RANK"]) if torch.cuda.device_count() > 1 else 0
        chosen = choose_device(f"cuda:{index}")
        torch.cuda.set_device(chosen)
    _refuse_shared(ranks.gather(_card(chosen)))
    return chosen


def _card(device: torch.device) -> str:
    """What tells a GPU from all others; nothing for a CPU."""
    return str(torch.cuda.get_device_properties(device).uuid) if device.type == "cuda" else ""


def _refuse_shared(cards: list[str]) -> None:
    for card in cards:
        same = [str(rank) for rank, one in enumerate(cards) if one == card]
        if card and len(same) > 1:
            do = "start as many ranks on a machine as it has GPUs"
            raise SettingsError("--device", f"one GPU for ranks {', '.join(same)}", "one each", do)
    if "" in cards and any(cards):
        found = f"no GPU for rank {cards.index('')}"
        raise SettingsError("--device", found, "one for each rank", "or --device cpu for all")


def _leave(roll: Roll, error: UserError | Broken) -> BaseException:
    """What this rank ends with: the error, or in silence with its exit code."""
    # who started the ranks stops all of them when one has gone; the reason is still to be said
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    roll.answer(error if isinstance(error, UserError) else None)
    agreed = roll.call(str(error))
    speaks = roll.claim()
    roll.stay()
    if speaks:
        return agreed
    time.sleep(LAST_WORDS)
    return SystemExit(agreed.exit_code)
