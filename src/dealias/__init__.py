"""dealias: train, run, judge and explain networks for accelerated multi-coil MRI.

Research use only, not a medical device.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_API = ("load", "open", "plot", "reconstruct", "score")


def __getattr__(name: str) -> Any:
    """Import the API when it is first used, so that `dealias --help` need not wait for torch."""
    if name in _API:
        return getattr(importlib.import_module("dealias.api"), name)
    raise AttributeError(f"module 'dealias' has no attribute '{name}'")
