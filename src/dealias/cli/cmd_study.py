"""`dealias study`: does it repeat, what is chance in it, what give techniques and settings."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from dealias.cli.progress import bar, warn

if TYPE_CHECKING:
    from dealias.runs.study.clock import Done
    from dealias.runs.study.series import Study

T = TypeVar("T")
UNHEALTHY = 5
LINE_EVERY = 30.0
Arguments = Annotated[
    list[str], typer.Argument(metavar="RECIPE [KEY=VALUE ...]", help="See `recipes`.")
]
Data = Annotated[Path, typer.Option(help="Data set with train and val.")]
Out = Annotated[Path, typer.Option(help="Folder of the study; given again, it goes on.")]
Seeds = Annotated[int, typer.Option(min=2, help="Trainings of each kind.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:N; else chosen.")]
Json = Annotated[Path | None, typer.Option(help="Also write it here.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    study = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for command in (repro, noise, ablate, sweep):
        study.command(command.__name__)(command)
    text = "Whether a training repeats, what is chance, what techniques and settings give."
    app.add_typer(study, name="study", help=text, rich_help_panel="Is it so")


def repro(
    arguments: Arguments,
    data: Data,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = 20,
    device: Device = None,
    quiet: Quiet = False,
) -> None:
    """Train some steps twice, in two processes, and compare every bit.

    Says "identical", or names the first step that differs and the first module that computed
    anything else; the exit code is 5 then.

    Example: dealias study repro varnet --data data --steps 50
    """
    from dealias.cli.study_table import repro_lines
    from dealias.runs.study.repro import Request, first_difference, twice

    request = Request(arguments[0], data, tuple(arguments[1:]), device, steps)
    with bar("train twice", 2 * steps, quiet) as advance:
        one, other = twice(request, advance, warn)
    found = first_difference(one, other)
    _print(repro_lines(one, found))
    if found is not None:
        raise typer.Exit(UNHEALTHY)


def noise(
    arguments: Arguments,
    data: Data,
    out: Out,
    seeds: Seeds = 3,
    device: Device = None,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """How much the scores of one recipe differ by the seed alone, and so what counts as more.

    Trains each seed, scores it on the validation split by the recipe's protocol, and prints mean,
    standard deviation, its interval, and what two single runs must differ by.

    Example: dealias study noise varnet --data data --out studies/a --seeds 5
    """
    from dealias.cli.study_table import noise_lines
    from dealias.runs.study.noise import noise_of
    from dealias.runs.study.series import AS_IT_IS, Arm, run_study

    study = _study(arguments, data, out, seeds, device)
    runs = _until_stopped(
        "noise", quiet, lambda tell: run_study(study, [Arm(AS_IT_IS)], tell, warn), out
    )
    found = noise_of(runs[AS_IT_IS])
    _write(json, found.to_json())
    _print(noise_lines(found))


def ablate(
    arguments: Arguments,
    data: Data,
    out: Out,
    without: Annotated[
        list[str] | None,
        typer.Option(help="A .yaml, a technique's name, or name:key=value,...; else all known."),
    ] = None,
    seeds: Seeds = 3,
    device: Device = None,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Leave each technique out in turn, with the same seeds, and say what it gives.

    The effect, with minus without, is paired by seed and slice and stands beside what chance alone
    gives. Runs that are there are not trained again, whether `noise` or `ablate` made them.

    Example: dealias study ablate varnet --data data --out studies/a --without foreground

    Example: dealias study ablate varnet --data data --out studies/a --without lr:optimiser.lr=1e-3
    """
    from dealias.cli.study_table import ablation_lines
    from dealias.runs.study.ablate import ablate as run
    from dealias.runs.study.techniques import techniques_of

    techniques = techniques_of(without or [])
    study = _study(arguments, data, out, seeds, device)
    found = _until_stopped("ablate", quiet, lambda tell: run(study, techniques, tell, warn), out)
    _write(json, found.to_json())
    _print(ablation_lines(found))


