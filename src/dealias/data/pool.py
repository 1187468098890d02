"""Work spread over processes that do not outlive the one that asked for it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import torch

from dealias.errors import HealthError

Item = TypeVar("Item")
Result = TypeVar("Result")


def each(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Generator[tuple[Item, Result]]:
    """Do a piece of work for every item, in any order.

    Args:
        work: A function at the top of a module, or a partial of one.
        items: What for.
        workers: Processes; 0 works in this one.

    Yields:
        Each item with its result, as soon as it is done.

    Raises:
        HealthError: A process died.
        UserError: Whatever the work raises; work that has not begun is then left.
    """
    if workers < 1:
        yield from ((item, work(item)) for item in items)
        return
    context = multiprocessing.get_context("forkserver")
    # imported once by the server, not by each process
    context.set_forkserver_preload(["__main__", getattr(work, "func", work).__module__])
    pool = ProcessPoolExecutor(max(1, min(workers, len(items))), context, _start)
    try:
        futures = {pool.submit(work, item): item for item in items}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool:
        do = "is memory short? run it again with fewer --workers"
        raise HealthError("a worker", "it died", "", do) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _start() -> None:
    # Ctrl-C goes to the whole group; the main process ends the others
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    """End with the main process: one that was killed cannot tell its pool to stop."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
