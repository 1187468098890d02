"""The floors of the house: a module imports only from its own floor or lower ones."""

from __future__ import annotations

import ast
from pathlib import Path

import dealias

SOURCE = Path(dealias.__file__).parent
FLOORS = [
    "physics", "scan", "metrics", "io", "classical", "data", "kernels", "models", "engine",
    "inference", "evaluation", "training", "config", "runs", "report", "cli",
]  # fmt: skip
# the Python API for notebooks and `python -m dealias` stand on the roof beside cli
ROOF = {"api", "__main__"}


def floor_of(module: str) -> int:
    """Height of a module such as dealias.io.guard; root modules are at 0."""
    parts = module.split(".")
    if len(parts) < 2 or parts[1] not in FLOORS:
        return len(FLOORS) + 1 if len(parts) > 1 and parts[1] in ROOF else 0
    return 1 + FLOORS.index(parts[1])


def imports(path: Path) -> set[str]:
    """All dealias modules a file imports, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.startswith("dealias")}


def violations(source: Path) -> list[str]:
    faults = []
    for path in sorted(source.rglob("*.py")):
        module = ".".join(("dealias", *path.relative_to(source).with_suffix("").parts))
        for name in sorted(imports(path)):
            if floor_of(name) > floor_of(module):
                faults.append(f"{module} imports {name}, which stands above it")
    return faults


def test_imports_point_downward() -> None:
    assert violations(SOURCE) == []


def test_an_upward_import_is_found(tmp_path: Path) -> None:
    (tmp_path / "io").mkdir()
    (tmp_path / "io" / "bad.py").write_text("def f():\n    from dealias.training import loop\n")
    assert len(violations(tmp_path)) == 1


def test_every_folder_is_a_floor() -> None:
    folders = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists()}
    assert folders <= set(FLOORS)


def test_only_compose_imports_hydra() -> None:
    users = [
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if "import hydra" in path.read_text() or "from hydra" in path.read_text()
    ]
    assert users in ([], ["config/compose.py"])
