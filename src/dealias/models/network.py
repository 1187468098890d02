"""What every network is: Measurement in, Estimate out, built of units that may be run again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from torch import nn

from dealias.scan.measurement import Estimate, Measurement, Needs
from dealias.scan.virtual_coils import CompressionSettings

Runner = Callable[..., Any]
Maps = Literal["learned", "espirit", "both"]


def plain(function: Callable[..., Any], *tensors: Any) -> Any:
    """The runner that just runs."""
    return function(*tensors)


class Unit(nn.Module):
    """A pure function of its tensors and parameters, so that it may be run again.

    A memory policy sets `runner` from outside: plain, recompute, in chunks. History travels as a
    new tuple each time and is never changed in place.
    """

    runner: Runner = staticmethod(plain)

    def __call__(self, *tensors: Any) -> Any:
        """Run the module through its runner."""
        return self.runner(super().__call__, *tensors)


class Cascade(Unit):
    """One unrolled iteration."""


class Block(Unit):
    """A part of a denoiser."""


class PerCoil(Unit):
    """Acts on each item of axis 0 alone, so it may be run in chunks of coils."""


class NetworkSettings(BaseModel):
    """Settings every network has.

    Attributes:
        readout_crop: Margin in rows beyond the target's field of view along the readout; None keeps
            all rows, as every imported model must.
        compression: Fewer, virtual coils in place of those that were measured; None keeps all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    readout_crop: int | None = None
    compression: CompressionSettings | None = None

    def needs(self, slices: int = 1) -> Needs:
        """What a network of these settings asks of the data.

        Args:
            slices: Adjacent ones that it sees together.
        """
        return Needs(slices, readout_crop=self.readout_crop, compression=self.compression)


class Trainable(nn.Module):
    """What is trained on measurements, whatever it makes of them.

    Attributes:
        needs: What it asks of the data.
    """

    needs: Needs = Needs()


class Network(Trainable):
    """A reconstruction network.

    Attributes:
        routes: Of which a measurement must name one.
    """

    routes: Sequence[str] = ()

    def forward(self, measurement: Measurement) -> Estimate:
        """Reconstruct one batch.

        Args:
            measurement: B items of one shape.

        Returns:
            The estimate, on the measurement's grid and scale.
        """
        raise NotImplementedError


class MappedSettings(NetworkSettings):
    """Settings of networks that use sensitivity maps.

    Attributes:
        maps: "learned" by a network from the ACS lines; "espirit", made before the network runs; or
            "both": the network sees ESPIRiT's maps in place of the ACS lines' images.
    """

    maps: Maps = "learned"

    @property
    def given_maps(self) -> Literal["none", "espirit"]:
        """What the data must bring."""
        return "none" if self.maps == "learned" else "espirit"

    def needs(self, slices: int = 1) -> Needs:
        """What a network of these settings asks of the data, maps included."""
        return replace(super().needs(slices), maps=self.given_maps)


@dataclass(frozen=True)
class NetworkEntry:
    """A row of the network table.

    Attributes:
        name: How recipes and model files name it.
        settings: Its settings class; the defaults are the published configuration.
        build: Makes the network from settings.
        parameters: Number of parameters at the published configuration.
        paper: Where it was published.
        tiny: A small configuration for tests.
    """

    name: str
    settings: type[NetworkSettings]
    build: Callable[[Any], Network]
    parameters: int
    paper: str
    tiny: NetworkSettings
