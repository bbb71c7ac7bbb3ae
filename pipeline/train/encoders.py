"""From one input to a vector and tokens, by the input's kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.contract.store import InputSpec
from pipeline.train.backbones import build_backbone
from pipeline.train.backbones.base import Backbone
from pipeline.train.config import ModelConfig
from pipeline.train.fusion import Encoded
from pipeline.train.images import Preparation, build_preparation
from pipeline.train.pooling import build_pooling
from pipeline.train.series_encoder import build_series


class GridEncoder(nn.Module):
    """Maps (B × C × H × W) → vector and cells, by a backbone and a pooling."""

    backbone: Backbone
    coordinates: Tensor | None

    def __init__(self, backbone: Backbone, pooling: nn.Module, coordinates: Tensor | None) -> None:
        """Keep the parts; ``coordinates`` (1 × 2 × H × W) are appended to the channels if given."""
        super().__init__()
        self.backbone, self.pooling = backbone, pooling
        self.width = pooling.width
        self.register_buffer("coordinates", coordinates, persistent=False)

    def forward(self, maps: Tensor) -> Encoded:
        """Return the vector (B × width), or (B × members × width) where members pool for themselves, and the cells."""
        if self.coordinates is not None:
            maps = _append(maps, self.coordinates)
        features = self.backbone(maps)
        return Encoded(self.pooling(features), features.flatten(2).transpose(1, 2))


class ImageEncoder(GridEncoder):
    """Images (B × 3 × H × W; uint8 as stored, or float and prepared) → vector and cells."""

    def __init__(
        self, prepare: Preparation, backbone: Backbone, pooling: nn.Module, coordinates: Tensor | None
    ) -> None:
        """Keep the parts."""
        super().__init__(backbone, pooling, coordinates)
        self.prepare = prepare

    def forward(self, images: Tensor) -> Encoded:
        """Return the vector and the cells, as for maps."""
        return super().forward(self.prepare(images))


def _append(maps: Tensor, coordinates: Tensor) -> Tensor:
    """Append channels in the memory layout of ``maps``, which ``cat`` alone would not keep."""
    last = not maps.is_contiguous() and maps.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    # Not len(): an exported graph would hold that number of samples for good.
    more = coordinates.to(maps.dtype).expand(maps.shape[0], -1, -1, -1).contiguous(memory_format=layout)
    return torch.cat([maps, more], dim=1)


class Scalars(nn.Module):
    """Scalars (B × S), which go to the head as they are."""

    def __init__(self, width: int) -> None:
        """Keep the width."""
        super().__init__()
        self.width = width

    def forward(self, values: Tensor) -> Encoded:
        """Return the values."""
        return Encoded(values)


def channel_count(spec: InputSpec) -> int:
    """Return the channels that the model sees: those of the store and, if masked, one for each with missing values."""
    return spec.shape[0] + (len(spec.missing) if spec.masked else 0)


def coordinate_channels(height: int, width: int) -> Tensor:
    """Return row and column places scaled to −1 … 1 (1 × 2 × H × W; CoordConv, Liu et al. 2018)."""
    rows, columns = torch.linspace(-1, 1, height), torch.linspace(-1, 1, width)
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"))[None]


Scale = Mapping[str, Any]
"""Of one input, as the store notes it for a fold: mean and std of each channel."""


def _grid(config: ModelConfig, spec: InputSpec, scale: Scale | None) -> nn.Module:
    height, width = spec.shape[1:]
    coordinates = coordinate_channels(height, width) if config.coordinates else None
    channels = channel_count(spec) + (2 if config.coordinates else 0)
    backbone = build_backbone(config, channels, (height, width))
    return GridEncoder(backbone, build_pooling(backbone, config), coordinates)


def _image(config: ModelConfig, spec: InputSpec, scale: Scale | None) -> nn.Module:
    # Built twice: the size that the backbone is made for comes from the transforms, its colours from the backbone.
    height, width = build_preparation(config, spec.shape, None, scale).shape[1:]
    coordinates = coordinate_channels(height, width) if config.coordinates else None
    backbone = build_backbone(config, spec.shape[0] + (2 if config.coordinates else 0), (height, width))
    prepare = build_preparation(config, spec.shape, backbone.colours, scale)
    return ImageEncoder(prepare, backbone, build_pooling(backbone, config, images=True), coordinates)


def _scalars(config: ModelConfig, spec: InputSpec, scale: Scale | None) -> nn.Module:
    return Scalars(channel_count(spec))


def _series(config: ModelConfig, spec: InputSpec, scale: Scale | None) -> nn.Module:
    return build_series(config.series, spec)


ENCODERS: dict[str, Callable[[ModelConfig, InputSpec, Scale | None], nn.Module]] = {
    "grid": _grid,
    "image": _image,
    "scalars": _scalars,
    "series": _series,
}
"""By kind of input: settings, the input and its scale → module with ``width``, the length of its vector."""
