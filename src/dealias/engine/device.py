"""Where to compute: what the installed torch can really use, not what merely answers."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

from dealias.engine.cpu import prepare_cpu
from dealias.engine.precision import allow_tf32
from dealias.errors import SettingsError


def choose_device(name: str | None = None) -> torch.device:
    """The device asked for, or the first CUDA device that this torch has kernels for, or the CPU.

    From here on float32 is float32 on any device, until `training.tf32` says otherwise; and the
    process is ready to compute on a CPU (see `engine.cpu`).

    Args:
        name: "cpu", "cuda", "cuda:1", or None.

    Returns:
        The device.

    Raises:
        SettingsError: The device is unknown, absent, or has no kernels in this build.
    """
    allow_tf32(False)
    prepare_cpu()
    if name is None:
        return torch.device("cuda") if usable_cuda(0) else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise SettingsError("--device", f"'{name}'", "cpu, cuda or cuda:N") from None
    if device.type == "cuda" and not usable_cuda(device.index or 0):
        found = f"{torch.cuda.device_count()} CUDA devices that this torch has kernels for"
        do = "use --device cpu, or a torch built for the card (Pascal needs CUDA 12.6 wheels)"
        raise SettingsError("--device", found, name, do)
    if device.type not in ("cpu", "cuda"):
        raise SettingsError("--device", f"'{name}'", "cpu, cuda or cuda:N")
    return device


def usable_cuda(index: int) -> bool:
    """Whether a CUDA device is there and its capability is in this build's list."""
    if index >= torch.cuda.device_count():
        return False
    major, minor = torch.cuda.get_device_capability(index)
    built = [arch.removeprefix("sm_") for arch in torch.cuda.get_arch_list()]
    # a build runs on its own minor version and on later ones of the same major
    return any(
        arch[:-1] == str(major) and arch[-1:].isdigit() and int(arch[-1]) <= minor for arch in built
    )


def device_name(device: torch.device) -> str:
    """What a device calls itself, such as "AMD EPYC" or "NVIDIA GeForce GTX 1080"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
