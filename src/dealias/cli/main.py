"""The command line: one thin module for each command; torch is imported after parsing."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import dealias
from dealias.cli import (
    cmd_cache,
    cmd_check,
    cmd_compare,
    cmd_demo,
    cmd_doctor,
    cmd_evaluate,
    cmd_export,
    cmd_import,
    cmd_models,
    cmd_plan,
    cmd_recipes,
    cmd_reconstruct,
    cmd_report,
    cmd_runs,
    cmd_simulate,
    cmd_study,
    cmd_train,
)
from dealias.cli.app import NOTICE, run

COMMANDS = (
    cmd_demo,
    cmd_check,
    cmd_train,
    cmd_reconstruct,
    cmd_evaluate,
    cmd_report,
    cmd_simulate,
    cmd_cache,
    cmd_plan,
    cmd_doctor,
    cmd_recipes,
    cmd_models,
    cmd_import,
    cmd_export,
    cmd_compare,
    cmd_runs,
    cmd_study,
)

app = typer.Typer(
    name="dealias",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in COMMANDS:
    command.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dealias {dealias.__version__}")
        raise typer.Exit


@app.callback(epilog=NOTICE)
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say it and stop.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Train, run, judge and explain networks for accelerated multi-coil MRI.

    Start with: dealias demo --out demo

    Research use only, not a medical device.
    """


def main() -> None:
    """Entry point of the console script."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) != len(sys.argv) - 1
    sys.exit(run(lambda: app(arguments, standalone_mode=False), debug))
