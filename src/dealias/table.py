"""A table: an explicit tuple of named entries, looked up by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from dealias.errors import SettingsError


class Named(Protocol):
    """Anything with a name."""

    @property
    def name(self) -> str:
        """The name it is looked up by."""
        ...


Entry = TypeVar("Entry", bound=Named)


def nearest(word: str, known: list[str]) -> str:
    """The known word nearest to a mistyped one, as advice; empty if none is near."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else ""


class Table(Generic[Entry]):
    """Named entries in a fixed order.

    Args:
        what: What an entry is, for messages ("network", "protocol").
        entries: The entries; a new one is one more line here.
    """

    def __init__(self, what: str, entries: tuple[Entry, ...]) -> None:
        self.what = what
        self._entries = {entry.name: entry for entry in entries}
        if len(self._entries) != len(entries):
            raise ValueError(f"two entries of the {what} table share a name")

    def __getitem__(self, name: str) -> Entry:
        """The entry of that name.

        Raises:
            SettingsError: No such entry; the message names the nearest and lists all.
        """
        if name not in self._entries:
            known = list(self._entries)
            advice = nearest(name, known)
            raise SettingsError(f"{self.what} '{name}'", "no such name", ", ".join(known), advice)
        return self._entries[name]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    @property
    def names(self) -> list[str]:
        """All names, in the order of the table."""
        return list(self._entries)
