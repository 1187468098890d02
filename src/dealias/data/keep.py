"""Which readout rows a cache keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dealias.errors import SettingsError
from dealias.physics.readout import row_window

MARGIN = 16
"""Serves every recipe that crops: theirs are 0 and 16."""


@dataclass(frozen=True)
class Keep:
    """Rows to keep: the target's and a margin on both sides, or a number of them.

    Attributes:
        margin: Rows beyond the target's field of view on each side; "all" keeps every row.
        rows: So many in the middle, in place of a margin.
    """

    margin: int | Literal["all"] = MARGIN
    rows: int | None = None

    def __str__(self) -> str:
        return f"margin {self.margin}" if self.rows is None else f"{self.rows} rows"

    def window(self, where: object, encoded: int, target: int) -> tuple[int, int]:
        """[start, stop) of the readout that is kept of one volume.

        Args:
            where: The scan, for the message.
            encoded: H of k-space.
            target: H of the target.

        Raises:
            SettingsError: Fewer rows than the target has.
        """
        least = min(encoded, target)
        if self.rows is None:
            keep = encoded if self.margin == "all" else target + 2 * self.margin
        else:
            keep = self.rows
            if keep < least:
                found, do = f"{keep} rows to keep of {where}", "raise --rows, or use --margin"
                raise SettingsError("--rows", found, f"at least the target's {least}", do)
        return row_window(encoded, min(encoded, keep))
