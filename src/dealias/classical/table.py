"""The classical methods, looked up by name where a model is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from itertools import product
from typing import Any

from pydantic import ValidationError

from dealias.classical.grappa import Grappa
from dealias.classical.iterative import CgSense, ZeroFilled
from dealias.classical.sparse import L1Wavelet, TotalVariation
from dealias.errors import SettingsError
from dealias.scan.measurement import Reconstructor
from dealias.table import Table, nearest


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes:
        name: How the command line names it.
        build: Its dataclass: takes settings by keyword and refuses those it does not have.
        grid: Values of settings that are worth trying when they are tuned.
        paper: Where it was published.
    """

    name: str
    build: type[Any]
    grid: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    paper: str = ""

    @property
    def settings(self) -> tuple[str, ...]:
        """Names of its settings."""
        return tuple(one.name for one in fields(self.build))

    def candidates(self) -> list[dict[str, float]]:
        """Every combination of the grid's values."""
        return [
            dict(zip(self.grid, values, strict=True)) for values in product(*self.grid.values())
        ]


_CROPS = (0.8, 0.01)
"""Maps where there is signal alone, and maps almost everywhere."""
_WEIGHTS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02)


METHODS: Table[Method] = Table(
    "classical method",
    (
        Method("zero-filled", ZeroFilled),
        Method(
            "cg-sense",
            CgSense,
            {"regularisation": (0.003, 0.01, 0.03, 0.1), "iterations": (8, 20), "crop": _CROPS},
            "Pruessmann et al., Magn Reson Med 46:638 (2001)",
        ),
        Method(
            "l1-wavelet",
            L1Wavelet,
            {"regularisation": _WEIGHTS, "crop": _CROPS, "levels": (2, 5)},
            "Lustig et al., Magn Reson Med 58:1182 (2007)",
        ),
        Method(
            "total-variation",
            TotalVariation,
            {"regularisation": _WEIGHTS, "crop": _CROPS},
            "Block et al., Magn Reson Med 57:1086 (2007)",
        ),
        Method(
            "grappa",
            Grappa,
            {"regularisation": (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0), "taps": (5, 9)},
            "Griswold et al., Magn Reson Med 47:1202 (2002)",
        ),
    ),
)


def is_method(spec: str) -> bool:
    """Whether a text such as "cg-sense:iterations=30" names a classical method."""
    return spec.partition(":")[0] in METHODS


def build_method(spec: str) -> Reconstructor:
    """Make a classical method from its name and, after a colon, settings.

    Args:
        spec: "zero-filled", or "cg-sense:regularisation=0.01,iterations=20".

    Returns:
        The method, ready to reconstruct.

    Raises:
        SettingsError: An unknown name, key or value.
    """
    name, _, text = spec.partition(":")
    method = METHODS[name]
    settings = dict(_pair(part, method) for part in text.split(",") if part)
    try:
        return method.build(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise SettingsError(f"{name}: {key}", repr(first["input"]), first["msg"]) from error


def _pair(part: str, method: Method) -> tuple[str, str]:
    key, equals, value = (piece.strip() for piece in part.partition("="))
    if not equals:
        raise SettingsError(f"{method.name}: '{part}'", "no '='", "key=value")
    if key not in method.settings:
        known = ", ".join(method.settings) or "no settings at all"
        advice = nearest(key, list(method.settings))
        raise SettingsError(f"{method.name}: '{key}'", "no such setting", known, advice)
    return key, value
