"""How a training ended that did not finish, in a line that is kept."""

from __future__ import annotations

from dealias.engine.ranks import Broken
from dealias.errors import UserError, no_memory, printable
from dealias.training.stops import Stopped

_LONGEST = 500


def ending(error: BaseException) -> str:
    """The reason, without a traceback.

    Args:
        error: What ended it.
    """
    if isinstance(error, Stopped | UserError):
        return str(error)
    if no_memory(error):
        return "no memory left"
    if isinstance(error, Broken):
        return "another rank has left"
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return printable(f"a bug in dealias: {type(error).__name__}: {error}")[:_LONGEST]


def was_asked(error: BaseException) -> bool:
    """Whether it was stopped, and did not fail."""
    return isinstance(error, Stopped | KeyboardInterrupt)
