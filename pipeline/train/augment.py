"""Map-safe augmentation, batch by batch on the device: nothing that turns or mirrors the weather.

All randomness comes from the generator that is passed in, so it is a function of seed, epoch and step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from pipeline.train.config import AugmentConfig

Inputs = dict[str, Tensor]
Augment = Callable[[Inputs, Tensor, Generator], tuple[Inputs, Tensor]]
_NODES = 5
"""Nodes of the coarse random field along the shorter side of the map."""
_DRAWS = 1 << 16


def build_augment(config: AugmentConfig, masks: Mapping[str, int] | None = None) -> Augment | None:
    """Return the augmentation, ``None`` where nothing is asked for.

    Args:
        config: how strong each kind is; a strength of 0 leaves it out.
        masks: by input, how many of its last channels are validity masks, which get no noise.
    """
    steps: list[Augment] = []
    if config.shift:
        steps.append(Shift(config.shift))
    if config.noise or config.smooth_noise:
        steps.append(Noise(config.noise, config.smooth_noise, dict(masks or {})))
    if config.mixup:
        steps.append(Mixup(config.mixup))
    return Chain(tuple(steps)) if steps else None


@dataclass(frozen=True)
class Chain:
    """One augmentation after the other."""

    steps: tuple[Augment, ...]

    def __call__(self, inputs: Inputs, target: Tensor, generator: Generator) -> tuple[Inputs, Tensor]:
        """Return changed inputs and target; the ones passed in are left as they are."""
        for step in self.steps:
            inputs, target = step(inputs, target, generator)
        return inputs, target


@dataclass(frozen=True)
class Shift:
    """Each sample's maps (B × C × H × W) are moved by its own −``cells`` … ``cells`` rows and columns."""

    cells: int

    def __call__(self, inputs: Inputs, target: Tensor, generator: Generator) -> tuple[Inputs, Tensor]:
        """Return moved maps, their edge rows and columns repeated into the gap."""
        shape = (2, len(target))
        moves = torch.randint(-self.cells, self.cells + 1, shape, generator=generator, device=generator.device)
        return {name: shifted(v, *moves.to(v.device)) if v.ndim == 4 else v for name, v in inputs.items()}, target


def shifted(maps: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Return maps (B × C × H × W) moved by ``down`` rows and ``right`` columns (B each), edges repeated."""
    height, width = maps.shape[2:]
    rows = (torch.arange(height, device=maps.device) - down[:, None]).clamp(0, height - 1)
    columns = (torch.arange(width, device=maps.device) - right[:, None]).clamp(0, width - 1)
    cells = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)
    moved = maps.flatten(2).gather(2, cells[:, None].expand(-1, maps.shape[1], -1))
    return moved.view(maps.shape)


@dataclass(frozen=True)
class Noise:
    """Gaussian noise on standardised maps (B × C × H × W): white, and spatially smooth."""

    white: float
    smooth: float
    masks: dict[str, int]

    def __call__(self, inputs: Inputs, target: Tensor, generator: Generator) -> tuple[Inputs, Tensor]:
        """Return noisy maps; validity masks stay 0 and 1."""
        return {name: self._noisy(name, v, generator) if v.ndim == 4 else v for name, v in inputs.items()}, target

    def _noisy(self, name: str, maps: Tensor, generator: Generator) -> Tensor:
        shape = (len(maps), maps.shape[1] - self.masks.get(name, 0), *maps.shape[2:])
        noise = torch.zeros(shape, device=maps.device)
        if self.white:
            noise += self.white * normal(shape, generator).to(maps.device)
        if self.smooth:
            noise += self.smooth * smooth_field(shape, generator).to(maps.device)
        noisy = maps.clone()
        noisy[:, : shape[1]] += noise
        return noisy


def normal(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Return standard normal numbers on the generator's device."""
    return torch.randn(shape, generator=generator, device=generator.device)


def smooth_field(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Return random fields (B × C × H × W) of mean 0 and standard deviation 1 in every cell, smooth in space.

    White noise on a coarse grid, with a node every fifth of the shorter side, is interpolated bicubically; each
    cell's weights are scaled to a sum of squares of 1, which makes its variance 1.
    """
    samples, channels, height, width = shape
    spacing = max(1.0, min(height, width) / _NODES)
    rows, columns = (_interpolation(side, round(side / spacing) + 1).to(generator.device) for side in (height, width))
    coarse = normal((samples, channels, rows.shape[1], columns.shape[1]), generator)
    return ((coarse @ columns.T).transpose(2, 3) @ rows.T).transpose(2, 3)


@lru_cache(maxsize=16)
def _interpolation(length: int, nodes: int) -> Tensor:
    """Return the weights (length × nodes) of bicubic interpolation between nodes at both ends and evenly between."""
    unit = torch.eye(nodes)[:, None, :, None]
    weights = F.interpolate(unit, size=(length, 1), mode="bicubic", align_corners=True)[:, 0, :, 0].T
    return F.normalize(weights, dim=1)


class Mixup:
    """Each sample is mixed with another of its batch, inputs and targets alike (Zhang et al. 2018).

    The share of the sample itself is drawn from Beta(α, α).
    """

    def __init__(self, alpha: float) -> None:
        """Draw a table of shares: torch has no Beta numbers from a generator, and picking needs no wait on CUDA."""
        self._shares = torch.from_numpy(np.random.default_rng(0).beta(alpha, alpha, _DRAWS).astype(np.float32))

    def __call__(self, inputs: Inputs, target: Tensor, generator: Generator) -> tuple[Inputs, Tensor]:
        """Return mixed inputs and soft targets."""
        size, device = len(target), generator.device
        partner = torch.randperm(size, generator=generator, device=device).to(target.device)
        picks = torch.randint(_DRAWS, (size,), generator=generator, device=device).to(target.device)
        self._shares = self._shares.to(target.device)
        share = self._shares[picks]
        return {name: _mixed(value, partner, share) for name, value in inputs.items()}, _mixed(target, partner, share)


def _mixed(values: Tensor, partner: Tensor, share: Tensor) -> Tensor:
    weight = share.view(-1, *[1] * (values.ndim - 1)).to(values.dtype)
    return torch.lerp(values[partner], values, weight)
