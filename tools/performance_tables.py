"""Tables of the performance page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from performance_results import Result, fits, size

OFFICIAL = "official"
GIB = 2**30
POLICIES = ("all kept", "recompute", "leanest")
"""Rows of ours in a comparison with published code."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown; all but the first column are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def times(result: Result, mode: str) -> str:
    """Seconds by row, and how they compare."""
    found = result.values[mode]
    rows = []
    for name, one in found.items():
        if not fits(one):
            rows.append([name, f"does not fit in {result.memory}", "", "", ""])
            continue
        wall, cpu = (ratio(one, found[OFFICIAL], kind) for kind in ("wall", "cpu"))
        rows.append([name, spread(one["wall"]), wall, number(one["cpu"][1]), cpu])
    return table([mode, "seconds (quartiles)", "ratio", "CPU seconds", "ratio"], rows)


def peaks(result: Result, wanted: Sequence[str] = ("inference", "training")) -> str:
    """Peaks by row, for each of the modes that were measured."""
    modes = [mode for mode in wanted if mode in result.values]
    rows = []
    for name in result.values[modes[0]]:
        cells = [name]
        for mode in modes:
            one, first = result.values[mode][name], result.values[mode][OFFICIAL]
            cells += peak(one, first, result.memory)
        rows.append(cells)
    head = [text for mode in modes for text in (f"{mode}, GiB", "ratio")]
    return table(["row", *head], rows)


def peak(one: dict[str, Any], first: dict[str, Any], memory: str) -> list[str]:
    """Of one row: GiB, those reserved in brackets, and the ratio."""
    if not fits(one):
        return [f"does not fit in {memory}", ""]
    reserved = f" ({number(one['reserved'] / GIB)} reserved)" if "reserved" in one else ""
    share = f"{one['peak'] / first['peak']:.2f}" if fits(first) else ""
    return [f"{number(one['peak'] / GIB)}{reserved}", share]


def networks(results: Sequence[Result]) -> str:
    """A row for each network: our CPU seconds and peaks over the published code's."""
    rows = []
    for result in results:
        said, cells = result.values["arguments"], []
        for mode, names in (("inference", POLICIES[:1]), ("training", POLICIES)):
            spent, held = (result.values.get(key, {}) for key in (mode, f"{mode} memory"))
            for name in names:
                cells.append(ratio(spent[name], spent[OFFICIAL], "cpu") if name in spent else "")
                cells.append(peak(held[name], held[OFFICIAL], "")[1] if name in held else "")
        rows.append([said["case"], size(said["size"]), *cells])
    head = [f"{what}, {kind}" for what in ("inference", "training", "recomputed", "leanest")
            for kind in ("time", "memory")]  # fmt: skip
    return table(["network", "size", *head], rows)


def full_size(result: Result) -> str:
    """One step, planned and counted."""
    found = result.values
    seconds = number(found["planned_seconds"]) if found["planned_seconds"] else ""
    row = [number(found["planned"] / GIB), number(found["peak"] / GIB), f"{found['off']:+.1%}",
           seconds, number(found["seconds"])]  # fmt: skip
    head = ["planned GiB", "counted", "off", "planned s", "took"]
    return table(["", *head], [["a step", *row]])


def growth(result: Result) -> str:
    """Every point once."""
    rows, seen = [], set()
    for points in result.values["sweeps"].values():
        for point in points:
            where = (point["coils"], point["size"], point["cascades"])
            if where in seen:
                continue
            seen.add(where)
            rows.append([f"{where[0]} x {size(where[1])}", str(where[2]),
                         *[cell(one) for one in point["rows"].values()]])  # fmt: skip
    names = list(next(iter(result.values["sweeps"].values()))[0]["rows"])
    return table(["k-space", "cascades", *[f"{name}: s, GiB" for name in names]], rows)


def cell(one: dict[str, Any]) -> str:
    """Seconds and GiB."""
    if not fits(one):
        return "does not fit"
    return f"{number(one['wall'][1])}, {number(one['peak'] / GIB)}"


def plans(result: Result, mode: str) -> str:
    """Planned beside measured."""
    rows = []
    for name, case in result.values["cases"].items():
        for policy, one in case[mode].items():
            plan, truth = one["planned"], one["measured"]
            off = f"{plan['peak'] / truth['peak'] - 1:+.1%}"
            rows.append([f"{name}: `{policy}`", number(plan["peak"] / GIB),
                         number(truth["peak"] / GIB), off, *_seconds(result, one)])  # fmt: skip
    head = ["planned GiB", "measured", "off", "planned s", "measured (quartiles)", "off",
            "of sgemm"]  # fmt: skip
    return table([mode, *head], rows)


def meant(result: Result, spent: dict[str, Any]) -> list[float]:
    """Seconds as the plan means them: on a CPU, time spent waiting for it does not count."""
    if result.on_gpu or spent["wall"][1] < spent["cpu"][1]:
        return list(spent["wall"])
    return list(spent["cpu"])


def _seconds(result: Result, one: dict[str, Any]) -> list[str]:
    planned, truth = one["planned"]["seconds"], one["measured"]
    if not fits(truth) or planned is None:
        return ["", "", "", ""]
    took = meant(result, truth)
    reached = f"{one['floor'] / took[1]:.0%}" if one["floor"] else ""
    return [number(planned), spread(took), f"{planned / took[1] - 1:+.0%}", reached]


def planning(result: Result) -> str:
    """How long planning itself took."""
    rows = [[f"{name}: {case['size']}", number(case["plan_cold"]), number(case["plan_warm"])]
            for name, case in result.values["cases"].items()]  # fmt: skip
    return table(["planning, seconds", "operations unknown", "known"], rows)


def loader(result: Result) -> str:
    """Slices a second."""
    rows = []
    for one in result.values["cases"]:
        low, middle, high = (1 / value for value in reversed(one["seconds"]))
        rows.append([f"{one['from']}, {one['state']}", str(one["workers"]), one["until"],
                     f"{middle:.1f} ({low:.1f} to {high:.1f})", f"{middle * one['megabytes']:,.0f}",
                     f"{1e3 / middle:.1f}"])  # fmt: skip
    head = ["from", "workers", "until", "slices/s (quartiles)", "MB/s of k-space", "ms a slice"]
    return table(head, rows)


def classical(result: Result) -> str:
    """Ours beside bart's."""
    rows = [[name, spread(one["dealias"]), spread(one["bart"]),
             f"{one['dealias'][1] / one['bart'][1]:.2f}"]
            for name, one in result.values["methods"].items()]  # fmt: skip
    head = ["method", "dealias, seconds (quartiles)", "bart, seconds (quartiles)", "ratio"]
    return table(head, rows)


def ratio(one: dict[str, Any], first: dict[str, Any], kind: str) -> str:
    """Of medians, or nothing where there is nothing to compare with."""
    return f"{one[kind][1] / first[kind][1]:.2f}" if fits(first) else ""


def spread(values: Sequence[float]) -> str:
    """Median and quartiles."""
    low, middle, high = map(number, values)
    return f"{middle} ({low} to {high})"


def number(value: float) -> str:
    """Three digits that mean something, and no exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}".rstrip(".")
