"""What every backbone for maps offers to the encoder around it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from pipeline.train.transforms import Colours

Size = tuple[int, int]


class Backbone(nn.Module):
    """Fields (B × channels × H × W, standardised, no NaN) → feature map (B × ``width`` × ``size``)."""

    natural_pooling = "grid"
    """What ``pooling: auto`` means; a pooled grid keeps position, on which weather patterns depend."""

    def __init__(self, width: int, size: Size) -> None:
        """Note the channels and the rows × columns of the feature map."""
        super().__init__()
        self.width = width
        self.size = size
        self.colours: Colours | None = None
        """Normalisation of images that its weights were pretrained with, where that is known."""
        self.facts: dict[str, Any] = {}
        """What was really built: backbone, weights (hub, file or random), fallback and its reason."""

    def forward(self, fields: Tensor) -> Tensor:
        """Return the feature map."""
        raise NotImplementedError


def strided(size: Size, stride: int) -> Size:
    """Return the size of a map after a layer of that stride whose padding keeps a started cell (round up)."""
    return -(-size[0] // stride), -(-size[1] // stride)


def layer_stages(backbone: nn.Module, starts: Sequence[int]) -> list[list[str]]:
    """Return the parameters' names by stage, shallowest first; ``layers[starts[n]]`` is the first layer of stage n."""
    found: list[list[str]] = [[] for _ in starts]
    for name, _ in backbone.named_parameters():
        found[bisect_right(starts, int(name.split(".")[1])) - 1].append(name)
    return found
