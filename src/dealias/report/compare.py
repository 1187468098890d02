"""Methods side by side, never across protocols."""

from __future__ import annotations

from typing import Any

from dealias.report.read import Json


def compared(evaluations: dict[str, Json]) -> list[Json]:
    """Group scores by protocol and lay each group out as a table.

    Args:
        evaluations: Scores as JSON by method name.

    Returns:
        For each protocol: protocol, spec, cells (names), rows (name, values with text, interval and
        whether it is the best of its column). The last column is the protocol's total.
    """
    protocols = sorted({scores.get("protocol", "") for scores in evaluations.values()})
    return [_group(protocol, evaluations) for protocol in protocols]


def _group(protocol: str, evaluations: dict[str, Json]) -> Json:
    own = {name: s for name, s in evaluations.items() if s.get("protocol") == protocol}
    cells = sorted({_cell(cell) for scores in own.values() for cell in scores.get("cells", [])})
    rows: list[Json] = [{"name": name, "values": _values(s, cells)} for name, s in own.items()]
    for column in range(len(cells) + 1):
        values = [row["values"][column] for row in rows]
        known = [value["number"] for value in values if value["number"] is not None]
        for value in values:
            value["best"] = len(known) > 1 and value["number"] == max(known)
    rows.sort(key=lambda row: row["values"][-1]["number"] or 0.0)
    spec = next(iter(own.values())).get("spec", "")
    return {"protocol": protocol, "spec": spec, "cells": cells, "rows": rows}


def _cell(cell: Json) -> str:
    return f"{cell.get('anatomy')} ×{cell.get('acceleration')}"


def _values(scores: Json, cells: list[str]) -> list[Json]:
    by_name = {_cell(cell): cell for cell in scores.get("cells", [])}
    values = [_value(by_name.get(name, {}).get("mean"), by_name.get(name, {})) for name in cells]
    return [*values, _value(scores.get("total"), {})]


def _value(number: Any, cell: Json) -> Json:
    ends = cell.get("ci95")
    return {
        "number": number,
        "text": "–" if number is None else f"{number:.4f}",
        "interval": f"{ends[0]:.3f}–{ends[1]:.3f}" if ends else "",
        "best": False,
    }
