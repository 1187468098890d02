"""The user's cache folder: what can be made or measured again at any time."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """XDG_CACHE_HOME/dealias, or the platform's own place for caches; it need not exist."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    if given and Path(given).is_absolute():  # others are to be ignored, the XDG rules say
        return Path(given) / "dealias"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "dealias"
    if sys.platform == "win32" and os.environ.get("LOCALAPPDATA"):
        return Path(os.environ["LOCALAPPDATA"]) / "dealias" / "cache"
    return Path.home() / ".cache" / "dealias"
