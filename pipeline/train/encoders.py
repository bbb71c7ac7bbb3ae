"""From one input to a vector, by the input's kind."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pipeline.contract.store import InputSpec
from pipeline.train.backbones import build_backbone
from pipeline.train.config import ModelConfig
from pipeline.train.pooling import build_pooling


class GridEncoder(nn.Module):
    """Maps (B × C × H × W) → vector, by a backbone and a pooling."""

    coordinates: Tensor | None

    def __init__(self, backbone: nn.Module, pooling: nn.Module, coordinates: Tensor | None) -> None:
        """Keep the parts; ``coordinates`` (1 × 2 × H × W) are appended to the channels if given."""
        super().__init__()
        self.backbone, self.pooling = backbone, pooling
        self.width = pooling.width
        self.register_buffer("coordinates", coordinates, persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the vector (B × width), or (B × members × width) where members pool for themselves."""
        if self.coordinates is not None:
            maps = _append(maps, self.coordinates)
        return self.pooling(self.backbone(maps))  # type: ignore[no-any-return]


def _append(maps: Tensor, coordinates: Tensor) -> Tensor:
    """Append channels in the memory layout of ``maps``, which ``cat`` alone would not keep."""
    last = not maps.is_contiguous() and maps.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    more = coordinates.to(maps.dtype).expand(len(maps), -1, -1, -1).contiguous(memory_format=layout)
    return torch.cat([maps, more], dim=1)


class Scalars(nn.Module):
    """Scalars (B × S), which go to the head as they are."""

    def __init__(self, width: int) -> None:
        """Keep the width."""
        super().__init__()
        self.width = width

    def forward(self, values: Tensor) -> Tensor:
        """Return the values."""
        return values


def channel_count(spec: InputSpec) -> int:
    """Return the channels that the model sees: those of the store and, if masked, one for each with missing values."""
    return spec.shape[0] + (len(spec.missing) if spec.masked else 0)


def coordinate_channels(height: int, width: int) -> Tensor:
    """Return row and column places scaled to −1 … 1 (1 × 2 × H × W; CoordConv, Liu et al. 2018)."""
    rows, columns = torch.linspace(-1, 1, height), torch.linspace(-1, 1, width)
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"))[None]


def _grid(config: ModelConfig, spec: InputSpec) -> nn.Module:
    height, width = spec.shape[1:]
    coordinates = coordinate_channels(height, width) if config.coordinates else None
    channels = channel_count(spec) + (2 if config.coordinates else 0)
    backbone = build_backbone(config, channels, (height, width))
    return GridEncoder(backbone, build_pooling(backbone, config), coordinates)


def _scalars(config: ModelConfig, spec: InputSpec) -> nn.Module:
    return Scalars(channel_count(spec))


ENCODERS: dict[str, Callable[[ModelConfig, InputSpec], nn.Module]] = {"grid": _grid, "scalars": _scalars}
"""By kind of input: settings and the input → module with ``width``, the length of its vector."""
