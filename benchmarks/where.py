"""Where a benchmark runs: threads, device, and how much of a card it may have."""

from __future__ import annotations

import argparse

import torch

from dealias.engine.device import choose_device
from dealias.errors import SettingsError, UserError
from dealias.runs.footprint import CONTEXT
from dealias.sizes import parse_bytes, said_memory


def device_options(parser: argparse.ArgumentParser) -> None:
    """Add --threads, --device and --cap."""
    parser.add_argument("--threads", type=int, default=0, help="0: torch's own choice")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--cap", default="", help="work as on a card of this memory, e.g. 8GiB")


def started(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, torch.device]:
    """Read the command line, and make torch ready for it; float32 is float32, also on a GPU."""
    arguments = parser.parse_args()
    try:
        device = choose_device(arguments.device)
        if arguments.cap:
            hold(device, parse_bytes("--cap", arguments.cap))
    except UserError as error:
        parser.error(str(error))
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    return arguments, device


def hold(device: torch.device, cap: int) -> None:
    """Let tensors have no more of a card than they would on one of `cap` bytes.

    Raises:
        SettingsError: The device is no GPU, or the cap leaves nothing for tensors.
    """
    if device.type != "cuda":
        raise SettingsError("--cap", f"--device {device.type}", "a GPU", "add --device cuda")
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(share(total, cap), device)


def share(total: int, cap: int) -> float:
    """The part of a card's memory that tensors may have, so that it holds as much as another.

    Args:
        total: Bytes of the card that is here.
        cap: Bytes of the card that it stands for, what CUDA itself takes included.

    Raises:
        SettingsError: Nothing is left for tensors.
    """
    if cap <= CONTEXT:
        expected = f"more than the {said_memory(CONTEXT)} that CUDA itself takes"
        raise SettingsError("--cap", said_memory(cap), expected)
    return min(1.0, (cap - CONTEXT) / total)