def sweep(
    arguments: Arguments,
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of the sweep; workers share it.")],
    space: Annotated[Path, typer.Option(help="A .yaml: method, and values or ranges of settings.")],
    trials: Annotated[
        int | None, typer.Option(min=1, help="In all, of all workers; a grid has an end.")
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="Optuna's as well: sqlite:///FILE, or a journal's path.")
    ] = None,
    device: Device = None,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Try settings: all values of a grid, at random, or where trials so far were good (TPE).

    Each trial is a run of its own in OUT/trials. The same command continues what was interrupted,
    does more trials, and started again elsewhere on the same folder shares the work. A trial whose
    plan is over its memory.budget is never started; what fails stays, with its reason.

    A space: {method: grid, space: {optimiser.lr: [1e-4, 1e-3], network.cascades: [4, 6]}}, or
    {method: tpe, space: {optimiser.lr: {low: 1e-5, high: 1e-3, log: true}}, prune: {}}

    Example: dealias study sweep varnet --data data --out sweeps/a --space space.yaml --trials 40
    """
    from dealias.cli.sweep_table import sweep_lines
    from dealias.engine.device import choose_device
    from dealias.report.sweep_plot import write_sweep_plot
    from dealias.runs.study.sweep.run import run_sweep
    from dealias.runs.study.sweep.space import read_space
    from dealias.runs.study.sweep.work import Sweep

    read, where = read_space(space), choose_device(device)
    own = Sweep(arguments[0], data, out, tuple(arguments[1:]), read, trials, where, storage)
    found = _until_stopped("sweep", quiet, lambda tell: run_sweep(own, tell, warn), out)
    _write(json, found.to_json())
    _print(sweep_lines(found, read, out))
    picture = out / "sweep.png"
    write_sweep_plot(picture, read, found.trials, found.importances)
    _print([f"picture: {picture}"])


def _study(arguments: list[str], data: Path, out: Path, seeds: int, device: str | None) -> Study:
    from dealias.engine.device import choose_device
    from dealias.runs.study.series import Study

    where = choose_device(device)
    return Study(arguments[0], data, out, tuple(arguments[1:]), seeds, where)


def _until_stopped(
    what: str, quiet: bool, work: Callable[[Callable[[Done], None]], T], out: Path
) -> T:
    """Do the work and show how far it is; if it is stopped, say how to go on."""
    from dealias.runs.signals import EXIT_CODES
    from dealias.training.stops import Stopped

    try:
        with _shown(what, quiet) as tell:
            return work(tell)
    except Stopped as stopped:
        typer.echo(f"stopped ({stopped}); the same command with --out {out} goes on", err=True)
        raise typer.Exit(EXIT_CODES.get(str(stopped), 0)) from None


@contextlib.contextmanager
def _shown(what: str, quiet: bool) -> Iterator[Callable[[Done], None]]:
    """A bar on a terminal; elsewhere a line now and then."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn()
    terminal = console.is_terminal and not quiet
    said = time.monotonic()
    with Progress(*columns, console=console, disable=not terminal) as shown:
        task = shown.add_task(what, total=1.0)

        def tell(done: Done) -> None:
            nonlocal said
            text = f"{what} {done.share:.0%} {done.run}{_training(done)}{_left(done)}"
            shown.update(task, description=text, completed=done.share)
            if not quiet and not terminal and time.monotonic() - said > LINE_EVERY:
                said = time.monotonic()
                typer.echo(text, err=True)

        yield tell


def _training(done: Done) -> str:
    now = done.training
    if now is None:
        return ""
    loss = "" if now.loss is None else f" loss {now.loss:.4f}"
    return f" epoch {now.epoch + 1}/{now.epochs}{loss}"


def _left(done: Done) -> str:
    from dealias.cli.plan_table import said_time

    return "" if done.left is None else f", {said_time(done.left)} left"


def _write(path: Path | None, value: dict[str, Any]) -> None:
    from dealias.atomic import write_json

    if path is not None:
        write_json(path, value)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(line)
