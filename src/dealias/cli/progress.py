"""Progress on stderr, so that results on stdout can be piped."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import typer

from dealias.errors import printable


@contextlib.contextmanager
def bar(what: str, total: int, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """A progress bar with the time left; nothing where stderr is no terminal or quiet is asked.

    Args:
        what: What is done.
        total: How many steps there are.
        quiet: Show nothing.

    Yields:
        A function to call with the number of steps done.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown = Progress(*columns, console=console, disable=quiet or not console.is_terminal)
    with shown:
        task = shown.add_task(what, total=total)

        def advance(steps: int) -> None:
            shown.advance(task, steps)

        yield advance


def warn(text: str) -> None:
    """Print a WARN line on stderr."""
    typer.echo(f"WARN {printable(text)}", err=True)
