"""A ConvNeXt (Liu et al. 2022) of small sizes for maps of tens to hundreds of cells."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.train.backbones.base import Backbone, Size, layer_stages, strided
from pipeline.train.config import ModelConfig

WIDTHS, DEPTHS = (64, 128, 256), (2, 2, 6)
PATCH = 4


class MapNorm(nn.LayerNorm):
    """Layer norm over the channels of each cell of a map (B × C × H × W)."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return the normed map."""
        return super().forward(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class PatchConvolution(nn.Conv2d):
    """Convolution whose kernel is its stride; the map is padded with 0, so that no last row or column is lost."""

    def __init__(self, channels: int, width: int, patch: int) -> None:
        """Change ``channels`` to ``width``, one cell for each ``patch`` × ``patch`` cells."""
        super().__init__(channels, width, patch, patch)
        self.patch = patch

    def forward(self, maps: Tensor) -> Tensor:
        """Return the coarser map."""
        rows, columns = (-side % self.patch for side in maps.shape[2:])
        return super().forward(F.pad(maps, (0, columns, 0, rows)) if rows or columns else maps)


class StochasticDepth(nn.Module):
    """Drop a residual branch, sample by sample, with probability ``rate`` in training (Huang et al. 2016)."""

    def __init__(self, rate: float) -> None:
        """Keep the rate."""
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        """Return the branch, zero in dropped samples and scaled in the others to keep its mean."""
        if not self.training or self.rate == 0:
            return branch
        keep = torch.empty((len(branch), 1, 1, 1), device=branch.device).bernoulli_(1 - self.rate)
        return branch * (keep / (1 - self.rate)).to(branch.dtype)


class Block(nn.Module):
    """Depthwise 7 × 7 convolution, layer norm, a two-layer perceptron on each cell, and the input added.

    There is no layer scale: started near zero it keeps deep networks stable over hundreds of epochs; ten blocks are
    stable without it, and in short trainings it leaves the branches all but shut.
    """

    def __init__(self, width: int, drop_path: float) -> None:
        """Keep the width and the size of the map."""
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.mix = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.drop_path = StochasticDepth(drop_path)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps of the next layer."""
        branch = self.mix(self.depthwise(maps).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return maps + self.drop_path(branch)  # type: ignore[no-any-return]


class ConvNextTiny(Backbone):
    """Patches of 4 × 4 cells, then 2, 2 and 6 blocks of 64, 128 and 256 channels.

    The chance of dropping a block grows linearly from 0 at the first to ``drop_path`` at the last.
    """

    def __init__(self, channels: int, size: Size, config: ModelConfig) -> None:
        """Build the layers for ``channels`` fields of ``size`` (rows, columns)."""
        super().__init__(WIDTHS[-1], strided(size, PATCH))
        self._starts = [0]
        rates = iter([config.drop_path * block / (sum(DEPTHS) - 1) for block in range(sum(DEPTHS))])
        layers: list[nn.Module] = [PatchConvolution(channels, WIDTHS[0], PATCH), MapNorm(WIDTHS[0])]
        for stage, (width, depth) in enumerate(zip(WIDTHS, DEPTHS, strict=True)):
            if stage > 0:
                self._starts.append(len(layers))
                layers += [MapNorm(WIDTHS[stage - 1]), PatchConvolution(WIDTHS[stage - 1], width, 2)]
                self.size = strided(self.size, 2)
            layers += [Block(width, next(rates)) for _ in range(depth)]
        self.layers = nn.Sequential(*layers, MapNorm(WIDTHS[-1]))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def stages(self) -> list[list[str]]:
        """Return the parameters' names by resolution of the map, shallowest first."""
        return layer_stages(self, self._starts)

    def forward(self, fields: Tensor) -> Tensor:
        """Return the feature map (B × 256 × ⌈H/16⌉ × ⌈W/16⌉)."""
        return self.layers(fields)  # type: ignore[no-any-return]
