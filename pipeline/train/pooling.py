"""From a feature map to the vector that the head reads: with position (grid, windows) or without it (average)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.train.backbones.base import Backbone, Size
from pipeline.train.config import ModelConfig


class GridPool(nn.Module):
    """Means over ``cells`` × ``cells`` boxes (fewer on a smaller map): (B × C × h × w) → (B × C·cells²).

    The boxes are those of adaptive average pooling. Written as two matrix products, its gradient is deterministic
    on CUDA as well, where that of adaptive pooling is not.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, channels: int, size: Size, cells: int) -> None:
        """Make the matrices of means."""
        super().__init__()
        boxes = min(cells, size[0]), min(cells, size[1])
        self.register_buffer("rows", box_means(size[0], boxes[0]), persistent=False)
        self.register_buffer("columns", box_means(size[1], boxes[1]), persistent=False)
        self.width = channels * boxes[0] * boxes[1]

    def forward(self, maps: Tensor) -> Tensor:
        """Return the means."""
        across = (maps @ self.columns.T).transpose(2, 3)
        return (across @ self.rows.T).transpose(2, 3).flatten(1)


def box_means(length: int, boxes: int) -> Tensor:
    """Return the matrix (boxes × length) of means over ⌊i·length/boxes⌋ … ⌈(i+1)·length/boxes⌉."""
    matrix = torch.zeros(boxes, length)
    for box in range(boxes):
        start, end = box * length // boxes, -(-(box + 1) * length // boxes)
        matrix[box, start:end] = 1 / (end - start)
    return matrix


class AveragePool(nn.Module):
    """Mean over the whole map: (B × C × h × w) → (B × C)."""

    def __init__(self, channels: int) -> None:
        """Keep the width."""
        super().__init__()
        self.width = channels

    def forward(self, maps: Tensor) -> Tensor:
        """Return the means."""
        return maps.mean((2, 3))


class WindowPool(nn.Module):
    """Weighted means under learned Gaussian windows: (B × C × h × w) → (B × windows·C), each with its own centre.

    A window has a centre (row, column) and a width each way, in −1 … 1 across the map, and weights of sum 1. With
    ``members`` > 1 every member of an ensemble has its own windows: (B × members × windows·C).
    """

    def __init__(self, channels: int, size: Size, windows: int, members: int) -> None:
        """Scatter the windows at random over the inner four fifths of the map, 0.3 of the half side wide."""
        super().__init__()
        self.size, self.members = size, members
        self.width = channels * windows
        self.centre = nn.Parameter((torch.rand(members * windows, 2) * 2 - 1) * 0.8)
        self.log_width = nn.Parameter(torch.full((members * windows, 2), -1.2))

    def no_weight_decay(self) -> set[str]:
        """Places and sizes: decay would pull the windows to the middle of the map."""
        return {"centre", "log_width"}

    def forward(self, maps: Tensor) -> Tensor:
        """Return the weighted means."""
        rows, columns = self._profile(0), self._profile(1)
        weights = (rows[:, :, None] * columns[:, None, :]).flatten(1)
        means = (maps.flatten(2) @ weights.T).transpose(1, 2)
        means = means.reshape(maps.shape[0], self.members, self.width)
        return means if self.members > 1 else means[:, 0]

    def _profile(self, axis: int) -> Tensor:
        """Return the weights of each window along an axis (windows × length), of sum 1."""
        place = torch.linspace(-1, 1, self.size[axis], device=self.centre.device)
        distance = (place - self.centre[:, axis, None]) / self.log_width[:, axis, None].exp()
        return F.softmax(-0.5 * distance**2, dim=-1)


POOLINGS: dict[str, Callable[[Backbone, ModelConfig], nn.Module]] = {
    "grid": lambda backbone, config: GridPool(backbone.width, backbone.size, config.pool_size),
    "average": lambda backbone, config: AveragePool(backbone.width),
    "windows": lambda backbone, config: WindowPool(backbone.width, backbone.size, config.windows, config.members),
}


def build_pooling(backbone: Backbone, config: ModelConfig, images: bool = False) -> nn.Module:
    """Return the pooling of a backbone's map; it has ``width``, the length of its vector (for each member).

    ``auto`` keeps position on weather maps, where it decides; ``images`` are averaged, as their backbones were
    pretrained.
    """
    natural = "average" if images and backbone.natural_pooling == "grid" else backbone.natural_pooling
    return POOLINGS[natural if config.pooling == "auto" else config.pooling](backbone, config)
