"""A VarNet cascade around MambaRecon (team GeekSeek, SNU fastMRI challenge 2025)."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from dealias.models.layers.mamba_stage import MambaSizes
from dealias.models.mambarecon import MambaSettings, Stages, UnrolledMamba
from dealias.models.network import Network
from dealias.models.sensitivity import sensitivity
from dealias.models.unrolled import START, State, estimate, image, refine, soft_consistency
from dealias.physics.sense import Sense
from dealias.scan.measurement import Estimate, Measurement


class MambaVarNetSettings(MambaSettings):
    """Settings of the VarNet cascade around MambaRecon; the defaults are the published ones.

    Attributes:
        name: "mamba-varnet".
        cascades: Of VarNet, each around a whole MambaRecon.
        stages: MambaRecon's iterations; after the last comes one more data consistency.
        dropout: As of `MambaSettings`.
    """

    name: Literal["mamba-varnet"] = "mamba-varnet"
    cascades: Stages = 1
    stages: Stages = 6
    dropout: float = Field(default=0.1, ge=0, lt=1)

    def sizes(self) -> MambaSizes:
        """Of each cascade's MambaRecon."""
        return self._sizes(self.stages)


class MambaVarNetCascade(nn.Module):
    """One step of VarNet, whose refinement is what MambaRecon changes.

    Published, MambaRecon's image itself is subtracted: it has the samples that were measured, and
    takes them away. The stages inside are the cascades that memory policies see.

    Args:
        sizes: Of MambaRecon.
    """

    def __init__(self, sizes: MambaSizes) -> None:
        super().__init__()
        self.unrolled = UnrolledMamba(sizes)
        self.step = nn.Parameter(torch.ones(1))

    def forward(self, A: Sense, x0_BSHW: Tensor, state: State) -> State:
        """State before to state after."""
        x_BSHW = image(state, A, x0_BSHW)
        change_BSHW = x_BSHW - self.unrolled(A, x0_BSHW, x_BSHW)
        return refine(soft_consistency(state, self.step), change_BSHW)


class MambaVarNet(Network):
    """Learned maps, VarNet cascades around MambaRecon, root-sum-of-squares."""

    def __init__(self, settings: MambaVarNetSettings) -> None:
        super().__init__()
        self.needs = settings.needs()
        self.sensitivity = sensitivity(settings.maps, settings.sens_denoiser)
        self.cascades = nn.ModuleList(
            MambaVarNetCascade(settings.sizes()) for _ in range(settings.cascades)
        )

    def forward(self, measurement: Measurement) -> Estimate:
        """Reconstruct one batch."""
        sens_BSCHW = self.sensitivity(measurement)
        A = measurement.operator(sens_BSCHW)
        x0_BSHW = A.adjoint(measurement.kspace_BSCHW)
        state = START
        for cascade in self.cascades:
            state = cascade(A, x0_BSHW, state)
        return estimate(state, A, measurement, sens_BSCHW)
