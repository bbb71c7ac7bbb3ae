"""Mixing of samples within a batch, inputs and targets alike: MixUp (Zhang et al. 2018), CutMix (Yun et al. 2019)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

Inputs = dict[str, Tensor]
_DRAWS = 1 << 16


class Shares:
    """Shares from Beta(α, α) drawn with a torch generator."""

    def __init__(self, alpha: float) -> None:
        """Draw a table of shares: torch has no Beta numbers from a generator, and picking needs no wait on CUDA."""
        self._table = torch.from_numpy(np.random.default_rng(0).beta(alpha, alpha, _DRAWS).astype(np.float32))

    def draw(self, size: int, generator: Generator, device: torch.device) -> Tensor:
        """Return ``size`` shares."""
        picks = torch.randint(_DRAWS, (size,), generator=generator, device=generator.device).to(device)
        self._table = self._table.to(device)
        return self._table[picks]


class Mixup:
    """Each sample is mixed with another of its batch, inputs and targets alike.

    The share of the sample itself is drawn from Beta(α, α).
    """

    def __init__(self, alpha: float) -> None:
        """Keep the distribution of shares."""
        self._shares = Shares(alpha)

    def __call__(self, inputs: Inputs, target: Tensor, generator: Generator) -> tuple[Inputs, Tensor]:
        """Return mixed inputs and soft targets."""
        partner = partners(target, generator)
        share = self._shares.draw(len(target), generator, target.device)
        return {name: _mixed(value, partner, share) for name, value in inputs.items()}, _mixed(target, partner, share)


class Cutmix:
    """A box of another sample of the batch is pasted into each image (B × 3 × H × W); targets are mixed by area.

    The box has the image's proportions and an area drawn from Beta(α, α); its centre lies anywhere, so a part of it may
    fall outside, and what counts is the area that was pasted.
    """

    def __init__(self, alpha: float) -> None:
        """Keep the distribution of shares."""
        self._shares = Shares(alpha)

    def __call__(self, inputs: Inputs, target: Tensor, generator: Generator) -> tuple[Inputs, Tensor]:
        """Return images with a pasted box each, and soft targets."""
        partner = partners(target, generator)
        own = self._shares.draw(len(target), generator, target.device)
        centre = torch.rand((2, len(target)), generator=generator, device=generator.device).to(target.device)
        half = (1 - own).clamp(min=0).sqrt() / 2
        box = Box(centre[0] - half, centre[0] + half, centre[1] - half, centre[1] + half)
        found, kept = {}, []
        for name, images in inputs.items():
            pasted = inside(box, images.shape[2], images.shape[3])
            found[name] = torch.where(pasted[:, None], images[partner], images)
            kept.append(1 - pasted.float().mean((1, 2)))
        return found, _mixed(target, partner, torch.stack(kept).mean(0))


class Box(NamedTuple):
    """A box in each image, in shares of its height and width (B each)."""

    top: Tensor
    bottom: Tensor
    left: Tensor
    right: Tensor


def inside(box: Box, height: int, width: int) -> Tensor:
    """Return which pixels have their centre in the box (B × H × W)."""
    rows = (torch.arange(height, device=box.top.device) + 0.5) / height
    columns = (torch.arange(width, device=box.top.device) + 0.5) / width
    down = (rows >= box.top[:, None]) & (rows < box.bottom[:, None])
    across = (columns >= box.left[:, None]) & (columns < box.right[:, None])
    return down[:, :, None] & across[:, None, :]


class Either:
    """Of two mixings, one for each sample at even odds."""

    def __init__(self, first: Mixup, second: Cutmix) -> None:
        """Keep both."""
        self._first, self._second = first, second

    def __call__(self, inputs: Inputs, target: Tensor, generator: Generator) -> tuple[Inputs, Tensor]:
        """Return mixed inputs and soft targets."""
        left, left_target = self._first(inputs, target, generator)
        right, right_target = self._second(inputs, target, generator)
        coin = (torch.rand(len(target), generator=generator, device=generator.device) < 0.5).to(target.device)
        mixed = {name: _chosen(coin, left[name], right[name]) for name in inputs}
        return mixed, _chosen(coin, left_target, right_target)


def partners(target: Tensor, generator: Generator) -> Tensor:
    """Return another order of the batch."""
    return torch.randperm(len(target), generator=generator, device=generator.device).to(target.device)


def _chosen(coin: Tensor, left: Tensor, right: Tensor) -> Tensor:
    return torch.where(coin.view(-1, *[1] * (left.ndim - 1)), left, right)


def _mixed(values: Tensor, partner: Tensor, share: Tensor) -> Tensor:
    weight = share.view(-1, *[1] * (values.ndim - 1)).to(values.dtype)
    return torch.lerp(values[partner], values, weight)
