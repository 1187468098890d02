"""What this machine has, and what the installed torch can use of it."""

from __future__ import annotations

import os
import shutil
import sysconfig
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from platform import python_version
from typing import Any

import torch

from dealias.engine.device import device_name, usable_cuda
from dealias.kernels.build import simd, trouble

TRITON_NEEDS = (7, 0)
"""Capability below which Triton, which torch.compile needs on a GPU, makes no code."""
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Gpu:
    """A CUDA device.

    Attributes:
        index: N of cuda:N.
        name: Its own.
        capability: Such as "6.1".
        memory: Bytes in all.
        usable: Whether this torch has kernels for it; being "available" does not say so.
        do: What to do where it is not.
    """

    index: int
    name: str
    capability: str
    memory: int
    usable: bool
    do: str


@dataclass(frozen=True)
class Machine:
    """What there is.

    Attributes:
        torch: Its version.
        cuda: The CUDA version it was built for, or None.
        architectures: It has kernels for.
        cpu: Name of the CPU.
        threads: That torch uses.
        memory: Bytes of RAM, or of what a container may use of it.
        gpus: CUDA devices.
        compile: Why torch.compile cannot work, or "works".
        kernels: What computes convolutions on the CPU, and if it is torch, why.
        disk: Bytes free where the command runs.
    """

    torch: str
    cuda: str | None
    architectures: tuple[str, ...]
    cpu: str
    threads: int
    memory: int
    gpus: tuple[Gpu, ...]
    compile: str
    kernels: str
    disk: int

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def look_around() -> Machine:
    """Look at this machine; nothing is run on any device."""
    gpus = tuple(_gpu(index) for index in range(torch.cuda.device_count()))
    return Machine(
        torch.__version__,
        torch.version.cuda,
        tuple(torch.cuda.get_arch_list()),
        device_name(torch.device("cpu")),
        torch.get_num_threads(),
        memory_limit(),
        gpus,
        compiling(gpus),
        convolving(),
        shutil.disk_usage(Path.cwd()).free,
    )


def memory_limit(files: tuple[str, ...] = _LIMITS) -> int:
    """Bytes that this process may use: the RAM, or the limit of its control group if lower.

    Args:
        files: Where the kernel tells the limit.
    """
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in files:
        try:
            text = Path(file).read_text().strip()
        except OSError:
            continue
        if text.isdigit():  # "max" is none
            limits.append(int(text))
    return min(limits)


def convolving() -> str:
    """What computes convolutions on the CPU; our kernels are compiled if they were not."""
    why = trouble()
    return f"torch's: {why}" if why else f"dealias's, vectors of {8 * simd()} bits"


def advice(capability: tuple[int, int], architectures: list[str]) -> str:
    """What to do where torch has no kernels for a GPU of this capability."""
    built = ", ".join(architectures) or "no GPU at all"
    if capability < (7, 5):
        return f"this torch is built for {built}; Maxwell, Pascal and Volta need CUDA 12.6 wheels"
    return f"this torch is built for {built}; install a wheel of another CUDA version"


def compiling_on(device: torch.device) -> str:
    """Why torch.compile cannot work for a device, or "works"."""
    return compiling((_gpu(device.index or 0),) if device.type == "cuda" else ())


def compiling(gpus: tuple[Gpu, ...]) -> str:
    """Why torch.compile cannot work here, or "works"."""
    if not _supported():
        return f"no: torch {torch.__version__} compiles nothing on Python {python_version()}"
    usable = [gpu for gpu in gpus if gpu.usable]
    if usable:
        capability = tuple(int(part) for part in usable[0].capability.split("."))
        if find_spec("triton") is None:
            return "no: Triton is not installed"
        return "works" if capability >= TRITON_NEEDS else "no: Triton needs capability 7.0"
    compilers = [os.environ.get("CXX", ""), "g++", "clang++", "cl"]
    if not any(one and shutil.which(one) for one in compilers):
        return "no: no C++ compiler found (g++, clang++ or CXX)"
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return "works" if header.is_file() else "no: Python's headers are not installed (python3-dev)"


def _supported() -> bool:
    from torch._dynamo.eval_frame import is_dynamo_supported

    return is_dynamo_supported()


def _gpu(index: int) -> Gpu:
    capability = torch.cuda.get_device_capability(index)
    usable = usable_cuda(index)
    return Gpu(
        index,
        torch.cuda.get_device_name(index),
        f"{capability[0]}.{capability[1]}",
        torch.cuda.get_device_properties(index).total_memory,
        usable,
        "" if usable else advice(capability, torch.cuda.get_arch_list()),
    )
