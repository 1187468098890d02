"""Write the table of compared cases into docs/parity.md: part of `make docs`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "parity" / "golden"
PAGE = ROOT / "docs" / "parity.md"
TABLE = re.compile(r"(<!-- cases[^>]*-->\n).*?(<!-- end -->)", re.DOTALL)
HEAD = (
    "| case | network | code, commit | parameters | k-space (B, S, C, H, W) |\n"
    "|---|---|---|--:|---|"
)


def row(name: str, case: Mapping[str, Any]) -> str:
    """A line of the table."""
    source, network = case["source"], case.get("settings", {}).get("name", "classifier")
    tensors = len(case.get("shapes", case.get("gradients", ())))
    shape = "x".join(map(str, case["shape"])) if "shape" in case else ""
    project = f"[{source['project']}](https://github.com/{source['project']})"
    return f"| {name} | {network} | {project}, {source['commit'][:8]} | {tensors} | {shape} |"


def page() -> str:
    """The page with the table that the golden files make."""
    files = sorted(GOLDEN.rglob("*.json"))
    rows = [row(path.stem, json.loads(path.read_text())) for path in files]
    table = "\n".join([HEAD, *rows])
    return TABLE.sub(lambda found: f"{found[1]}{table}\n{found[2]}", PAGE.read_text())


if __name__ == "__main__":
    PAGE.write_text(page())
