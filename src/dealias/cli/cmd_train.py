"""`dealias train`: train a recipe, or continue a run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dealias.cli.progress import warn

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from dealias.training.loop import Progress


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("train", rich_help_panel="Work")(train)


def train(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="RECIPE [KEY=VALUE ...]", help="See `recipes`.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Data set with train and val.")] = None,
    out: Annotated[Path | None, typer.Option(help="New run folder.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Run folder to continue.")] = None,
    only: Annotated[
        str | None, typer.Option(help="STAGE or STAGE/CELL alone; machines may share a run so.")
    ] = None,
    twin: Annotated[
        bool,
        typer.Option(
            "--twin",
            help="With data.use_val_for_final=true: then train the same without the validation "
            "data, in RUN/twin, and tell after which epoch it no longer gains.",
        ),
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:N; else chosen.")] = None,
    time_limit: Annotated[str | None, typer.Option(help="Stop and save after, e.g. 2h30m.")] = None,
    note: Annotated[
        str | None, typer.Option(help="What it is to show; kept for `dealias runs`.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Train a network. A stopped run continues bit for bit.

    Example: dealias train varnet --data data --out runs/a training.epochs=10

    Example: dealias train --resume runs/a

    Example: dealias train --resume runs/a --only experts/brain-x4

    Example: dealias train unet --data data --out runs/c task=anatomy training.batch_size=16

    Example: dealias train varnet --data data --out runs/z data.use_val_for_final=true --twin
    """
    from dealias.engine.joining import joined
    from dealias.errors import SettingsError
    from dealias.inference.budget import seconds
    from dealias.runs import train as runs
    from dealias.runs import twin as twins

    given = list(arguments or [])
    limit = seconds(time_limit) if time_limit else None
    if resume is None and (out is None or data is None or not given or "=" in given[0]):
        do = "dealias train RECIPE --data DATA --out RUN, or dealias train --resume RUN"
        raise SettingsError("train", "too little", "a recipe, --data and --out", do)

    if resume is not None and twin:
        do = "leave it out: a run that was begun with a twin goes on with it"
        raise SettingsError("--twin", "beside --resume", "a new run", do)

    def work(where: torch.device, hooks: runs.Hooks) -> tuple[str, ...]:
        started = time.monotonic()
        if resume is not None:
            left = runs.resume(resume, data, given, where, hooks, only, note)
        else:
            assert data is not None and out is not None  # asked for above
            new = given[0], data, out, given[1:], where, hooks
            begun = twins.beside(*new) if twin else lambda: None
            left = runs.start(*new, only, note, begun)
        if not left:
            twins.follow(resume or out or Path(), data, where, hooks, started)
        return left

    with joined(device) as (ranks, where), _Shown(quiet, ranks.first) as shown:
        hooks = runs.Hooks(shown.update, shown.warn, shown.say, limit, ranks)
        code = shown.until_stopped(lambda: work(where, hooks), resume or out)
    if code is not None:
        raise typer.Exit(code)


class _Shown:
    """A progress bar on a terminal; elsewhere a line now and then, so that logs show life.

    Args:
        quiet: No progress.
        speaks: Whether anything is shown or said: one rank alone does.
    """

    def __init__(self, quiet: bool, speaks: bool) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self.quiet, self.speaks = quiet or not speaks, speaks
        self.console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeRemainingColumn(), console=self.console,
            disable=self.quiet or not self.console.is_terminal,
        )  # fmt: skip
        self.task = self.bar.add_task("training", total=None)
        self.said = 0.0

    def __enter__(self) -> _Shown:
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self.bar.stop()

    def until_stopped(self, work: Callable[[], tuple[str, ...]], folder: Path | None) -> int | None:
        """Do the work, and say how to go on; gives the exit code if it was stopped."""
        from dealias.runs.signals import EXIT_CODES
        from dealias.training.stops import Stopped

        reason = None
        try:
            left = work()
            said = "\n".join([f"trained: {folder}/model", *self._told(folder),
                              f"next: dealias report {folder}"])  # fmt: skip
            if left:
                do = f"dealias train --resume {folder} --only {left[0]}, here or elsewhere"
                said = f"left to train: {', '.join(left)}\nnext: {do}"
        except Stopped as stopped:
            reason = str(stopped)
            said = f"stopped ({reason}); continue with: dealias train --resume {folder}"
        self.close()
        if self.speaks:
            typer.echo(said)
        return EXIT_CODES.get(reason, 0) if reason is not None else None

    def _told(self, folder: Path | None) -> list[str]:
        """What run.json says of a final run and of its twin."""
        from dealias.runs.folder import RunFolder

        if folder is None or not self.speaks:
            return []
        facts = RunFolder(folder).facts()
        final = [f"final run: {facts['final']}"] if "final" in facts else []
        points = (facts.get("branch_point") or {}).items()
        return [*final, *(f"branch point of {name}, by the twin: {text}" for name, text in points)]

    def warn(self, text: str) -> None:
        if self.speaks:
            warn(text)

    def say(self, text: str) -> None:
        if not self.quiet:
            typer.echo(text, err=True)

    def update(self, progress: Progress) -> None:
        loss = "" if progress.loss is None else f"  loss {progress.loss:.4f}"
        total = "" if progress.total is None else f"  validation {progress.total:.4f}"
        text = f"{progress.doing} {progress.epoch + 1}/{progress.epochs}{loss}{total}"
        self.bar.update(self.task, description=text, completed=progress.step, total=progress.steps)
        if not self.quiet and not self.console.is_terminal and time.monotonic() - self.said > 30:
            self.said = time.monotonic()
            typer.echo(f"step {progress.step}/{progress.steps}  {text}", err=True)
