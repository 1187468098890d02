"""The rows of a comparison: ways to run E2E-VarNet, and what each of them is."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dealias.engine.policies import MemoryPolicy

NCHW, NHWC = torch.contiguous_format, torch.channels_last
OFFICIAL = "official"
ABOUT_OFFICIAL = (
    "fastmri 0.3.0: k-space of all coils in every cascade, real and imaginary parts stacked"
)
OFFICIAL_READY = "official, our settings"
ABOUT_OFFICIAL_READY = (
    "the same in a process that keeps freed memory and, on Zen 4, convolves with AVX2, as "
    "`dealias reconstruct` does"
)


@dataclass(frozen=True)
class Row:
    """One way to run ours.

    Attributes:
        about: What it does.
        crop: Margin of the readout crop, or None.
        policy: What is kept.
        layout: Of the denoisers' memory.
        compiled: Whether torch.compile makes code for the denoisers.
    """

    about: str
    crop: int | None
    policy: MemoryPolicy
    layout: torch.memory_format = NHWC
    compiled: bool = False


LEANEST = MemoryPolicy(cascades="recompute", blocks="recompute", coils=1)
ROWS = {
    "all rows": Row(
        "the same function: an image as state, Fourier transforms along phase encode alone, "
        "channels-last convolutions, normalisation and LeakyReLU that keep one tensor, a few "
        "coils at a time in the sensitivity network", None, MemoryPolicy(coils=2)),
    "all rows, all coils at once": Row(
        "as that, without chunks of coils, which are computed again in training", None,
        MemoryPolicy()),
    "crop": Row("and only the target's rows of the readout", 0, MemoryPolicy(coils=2)),
    "crop, channels first": Row(
        "as crop, but with the usual layout", 0, MemoryPolicy(coils=2), NCHW),
    "crop, all coils at once": Row("as crop, without chunks of coils", 0, MemoryPolicy()),
    "crop, keep convolutions": Row(
        "as that, but only what convolutions give is kept for the backward pass", 0,
        MemoryPolicy(cascades="keep_convolutions")),
    "crop, recompute": Row(
        "as crop, but of each cascade only its input is kept", 0,
        MemoryPolicy(cascades="recompute", coils=2)),
    "crop, leanest": Row(
        "and so is each block's, one coil at a time: the least memory", 0, LEANEST),
    "all rows, leanest": Row("the same without the crop", None, LEANEST),
}  # fmt: skip
PARKED = {
    "crop, recompute, parked": Row(
        "as crop, recompute, with the cascades' inputs in the CPU's memory until the backward pass",
        0, MemoryPolicy(cascades="recompute", coils=2, offload=("boundaries",))),
}  # fmt: skip
"""Only a GPU has memory of its own: on a CPU parking does nothing."""


COMPILED = {
    "crop, compiled": Row(
        "as crop, with code that torch.compile makes for the denoisers in training", 0,
        MemoryPolicy(coils=2), compiled=True),
}  # fmt: skip
"""Minutes of compiling on a CPU, so there it is measured on demand."""


def rows_of(device: torch.device) -> dict[str, Row]:
    """Those that are measured on a device unless others are asked for."""
    return ROWS | PARKED | COMPILED if device.type == "cuda" else ROWS
