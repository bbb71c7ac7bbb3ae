"""No layers: the fields themselves are the features, read at learned places by the pooling."""

from __future__ import annotations

from torch import Tensor

from pipeline.train.backbones.base import Backbone, Size
from pipeline.train.config import ModelConfig


class Positional(Backbone):
    """The fields as they are, for patterns that are told by a few area means (wind here, pressure there)."""

    natural_pooling = "windows"

    def __init__(self, channels: int, size: Size, config: ModelConfig) -> None:
        """Nothing to build."""
        super().__init__(channels, size)

    def forward(self, fields: Tensor) -> Tensor:
        """Return the fields."""
        return fields
