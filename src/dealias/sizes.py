"""Sizes in bytes, as people write them."""

from __future__ import annotations

import re

from dealias.errors import SettingsError

_UNITS = {"": 1, "B": 1} | {
    f"{letter}{kind}": (1000 if kind == "B" else 1024) ** power
    for power, letter in enumerate("KMGTP", start=1)
    for kind in ("B", "iB", "")
}


def parse_bytes(option: str, text: str) -> int:
    """A number of bytes, such as 200GB (decimal), 8GiB or 8G (binary), or 4096.

    Args:
        option: For the message.
        text: What was written; case and a space before the unit do not matter.

    Raises:
        SettingsError: It is no size, or nothing.
    """
    known = {unit.lower(): size for unit, size in _UNITS.items()}
    found = re.fullmatch(r"(\d{1,18}(?:\.\d{1,9})?)\s*([a-z]*)", text.strip().lower())
    if found is None or found.group(2) not in known:
        raise SettingsError(option, f"'{text}'", "a size such as 200GB or 8GiB")
    size = int(float(found.group(1)) * known[found.group(2)])
    if size < 1:
        raise SettingsError(option, f"'{text}'", "more than nothing")
    return size


def said_bytes(count: float) -> str:
    """Bytes in decimal units, as disks are sold: 18.6 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}" if unit != "B" else f"{count:.0f} B"
        count /= 1000
    return f"{count:.4g} TB"


def said_memory(count: float) -> str:
    """Bytes in binary units, as memory is sold: 812 MiB, 4.97 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} TiB"
