"""Reading samples ahead, in worker processes that leave signals to the main one."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import DataLoader, Dataset

from dealias.data.samples import Batch, Sample, Samples, collate
from dealias.data.strength import FULL, Strengths
from dealias.errors import HealthError, UserError

WORKER_TIMEOUT = 600


class _Careful(Dataset[Sample | UserError]):
    """Hands a user's error over as a value: torch would bury it in a traceback of its own."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __getitem__(self, key: tuple[int, int, Strengths]) -> Sample | UserError:
        try:
            return self.samples[key]
        except UserError as error:
            return error


def batches(
    samples: Samples,
    epoch: int,
    groups: Sequence[tuple[int, ...]],
    workers: int,
    strengths: Strengths = FULL,
) -> Iterator[Batch]:
    """Batches in the given order; the number of workers changes nothing but the time.

    Args:
        samples: The data set.
        epoch: Of the run.
        groups: Indices of each batch.
        workers: Processes; 0 reads in this one.
        strengths: How strongly this epoch varies samples.

    Yields:
        One batch for each group.

    Raises:
        DataError: A file cannot be used; the message names it.
        HealthError: A worker died.
    """
    keys = [[(epoch, index, strengths) for index in group] for group in groups]
    loader: DataLoader[Sample | UserError] = DataLoader(
        _Careful(samples),
        batch_sampler=keys,
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=_start_worker,
        pin_memory=torch.cuda.is_available(),
        timeout=WORKER_TIMEOUT if workers else 0,
        # forked workers see at once when this process is killed; a fork server would hide it
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
    )
    try:
        for batch in loader:
            if isinstance(batch, UserError):
                raise batch
            yield batch
    except (RuntimeError, ConnectionError, EOFError) as error:
        raise worker_died(error) or error from None


def worker_died(error: Exception) -> HealthError | None:
    """The user's version of torch's error about a dead worker; None if it is another error.

    torch raises it from a signal handler: wherever the main process happens to be. Where a worker
    died while it handed a batch over, its connection breaks first.
    """
    broken = isinstance(error, ConnectionError | EOFError)
    if not broken and "DataLoader worker" not in str(error):
        return None
    do = "is memory short? try training.workers=0"
    return HealthError("a data worker", f"it died ({str(error)[:80]})", "", do)


def _collate(items: list[Sample | UserError]) -> Batch | UserError:
    samples = []
    for item in items:
        if isinstance(item, UserError):
            return item
        samples.append(item)
    return collate(samples)


def _start_worker(worker: int) -> None:
    # Ctrl-C and Slurm signal the whole group; workers must outlive it so that the run can be saved
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(1)
