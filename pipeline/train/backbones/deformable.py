"""Deformable convolutions (Dai et al. 2017): each kernel learns where to look, place by place."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.ops import DeformConv2d

from pipeline.train.backbones.base import Backbone, Size, layer_stages, strided
from pipeline.train.config import ModelConfig

LAYERS = ((64, 1), (64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1))
"""Channels and stride of the seven layers."""
KERNEL = 3


class DeformableLayer(nn.Module):
    """Deformable 3 × 3 convolution, batch norm, ReLU, dropout; offsets start at zero, as a plain convolution."""

    def __init__(self, channels: int, width: int, stride: int, dropout: float) -> None:
        """Change ``channels`` to ``width`` at ``stride``."""
        super().__init__()
        self.offset = nn.Conv2d(channels, 2 * KERNEL * KERNEL, KERNEL, stride, 1)
        nn.init.zeros_(self.offset.weight)
        nn.init.zeros_(self.offset.bias)  # type: ignore[arg-type]
        self.convolution = DeformConv2d(channels, width, KERNEL, stride, 1, bias=False)
        nn.init.kaiming_normal_(self.convolution.weight, mode="fan_out", nonlinearity="relu")
        self.rest = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.Dropout(dropout))

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps of the next layer."""
        offsets = self.offset(maps)
        # Places of cells need float32 (bfloat16 has three digits), and torchvision has no kernel for less on CPUs.
        with torch.autocast(maps.device.type, enabled=False):
            found = self.convolution(maps.float(), offsets.float())
        return self.rest(found)  # type: ignore[no-any-return]


class Deformable(Backbone):
    """Seven deformable layers with 64, 64, 64, 128, 128, 256 and 256 channels."""

    def __init__(self, channels: int, size: Size, config: ModelConfig) -> None:
        """Build the layers for ``channels`` fields of ``size`` (rows, columns)."""
        super().__init__(LAYERS[-1][0], size)
        layers: list[nn.Module] = []
        for width, stride in LAYERS:
            layers.append(DeformableLayer(channels, width, stride, config.dropout))
            channels, self.size = width, strided(self.size, stride)
        self.layers = nn.Sequential(*layers)

    def stages(self) -> list[list[str]]:
        """Return the parameters' names by resolution of the map, shallowest first."""
        return layer_stages(self, [place for place, (_, stride) in enumerate(LAYERS) if place == 0 or stride > 1])

    def forward(self, fields: Tensor) -> Tensor:
        """Return the feature map (B × 256 × ⌈H/4⌉ × ⌈W/4⌉)."""
        return self.layers(fields)  # type: ignore[no-any-return]
