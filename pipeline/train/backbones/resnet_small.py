"""A small residual network with squeeze-and-excitation (He et al. 2016; Hu et al. 2018)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.train.backbones.base import Backbone, Size, layer_stages, strided
from pipeline.train.config import ModelConfig

STEM = 64
STAGES = ((64, 1), (128, 2), (256, 2))
"""Channels and first stride of the three stages of two blocks."""
SQUEEZE = 16


class SqueezeExcitation(nn.Module):
    """Scale each channel by a number in 0…1 made from the means of all channels."""

    def __init__(self, channels: int) -> None:
        """Squeeze to ``channels / 16`` and back, without biases."""
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // SQUEEZE, bias=False)
        self.excite = nn.Linear(channels // SQUEEZE, channels, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the scaled maps."""
        weights: Tensor = self.excite(F.relu(self.squeeze(maps.mean((2, 3))))).sigmoid()
        return maps * weights[:, :, None, None]


class Block(nn.Module):
    """Two 3 × 3 convolutions with batch norm, squeeze-and-excitation, and the input added."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        """Change ``channels`` to ``width`` at ``stride``."""
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
            SqueezeExcitation(width),
        )
        same = channels == width and stride == 1
        self.shortcut = nn.Identity() if same else projection(channels, width, stride)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps of the next layer."""
        return F.relu(self.body(maps) + self.shortcut(maps))


def projection(channels: int, width: int, stride: int) -> nn.Module:
    """Return the 1 × 1 convolution with batch norm that fits a shortcut to another width or stride."""
    return nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))


class ResNetSmall(Backbone):
    """Stem 3 × 3 with 64 channels, then two blocks each of 64, 128 and 256 channels; dropout grows with depth."""

    def __init__(self, channels: int, size: Size, config: ModelConfig) -> None:
        """Build the layers for ``channels`` fields of ``size`` (rows, columns)."""
        super().__init__(STAGES[-1][0], size)
        layers: list[nn.Module] = [
            nn.Conv2d(channels, STEM, 3, 1, 1, bias=False),
            nn.BatchNorm2d(STEM),
            nn.ReLU(inplace=True),
        ]
        channels, self._starts = STEM, [0]
        for (width, stride), share in zip(STAGES, (0.6, 0.8, 1.0), strict=True):
            dropout = nn.Dropout(share * config.dropout)
            layers += [Block(channels, width, stride), Block(width, width, 1), dropout]
            self._starts.append(len(layers))
            channels, self.size = width, strided(self.size, stride)
        self.layers = nn.Sequential(*layers)
        _initialise(self)

    def stages(self) -> list[list[str]]:
        """Return the parameters' names by stage, shallowest first; the stem belongs to the first."""
        return layer_stages(self, self._starts[: len(STAGES)])

    def forward(self, fields: Tensor) -> Tensor:
        """Return the feature map (B × 256 × ⌈H/4⌉ × ⌈W/4⌉)."""
        return self.layers(fields)  # type: ignore[no-any-return]


def _initialise(model: nn.Module) -> None:
    """Kaiming weights (He et al. 2015), which keep the variance through ReLU layers."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
