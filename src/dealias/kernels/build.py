"""Our kernels in C: compiled for this processor once, kept in the user's cache folder, loaded.

Without a C compiler, on other processors, and in a process that did not ask for them, torch
computes everything: the same up to rounding, only slower.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from dealias.atomic import replacing
from dealias.cachefolder import cache_folder
from dealias.errors import DiskError

CHOICE = "DEALIAS_KERNELS"
"""Environment variable; 0 leaves everything to torch."""
FLAGS = ("-O3", "-march=native", "-ffp-contract=fast", "-std=gnu11", "-shared", "-fPIC")
SOURCES = Path(__file__).parent
ZEN_3_AND_4 = 25
"""AMD's family of both; of the two Zen 4 alone has AVX-512, which it computes in two halves."""
_REAL = {torch.float32: "float", torch.float64: "double"}
_asked: set[str] = set()


def use_kernels() -> None:
    """Compute with our kernels from here on, where tensors are on a CPU and there are any."""
    if os.environ.get(CHOICE) != "0":
        _asked.add("cpu")


@contextmanager
def counted_for(device: str) -> Iterator[None]:
    """Inside, what runs on `meta` is what would run on "cpu" or "cuda"."""
    before = set(_asked)
    if device == "cpu" and "cpu" in _asked:
        _asked.add("meta")
    try:
        yield
    finally:
        _asked.clear()
        _asked.update(before)


def said() -> str:
    """What computes on the CPU of this process: our kernels or torch alone."""
    ours = "cpu" in _asked and library(torch.float32) is not None
    return f"dealias's, {8 * simd()}-bit" if ours else "torch's"


def in_use(x: Tensor) -> bool:
    """Whether there are kernels for a tensor's device and dtype, and the process asked for them.

    torch.compile makes code of its own.
    """
    if torch.compiler.is_compiling():
        return False
    return x.device.type in _asked and x.dtype in _REAL and library(x.dtype) is not None


def library(dtype: torch.dtype) -> ctypes.CDLL | None:
    """The kernels of a dtype, compiled if they were not; None where `trouble` says why."""
    return _found(dtype)[0]


def trouble() -> str:
    """Why there are no kernels on this machine, or nothing."""
    return f"{CHOICE}=0" if os.environ.get(CHOICE) == "0" else _found(torch.float32)[1]


@cache
def simd() -> int:
    """Bytes of the vectors that this processor computes fastest with; 0 where they are short."""
    about = _about_cpu()
    flags = re.search(r"^flags\s*:(.*)$", about, re.MULTILINE)
    known = set(flags.group(1).split()) if flags else set()
    family = re.search(r"^cpu family\s*:\s*(\d+)$", about, re.MULTILINE)
    halves = "AuthenticAMD" in about and family and int(family.group(1)) == ZEN_3_AND_4
    if {"avx512f", "avx512dq", "avx512vl"} <= known and not halves:
        return 64
    return 32 if {"avx2", "fma"} <= known else 0


def version() -> str:
    """Which kernels compute on the CPU of this process: others take other times."""
    found = library(torch.float32) if "cpu" in _asked else None
    return "torch" if found is None else Path(found._name).stem


@cache
def _found(dtype: torch.dtype) -> tuple[ctypes.CDLL | None, str]:
    width, compiler = simd(), _compiler()
    if not width:
        return None, "they need Linux on a processor with AVX2"
    if not compiler:
        return None, "no C compiler found (cc, gcc or clang)"
    try:
        path = _compiled(compiler, _REAL[dtype], width)
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if "error" in line]
        why = lines[0] if lines else error.stderr.strip()[-200:]
        return None, f"{' '.join(compiler)} failed: {why}"
    except (OSError, DiskError) as error:
        return None, f"they cannot be compiled: {error}"
    try:
        return ctypes.CDLL(str(path)), ""
    except OSError as error:
        path.unlink(missing_ok=True)  # else nobody would compile it again
        return None, f"they cannot be loaded: {error}"


def _compiled(compiler: list[str], real: str, width: int) -> Path:
    texts = [(SOURCES / name).read_text() for name in sorted(_files())]
    about = _run([*compiler, "--version"])
    # a folder that several machines share keeps a file for each kind of processor
    said = "".join([*texts, *FLAGS, about, _flags_of_cpu()])
    digest = hashlib.sha256(said.encode()).hexdigest()[:16]
    path = cache_folder() / "kernels" / f"{real}-{width}-{digest}.so"
    if not path.is_file():
        with replacing(path) as partial:
            _compile(compiler, [f"-DREAL={real}", f"-DSIMD={width}"], partial)
    return path


def _compile(compiler: list[str], about: list[str], target: Path) -> None:
    sources = [str(SOURCES / name) for name in _files() if name.endswith(".c")]
    _run([*compiler, *FLAGS, *about, *sources, "-o", str(target), "-lm", "-fopenmp"])


def _run(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _files() -> list[str]:
    return [one.name for one in SOURCES.iterdir() if one.suffix in (".c", ".h")]


def _compiler() -> list[str]:
    """The words that call it, of which a user's CC may have several; none where there is none."""
    names = [os.environ.get("CC", ""), "cc", "gcc", "clang"]
    commands = [words for name in names if (words := name.split()) and shutil.which(words[0])]
    return commands[0] if commands else []


def _flags_of_cpu() -> str:
    lines = _about_cpu().splitlines()
    return next((line for line in lines if line.startswith("flags")), "")


def _about_cpu() -> str:
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
