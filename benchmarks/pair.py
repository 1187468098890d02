"""E2E-VarNet twice: fastmri's with seeded weights, and ours with the same, on one slice."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from apart import Apart
from dealias.engine.allocator import taken
from dealias.engine.compiled import compile_denoisers
from dealias.engine.usage import peak_memory
from dealias.metrics.similarity import ssim
from dealias.models.layers.unet import UNet
from dealias.models.published.fastmri import VARNET
from dealias.models.varnet import VarNet, VarNetSettings
from dealias.physics.coils import rss
from dealias.physics.fourier import ifft
from dealias.physics.readout import centre_crop_or_pad
from dealias.physics.sampling.snu import snu_mask
from dealias.scan.measurement import measure
from rows import OFFICIAL, OFFICIAL_READY, ROWS, Row
from versus import TOO_LARGE, within

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastmri.models import VarNet as Official

Step = Callable[[], object]
Made = tuple[nn.Module, Callable[[], Tensor]]


class Pair:
    """One slice of noise at X4, the reference, and ours with its very weights.

    Args:
        shape_CHW: Of k-space.
        target_hw: Of the window that is scored; no more than there is.
        sizes: Cascades, and channels of the denoisers' first level.
        device: Where all of it lies.
    """

    def __init__(
        self, shape_CHW: tuple[int, int, int], target_hw: tuple[int, int], sizes: tuple[int, int],
        device: torch.device,
    ) -> None:  # fmt: skip
        self.device, self.sizes = device, sizes
        self.arguments = (shape_CHW, target_hw, sizes)
        _, height, width = shape_CHW
        self.target_hw = (min(target_hw[0], height), min(target_hw[1], width))
        self.mask = snu_mask(width, 4)
        torch.manual_seed(0)
        self.kspace_BSCHW = torch.randn(1, 1, *shape_CHW, dtype=torch.complex64).to(device)
        full_BHW = rss(ifft(self.kspace_BSCHW[:, 0]), 1)
        self.target_BHW = centre_crop_or_pad(full_BHW, self.target_hw)
        self.official = Official(sizes[0], 8, 4, sizes[1], 4).to(device)

    def loss(self, image_BHW: Tensor) -> Tensor:
        """1 - SSIM of the target's window."""
        return 1 - ssim(image_BHW, self.target_BHW, self.target_BHW.amax()).mean()

    def reference(self) -> Made:
        """The official network and its call."""
        lines = torch.as_tensor(self.mask.lines.copy(), device=self.device)
        masked = torch.view_as_real(torch.where(lines, self.kspace_BSCHW[:, 0], 0)).contiguous()
        shaped = lines.reshape(1, 1, 1, -1, 1)
        return self.official, lambda: centre_crop_or_pad(
            self.official(masked, shaped, self.mask.acs_count), self.target_hw
        )

    def ours(self, row: Row) -> Made:
        """Ours, with the official weights, and its call."""
        settings = VarNetSettings(
            cascades=self.sizes[0], channels=self.sizes[1], readout_crop=row.crop
        )
        with torch.device("meta"):
            network = VarNet(settings)
        weights = {VARNET.rename(name): one for name, one in self.official.state_dict().items()}
        # the weights themselves: copies for each row would fill a small card
        network.load_state_dict(weights, assign=True)
        row.policy.apply(network)
        for part in network.modules():
            if isinstance(part, UNet):
                part.memory_format = row.layout
        if row.compiled:
            compile_denoisers(network, self.device, print, print)

        def call() -> Tensor:
            m = measure(self.kspace_BSCHW, [self.mask], self.target_hw, network.needs)
            return m.window(network(m).image_BHW)

        return network, call

    def made(self, name: str, row: Row | None) -> Made:
        """The network of a row, or the official one."""
        return self.reference() if row is None else self.ours(row)

    def there(self) -> int:
        """Bytes of weights and k-space, which every row needs before it begins."""
        weights = sum(one.numel() * one.element_size() for one in self.official.parameters())
        return weights + self.kspace_BSCHW.numel() * self.kspace_BSCHW.element_size()

    def difference(self) -> float:
        """How far our image is from the official one: a wrong network is quickly fast."""
        with torch.no_grad():
            wanted, found = self.reference()[1](), self.ours(ROWS["all rows"])[1]()
        return float(torch.linalg.norm(found - wanted) / torch.linalg.norm(wanted))


def train(network: nn.Module, call: Callable[[], Tensor], pair: Pair) -> None:
    """Forward, loss and backward."""
    try:
        pair.loss(call()).backward()
    finally:  # gradients of a step that did not fit would burden the others
        network.zero_grad(set_to_none=True)


def infer(network: nn.Module, call: Callable[[], Tensor], pair: Pair) -> None:
    """Forward alone."""
    with torch.no_grad():
        call()


MODES = {"inference": infer, "training": train}


def steps(pair: Pair, rows: dict[str, Row], mode: str) -> dict[str, Step]:
    """Official and every row as calls without arguments.

    On a CPU official is in a process of its own; in inference also in another one that has the
    memory and the instructions that dealias chooses (two of them in training need 24 GB).
    """
    ours = {name: partial(MODES[mode], *pair.ours(row), pair) for name, row in rows.items()}
    if pair.device.type != "cpu":
        return {OFFICIAL: partial(MODES[mode], *pair.reference(), pair), **ours}
    official = {OFFICIAL: False, OFFICIAL_READY: True}
    if mode == "training":
        del official[OFFICIAL_READY]
    apart = {name: Apart(pair.arguments, mode, ready) for name, ready in official.items()}
    return {**apart, **ours}


def peaks(pair: Pair, rows: dict[str, Row], mode: str) -> dict[str, Any]:
    """Bytes at the allocator's peak, weights and k-space included, by row."""
    every: dict[str, Row | None] = {OFFICIAL: None, **rows}
    found = {}
    for name, row in every.items():
        step = partial(MODES[mode], *pair.made(name, row), pair)
        found[name] = within(lambda step=step: _peak(step, pair), pair.device) or TOO_LARGE
    return found


def _peak(step: Step, pair: Pair) -> dict[str, int]:
    """On a GPU also what the allocator reserved, which other programs cannot have."""
    step()
    if pair.device.type == "cuda":
        torch.cuda.empty_cache()
    (one,) = taken([lambda: step], pair.device)
    found = {"peak": one.peak + pair.there()}
    if pair.device.type == "cuda":
        found["reserved"] = peak_memory(pair.device)["reserved"]
    return found
