"""Result files: what was measured, on which machine, with which versions, by which command."""

from __future__ import annotations

import argparse
import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dealias.atomic import write_json
from dealias.engine.device import device_name
from dealias.engine.machine import memory_limit
from dealias.kernels.build import said

CPU = torch.device("cpu")
RESULTS = Path(__file__).resolve().parent / "results"
PATHS = ("out", "data", "source")
"""Options whose values say where something lies on one machine."""


def result_options(parser: argparse.ArgumentParser, rounds: int) -> None:
    """Add --rounds and --out."""
    parser.add_argument("--rounds", type=int, default=rounds, help="measured, after one that warms")
    parser.add_argument("--out", type=Path, help="result file; else one in benchmarks/results")


def facts(device: torch.device = CPU) -> dict[str, Any]:
    """When and where: the machine, its versions, and the load that other work puts on it."""
    return {
        "date": datetime.date.today().isoformat(),
        "device": device.type,
        "cpu": device_name(CPU),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "ram": memory_limit(),
        "gpu": None if device.type == "cpu" else _gpu(device),
        **({"kernels": said()} if device.type == "cpu" else {}),
        "load": round(os.getloadavg()[0], 1),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "fastmri": importlib.metadata.version("fastmri"),
        "dealias": f"{importlib.metadata.version('dealias')}, commit {_commit()}",
    }


def save(
    kind: str,
    size: str,
    parser: argparse.ArgumentParser,
    arguments: argparse.Namespace,
    results: Mapping[str, Any],
) -> Path:
    """Write a result file.

    Args:
        kind: Of measurement.
        size: Of the data, for the file's name.
        parser: Knows the defaults, which the command need not say.
        arguments: As parsed; paths among them are not written.
        results: With `facts` among them.

    Returns:
        The file: `--out`, or one in benchmarks/results, named by date, kind and size.
    """
    said = {key: value for key, value in vars(arguments).items() if key not in PATHS}
    whole = {"kind": kind, "command": command(parser, arguments), "arguments": said, **results}
    path = arguments.out or RESULTS / name(kind, size, said, results["facts"])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, whole)
    print(f"written: {path}")
    return path


def name(kind: str, size: str, said: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """A file for each day, kind, size, device and choice of arguments."""
    text = json.dumps([said, found["gpu"], found["cpu"]], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:4]
    return f"{found['date']}-{kind}-{size}-{found['device']}-{digest}.json"


def command(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> str:
    """What to type for the same again; the place of data is called DATA."""
    parts = ["python", f"benchmarks/{Path(sys.argv[0]).name}"]
    for key, value in vars(arguments).items():
        if key == "out" or value == parser.get_default(key):
            continue
        said = key.upper() if key in PATHS else str(value)
        option = f"--{key.replace('_', '-')}"
        parts += [option] if value is True else [option, f'"{said}"' if " " in said else said]
    return " ".join(parts)


def _gpu(device: torch.device) -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(device)
    return {"name": properties.name, "memory": properties.total_memory}


def _commit() -> str:
    """Of the source that runs, with a plus where it was changed since."""
    root = Path(__file__).resolve().parents[1]
    said = []
    for words in (["rev-parse", "--short", "HEAD"], ["status", "--porcelain", "src"]):
        done = subprocess.run(["git", "-C", root, *words], capture_output=True, text=True)
        if done.returncode:
            return "unknown"
        said.append(done.stdout.strip())
    return said[0] + ("+" if said[1] else "")
