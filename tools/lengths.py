"""Print the length of files and function bodies, and fail on what is too long."""

from __future__ import annotations

import ast
import statistics
import sys
from pathlib import Path

LONGEST_FILE = 500
LONGEST_BODY = 50


def body_length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its signature and docstring."""
    body = function.body
    if ast.get_docstring(function) is not None:
        body = body[1:]
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


def percentile(values: list[int], share: float) -> int:
    """The value below which that share of the values lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def measure(root: Path) -> list[str]:
    """Print the figures of one folder; gives what is too long."""
    files, bodies, faults = [], [], []
    for path in sorted(root.rglob("*.py")):
        text = path.read_text()
        lines = text.count("\n")
        if path.name != "__init__.py":
            files.append(lines)
        if lines > LONGEST_FILE:
            faults.append(f"{path}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                bodies.append(body_length(node))
                if bodies[-1] > LONGEST_BODY:
                    faults.append(f"{path}:{node.lineno} {node.name}: {bodies[-1]} lines")
    for what, values in (("files", files), ("function bodies", bodies)):
        print(
            f"{root}: {len(values)} {what}, lines: median {statistics.median(values):.0f}, "
            f"p90 {percentile(values, 0.9)}, longest {max(values)}"
        )
    return faults


def main() -> int:
    """Measure the folders named on the command line."""
    faults = [fault for root in sys.argv[1:] for fault in measure(Path(root))]
    for fault in faults:
        print("too long:", fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
