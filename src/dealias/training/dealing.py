"""An epoch's batches, dealt to steps and ranks, and read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from dealias.data.samples import Batch, Samples
from dealias.data.strength import FULL, Strengths
from dealias.engine.ranks import Ranks
from dealias.randomness import torch_seed
from dealias.training.loader import batches

Name = tuple[str, int]
"""Scan and slice."""


@dataclass(frozen=True)
class Turn:
    """One rank's part of one optimiser step, by the indices of samples.

    Attributes:
        position: Batches of the epoch before this step.
        groups: Batches of the step, of all ranks.
        start: This rank's first among them, and
        stop: the first that is not its own any more; fewer than ranks may be left.
    """

    position: int
    groups: tuple[tuple[int, ...], ...]
    start: int
    stop: int

    @property
    def mine(self) -> tuple[tuple[int, ...], ...]:
        """This rank's batches."""
        return self.groups[self.start : self.stop]


@dataclass(frozen=True)
class Share:
    """One rank's part of one optimiser step, read.

    Attributes:
        batches: This rank's, perhaps none.
        seeds: What each one's dropout draws from.
        names: Of every slice of the step, of all ranks.
        first: Where this rank's begin among them.
    """

    batches: tuple[Batch, ...]
    seeds: tuple[int, ...]
    names: tuple[Name, ...]
    first: int = 0


def deal(
    groups: Sequence[tuple[int, ...]], position: int, accumulation: int, ranks: Ranks
) -> list[Turn]:
    """The steps left of an epoch.

    A step is of `accumulation` batches for each rank, the next ones in the epoch's order, so that
    two ranks do in one what one rank does with twice the accumulation. Of an epoch's last, shorter
    step each rank gets its part, some one batch more than others.

    Args:
        groups: The epoch's batches, in order.
        position: How many of them are done.
        accumulation: Batches of a step on each rank.
        ranks: This one and how many there are.

    Returns:
        This rank's part of each step; every rank's has the same length.
    """
    size = accumulation * ranks.size
    turns = []
    for start in range(position, len(groups), size):
        step = tuple(groups[start : start + size])
        mine = (len(step) * ranks.rank // ranks.size, len(step) * (ranks.rank + 1) // ranks.size)
        turns.append(Turn(start, step, *mine))
    return turns


def read(
    samples: Samples,
    epoch: int,
    turns: Sequence[Turn],
    workers: int,
    strengths: Strengths = FULL,
) -> Iterator[tuple[Turn, Share]]:
    """Read this rank's batches of some steps.

    Dropout draws by a batch's place in the epoch, whichever step and rank it belongs to.

    Args:
        samples: The data set.
        epoch: Of the run.
        turns: The steps.
        workers: Processes that read; 0 reads in this one.
        strengths: How strongly this epoch varies samples.

    Yields:
        One share for each turn.

    Raises:
        DataError: A file cannot be used.
        HealthError: A worker died.
    """
    mine = [group for turn in turns for group in turn.mine]
    stream = batches(samples, epoch, mine, workers, strengths)
    for turn in turns:
        read = tuple(islice(stream, len(turn.mine)))
        places = range(turn.position + turn.start, turn.position + turn.stop)
        seeds = tuple(torch_seed(samples.seed, "dropout", epoch, place) for place in places)
        first = sum(map(len, turn.groups[: turn.start]))
        yield turn, Share(read, seeds, _names(samples, turn), first)


def _names(samples: Samples, turn: Turn) -> tuple[Name, ...]:
    places = [samples.index[index] for group in turn.groups for index in group]
    return tuple((samples.scans[s].name, z) for s, z in places)
