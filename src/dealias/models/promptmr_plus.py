"""PromptMR+ (Xin et al. 2024, "Rethinking Deep Unrolled Model for Accelerated MRI Reconstruction").

The denoiser D of each cascade sees adjacent slices as channels, buffers beside the image, and
features of earlier cascades. It was published in two forms. In the image's,
x <- x - step (A^H A x - x0) - D(x, ...). In that of k-space, data consistency is E2E-VarNet's, and
D refines the combined image of k.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from dealias.models.layers.prompt_unet import History, Sizes
from dealias.models.network import Cascade, Network
from dealias.models.promptmr import PromptSettings, prompt_denoiser
from dealias.models.sensitivity import sensitivity
from dealias.models.unrolled import START, State, estimate, image, refine, soft_consistency
from dealias.physics.coils import rss
from dealias.physics.sense import Sense
from dealias.scan.measurement import Estimate, Measurement

BUFFERS = 4
"""Images that denoisers with adaptive input take and give beside the image and its change."""


class PromptMRPlusSettings(PromptSettings):
    """Settings of PromptMR+; the defaults are the published configuration.

    Attributes:
        name: "promptmr+".
        sens_adjacent: Whether the sensitivity network sees adjacent slices together.
        adaptive_input: Whether denoisers see A^H A x, a latent image, x0 and A^H A x - x0 as well.
        history: Earlier cascades whose features each decoder level sees.
        state: What cascades hand on: "image"; or "kspace", where measured samples are put back.
    """

    name: Literal["promptmr+"] = "promptmr+"
    sens_adjacent: bool = True
    adaptive_input: bool = True
    history: Annotated[int, Field(ge=0, le=100)] = 11
    state: Literal["image", "kspace"] = "image"

    def sizes(self) -> Sizes:
        """Of the cascades' denoisers."""
        return self._sizes(self.features, self.prompt_channels, self.history)


class PromptCascade(Cascade):
    """What both forms have: a step, and a denoiser that knows what came before."""

    def __init__(self, settings: PromptMRPlusSettings, activation: nn.PReLU) -> None:
        super().__init__()
        self.slices, self.adaptive = settings.slices, settings.adaptive_input
        self.remembers = settings.history > 0
        channels = 2 * settings.slices * (1 + BUFFERS if settings.adaptive_input else 1)
        self.denoiser = prompt_denoiser(channels, settings.sizes(), activation)
        self.step = nn.Parameter(torch.ones(1))

    def denoised(
        self, x_BSHW: Tensor, latent_BSHW: Tensor, buffers: tuple[Tensor, ...], history: History
    ) -> tuple[Tensor, Tensor, History]:
        """The image's change, the next latent image, and the next history.

        Args:
            x_BSHW: The image.
            latent_BSHW: The latent image.
            buffers: All four, the latent image among them, where the input is adaptive.
            history: Of the cascade before.
        """
        inputs = torch.cat([x_BSHW, *buffers], dim=1) if self.adaptive else x_BSHW
        change = self.denoiser(inputs, history)
        if self.remembers:
            change, history = change
        if self.adaptive:
            change, _, latent_BSHW, _, _ = torch.split(change, self.slices, dim=1)
        return change, latent_BSHW, history


class ImageCascade(PromptCascade):
    """One step on an image: the gradient of the data's misfit, and a refinement."""

    def forward(
        self, A: Sense, x0_BSHW: Tensor, x_BSHW: Tensor, latent_BSHW: Tensor, history: History
    ) -> tuple[Tensor, Tensor, History]:
        """Image, latent image and history before to those after."""
        normal_BSHW = A.normal(x_BSHW)
        gradient_BSHW = normal_BSHW - x0_BSHW
        buffers = (normal_BSHW, latent_BSHW, x0_BSHW, gradient_BSHW)
        change, latent_BSHW, history = self.denoised(x_BSHW, latent_BSHW, buffers, history)
        return x_BSHW - self.step * gradient_BSHW - change, latent_BSHW, history


class KspaceCascade(PromptCascade):
    """One step on k-space: soft data consistency, and a refinement."""

    def forward(
        self, A: Sense, x0_BSHW: Tensor, state: State, latent_BSHW: Tensor, history: History
    ) -> tuple[State, Tensor, History]:
        """State, latent image and history before to those after."""
        buffers = _buffers(A, x0_BSHW, state, latent_BSHW) if self.adaptive else ()
        x_BSHW = image(state, A, x0_BSHW)
        change, latent_BSHW, history = self.denoised(x_BSHW, latent_BSHW, buffers, history)
        return refine(soft_consistency(state, self.step), change), latent_BSHW, history


def _buffers(A: Sense, x0_BSHW: Tensor, state: State, latent_BSHW: Tensor) -> tuple[Tensor, ...]:
    """Where the image's form has A^H A x, here is S^H F^H M k = alpha x0 + normal(u - v).

    The two are one where k = F S x.
    """
    if state.alpha is None or state.u_BSHW is None:
        # published so: in the first cascade even what is otherwise a difference, here 0, is x0
        return (x0_BSHW,) * BUFFERS
    moved = state.u_BSHW if state.v_BSHW is None else state.u_BSHW - state.v_BSHW
    measured_BSHW = state.alpha * x0_BSHW + A.normal(moved)
    return (measured_BSHW, latent_BSHW, x0_BSHW, measured_BSHW - x0_BSHW)


class PromptMRPlus(Network):
    """PromptMR+: maps from adjacent slices, cascades with memory, root-sum-of-squares."""

    def __init__(self, settings: PromptMRPlusSettings) -> None:
        super().__init__()
        self.needs = settings.needs(settings.slices)
        self.kspace = settings.state == "kspace"
        self.activation = nn.PReLU()
        channels = 2 * (settings.slices if settings.sens_adjacent else 1)
        self.sensitivity = sensitivity(
            settings.maps,
            lambda: prompt_denoiser(channels, settings.sens_sizes(), self.activation),
            settings.sens_adjacent,
        )
        kind = KspaceCascade if self.kspace else ImageCascade
        self.cascades = nn.ModuleList(
            kind(settings, self.activation) for _ in range(settings.cascades)
        )

    def forward(self, measurement: Measurement) -> Estimate:
        """Reconstruct the centre slices of one batch."""
        sens_BSCHW = self.sensitivity(measurement)
        A = measurement.operator(sens_BSCHW)
        x0_BSHW = A.adjoint(measurement.kspace_BSCHW)
        state: Any = START if self.kspace else x0_BSHW
        latent_BSHW, history = x0_BSHW, ()
        for cascade in self.cascades:
            state, latent_BSHW, history = cascade(A, x0_BSHW, state, latent_BSHW, history)
        if self.kspace:
            return estimate(state, A, measurement, sens_BSCHW)
        return _of_image(state, sens_BSCHW)


def _of_image(x_BSHW: Tensor, sens_BSCHW: Tensor) -> Estimate:
    """Root-sum-of-squares of the centre slice's coil images S x."""
    centre = x_BSHW.shape[1] // 2
    coil_images_BCHW = sens_BSCHW[:, centre] * x_BSHW[:, centre, None]
    return Estimate(rss(coil_images_BCHW, 1), x_BSHW, sens_BSCHW)
