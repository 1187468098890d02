"""The image after each cascade, seen from outside: nothing that a network computes changes."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dealias.models.fivarnet import FeatureCascade
from dealias.models.layers.norm import instance_norm
from dealias.models.mamba_varnet import MambaVarNetCascade
from dealias.models.network import Cascade
from dealias.models.sensitivity import GivenMaps, SensitivityNetwork
from dealias.models.unrolled import State, estimate
from dealias.physics.coils import divide
from dealias.physics.sense import Sense
from dealias.scan.measurement import Estimate, Measurement, Reconstructor

CLOSE = 1e-3
"""A network's image is that of its last cascade if it is no further from it, relative to it."""
NO_CASCADES = "the model has no cascades"
NO_IMAGES = "its cascades hand on features that are no image yet"
ANOTHER = "its image is not the one of its last cascade"


class Watched(NamedTuple):
    """An estimate, and how a model came to it.

    Attributes:
        estimate: The same bits as without being watched.
        sens_BSCHW: Sensitivity maps that the cascades saw, or those of the estimate, or None.
        images: After each cascade, what the model would give if it ended there: (B, H, W) real, on
            the measurement's grid and scale, on the CPU. The last is the estimate's image.
        why: Why there are no images, else "".
    """

    estimate: Estimate
    sens_BSCHW: Tensor | None
    images: tuple[Tensor, ...]
    why: str


def watch(model: Reconstructor, measurement: Measurement) -> Watched:
    """Run a model without gradients and look at what its cascades hand on.

    What is k-space becomes an image as at the network's own end: root-sum-of-squares, or the
    magnitude of the coil combination, whichever of the two makes its image of its last cascade.

    Args:
        model: A network in eval mode on the measurement's device, or another reconstruction.
        measurement: One batch.

    Returns:
        What was seen. An ensemble has cascades, but no cascade that its image is the end of.
    """
    watcher = _Watcher(measurement)
    hooks = watcher.attach(model) if isinstance(model, nn.Module) else []
    try:
        with torch.no_grad():
            found = model(measurement)
    finally:
        for hook in hooks:
            hook.remove()
    sens_BSCHW = watcher.sens_BSCHW if watcher.sens_BSCHW is not None else found.sens_BSCHW
    images, why = _ending_as(found.image_BHW.cpu(), watcher.pairs)
    if not watcher.pairs:
        why = NO_IMAGES if watcher.count else NO_CASCADES
    return Watched(found, sens_BSCHW, images, why)


class _Watcher:
    """Forward hooks that remember.

    Attributes:
        sens_BSCHW: The maps that were made last.
        pairs: Of each cascade, its image by root-sum-of-squares and by coil combination.
        count: Cascades that ran, with or without an image.
    """

    def __init__(self, measurement: Measurement) -> None:
        self._measurement = measurement
        self.sens_BSCHW: Tensor | None = None
        self.pairs: list[tuple[Tensor, Tensor]] = []
        self.count = 0

    def attach(self, model: nn.Module) -> list[Any]:
        """Hook every part that can tell something; gives the handles."""
        hooks: list[Any] = []
        for module in model.modules():
            if isinstance(module, GivenMaps | SensitivityNetwork):
                hooks.append(module.register_forward_hook(self._maps))
            elif isinstance(module, Cascade | MambaVarNetCascade):
                hooks.append(module.register_forward_hook(self._cascade))
        return hooks

    def _maps(self, module: nn.Module, inputs: tuple[Any, ...], sens_BSCHW: Tensor) -> None:
        self.sens_BSCHW = sens_BSCHW

    def _cascade(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        self.count += 1
        # beside its state a cascade may hand on what it remembers
        has_more = isinstance(output, tuple) and not isinstance(output, State)
        first = output[0] if has_more else output
        if isinstance(module, FeatureCascade):
            first = _decoded(inputs, first)
        A: Sense = inputs[0]
        if isinstance(first, State):
            self._add(self._of_state(first, A))
        elif first.is_complex():
            self._add((A.magnitude(first), first.abs()))

    def _of_state(self, state: State, A: Sense) -> tuple[Tensor, Tensor]:
        assert self.sens_BSCHW is not None  # A was made of them
        found = estimate(state, A, self._measurement, self.sens_BSCHW)
        assert found.combined_BSHW is not None
        return found.image_BHW[:, None], found.combined_BSHW.abs()

    def _add(self, pair_BSHW: tuple[Tensor, Tensor]) -> None:
        by_rss, combined = (one[:, one.shape[1] // 2].cpu() for one in pair_BSHW)
        self.pairs.append((by_rss, combined))


def _decoded(inputs: tuple[Any, ...], features: Tensor) -> State:
    """Features as an image by the cascade's own decoder, which then is all of k-space."""
    _, _, codec, moments, *_ = inputs
    x_B1HW = codec.decode(instance_norm(features), moments)
    return State(torch.zeros_like(moments.std[0, 0, 0]), x_B1HW, None)


def _ending_as(
    image_BHW: Tensor, pairs: list[tuple[Tensor, Tensor]]
) -> tuple[tuple[Tensor, ...], str]:
    """The kind of images of which the last one is the model's own, or why there is none."""
    kinds = sorted(zip(*pairs, strict=True), key=lambda images: _off(images[-1], image_BHW))
    if not kinds or _off(kinds[0][-1], image_BHW) > CLOSE:
        return (), ANOTHER
    return kinds[0], ""


def _off(one: Tensor, other: Tensor) -> float:
    return float(divide(torch.linalg.norm(one - other), torch.linalg.norm(other)))
