"""Which file a run folder, a bundle folder or a path stands for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dealias
from dealias.atomic import write_json
from dealias.classical.table import METHODS
from dealias.errors import CheckpointError, SettingsError
from dealias.inference.verify import SCHEMA, check_schema
from dealias.io.weights import strict_json

MANIFEST = "bundle.json"
WEIGHTS = "main.safetensors"


def model_file(path: Path) -> Path:
    """The safetensors file that a run folder, a bundle folder or a file stands for.

    Raises:
        CheckpointError: The folder holds no model, or its bundle.json is damaged.
        SettingsError: There is nothing of that name.
    """
    if path.is_file():
        return path
    if not path.exists():
        known = f"a run, a bundle, a .safetensors file or one of {', '.join(METHODS.names)}"
        raise SettingsError(f"model '{path}'", "no such file or folder", known)
    for folder in (path, path / "model"):
        if (folder / MANIFEST).is_file():
            return _main_file(folder)
    do = f"if training was stopped: dealias train --resume {path}"
    raise CheckpointError(path, "no model in this folder", f"{MANIFEST} or model/{MANIFEST}", do)


def write_manifest(folder: Path) -> None:
    """Make a folder with weights a bundle: bundle.json, which is written last.

    Raises:
        DiskError: It cannot be written.
    """
    manifest = {
        "dealias_version": dealias.__version__,
        "schema": SCHEMA,
        "networks": {"main": WEIGHTS},
    }
    write_json(folder / MANIFEST, manifest)


def _main_file(folder: Path) -> Path:
    path = folder / MANIFEST
    if path.stat().st_size > 1 << 20:
        raise CheckpointError(path, f"{path.stat().st_size} bytes", "at most 1 MiB")
    manifest = strict_json(path, path.read_bytes(), "the manifest")
    check_schema(path, manifest)
    networks: Any = manifest.get("networks")
    if not isinstance(networks, dict) or list(networks) != ["main"]:
        raise CheckpointError(path, "networks of another kind", "one network called 'main'")
    name = networks["main"]
    # a file of this very folder: a path could lead anywhere
    plain = isinstance(name, str) and Path(name).name == name and name.endswith(".safetensors")
    if not plain or "\\" in name or (folder / name).is_symlink():
        raise CheckpointError(path, f"weights '{name}'", "a .safetensors file beside it")
    return folder / name
