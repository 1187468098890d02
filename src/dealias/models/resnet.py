"""ResNet-50 (He et al. 2015, arXiv:1512.03385): which class an image is of.

Its parameters have torchvision's names, and its blocks stride where torchvision's do (version 1.5:
in the 3x3 convolution), so that weights go from one to the other as they are.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

EXPANSION = 4
"""Channels that a block gives for each inside it."""
Count = Annotated[int, Field(ge=1, le=100_000)]
Depth = Annotated[int, Field(ge=1, le=64)]


class ResNetSettings(BaseModel):
    """Settings of ResNet-50; the defaults are the published configuration.

    Attributes:
        name: "resnet50".
        in_channels: Of the images.
        classes: To tell apart.
        widths: Channels inside a block, of each layer: layers after the first halve the image.
        depths: Blocks, of each layer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["resnet50"] = "resnet50"
    in_channels: Count = 3
    classes: Count = 1000
    widths: tuple[Count, ...] = Field(default=(64, 128, 256, 512), min_length=1, max_length=8)
    depths: tuple[Depth, ...] = (3, 4, 6, 3)

    @model_validator(mode="after")
    def _goes_together(self) -> ResNetSettings:
        if len(self.widths) != len(self.depths):
            raise ValueError(f"as many depths as widths, {len(self.widths)}")
        return self

    @property
    def stride(self) -> int:
        """Of the last layer's pixels against the image's."""
        return 2 ** (1 + len(self.widths))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution beside a shortcut.

    Args:
        entered: Channels of its input.
        width: Channels inside.
        stride: Of the 3x3 convolution and the shortcut.
    """

    def __init__(self, entered: int, width: int, stride: int) -> None:
        super().__init__()
        given = EXPANSION * width
        self.conv1 = nn.Conv2d(entered, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, given, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(given)
        self.downsample: nn.Module | None = None
        if stride > 1 or entered != given:
            shortcut = nn.Conv2d(entered, given, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(given))

    def forward(self, x: Tensor) -> Tensor:
        """(N, entered, H, W) to (N, 4 width, H', W'), each a stride-th, rounded up."""
        inside = F.relu(self.bn1(self.conv1(x)))
        inside = F.relu(self.bn2(self.conv2(inside)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(self.bn3(self.conv3(inside)) + shortcut)


class ResNet50(nn.Module):
    """Strides of 2 between layers of bottlenecks, the mean over all pixels, one linear layer.

    As published there are five strides and sixteen bottlenecks; fewer make a smaller network.

    Batch norm sees the batch while it is trained; in eval mode, in which routes are decided, each
    item alone.
    """

    def __init__(self, settings: ResNetSettings) -> None:
        super().__init__()
        widths, depths = settings.widths, settings.depths
        self.conv1 = nn.Conv2d(settings.in_channels, widths[0], 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        entered = (widths[0], *(EXPANSION * width for width in widths))
        self.layers = len(widths)
        for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            layer = _layer(entered[i], width, depth, stride=2 if i else 1)
            self.add_module(f"layer{i + 1}", layer)
        self.fc = nn.Linear(entered[-1], settings.classes)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) real, of any H and W, to scores (N, classes) before softmax."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        for number in range(self.layers):
            x = self.get_submodule(f"layer{number + 1}")(x)
        return self.fc(x.mean((2, 3)))


def _layer(entered: int, width: int, depth: int, stride: int) -> nn.Sequential:
    rest = (Bottleneck(EXPANSION * width, width, 1) for _ in range(depth - 1))
    return nn.Sequential(Bottleneck(entered, width, stride), *rest)


def _initialise(module: nn.Module) -> None:
    """Convolutions keep the variance of gradients through ReLU (He et al. 2015)."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
