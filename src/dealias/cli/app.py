"""From an error to one line and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable

import typer

BUG, USAGE, INTERRUPTED = 1, 2, 130
NOTICE = "Research use only, not a medical device."


def run(command: Callable[[], object], debug: bool) -> int:
    """Run the command line and give its exit code.

    Args:
        command: Runs it; raises what went wrong.
        debug: Whether to show tracebacks.

    Returns:
        0 fine; 1 a bug of ours; 2 usage or settings; 3 data refused; 4 checkpoint refused; 5
        training stopped for its health; 6 disk; 130 and 143 signals.
    """
    try:
        result = command()
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        return _nobody_reads()
    except SystemExit as stop:
        # the parser makes exit code 1 of a pipe that broke in the middle
        if not isinstance(stop.__context__, BrokenPipeError):
            raise
        return _nobody_reads()
    except Exception as error:
        return _said(error, debug)


def _nobody_reads() -> int:
    """Whoever read our output has seen enough."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _said(error: Exception, debug: bool) -> int:
    from dealias.errors import HealthError, UserError, no_memory, printable

    show = getattr(error, "show", None)
    if show is not None:  # the parser's own errors print themselves
        show()
        return int(getattr(error, "exit_code", USAGE))
    if debug:
        traceback.print_exc()
    if no_memory(error):
        error = HealthError("memory", "none left", "", "choose a smaller network or batch")
    if isinstance(error, UserError):
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    text = printable(f"{type(error).__name__}: {error}")[:500]
    more = "" if debug else "; run it again with --debug and report what it prints"
    print(f"error: a bug in dealias: {text}{more}", file=sys.stderr)  # noqa: T201
    return BUG
