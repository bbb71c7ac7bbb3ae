"""What every backbone for maps offers to the encoder around it."""

from __future__ import annotations

from torch import Tensor, nn

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

    def forward(self, fields: Tensor) -> Tensor:
        """Return the feature map."""
        raise NotImplementedError


def strided(size: Size, stride: int) -> Size:
    """Return the size of a map after a layer of that stride whose padding keeps a started cell (round up)."""
    return -(-size[0] // stride), -(-size[1] // stride)
