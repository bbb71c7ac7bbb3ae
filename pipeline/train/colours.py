"""Brightness, contrast, saturation and hue of a batch of images, each image by its own factors.

The same formulas as torchvision's ``ColorJitter``, without its rounding to whole numbers after each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Range = tuple[float, float] | list[float] | None
_GREY = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in the luma of ITU-R BT.601."""


def grey(images: Tensor) -> Tensor:
    """Return the luma of images (B × 3 × H × W → B × 1 × H × W)."""
    red, green, blue = images.unbind(1)
    return (_GREY[0] * red + _GREY[1] * green + _GREY[2] * blue)[:, None]


def brighten(images: Tensor, factor: Tensor) -> Tensor:
    """Return images in 0 … 1 times ``factor`` (B × 1 × 1 × 1)."""
    return (images * factor).clamp(0, 1)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Return images whose distance from their mean luma is multiplied by ``factor``."""
    return torch.lerp(grey(images).mean((1, 2, 3), keepdim=True), images, factor).clamp(0, 1)


def saturate(images: Tensor, factor: Tensor) -> Tensor:
    """Return images whose distance from their own luma is multiplied by ``factor``."""
    return torch.lerp(grey(images).expand_as(images), images, factor).clamp(0, 1)


def turn_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Return images whose hue is moved by ``shift`` of the colour circle; value and saturation stay.

    From (max, chroma, hue) back to a channel: max − chroma · clamp(min(k, 4 − k), 0, 1) with k = (n + 6 hue) mod 6 and
    n = 5, 3, 1 for red, green, blue.
    """
    red, green, blue = images.unbind(1)
    top = images.amax(1)
    chroma = top - images.amin(1)
    scale = torch.where(chroma == 0, 1.0, chroma).reciprocal_()
    hue = torch.where(
        top == red,
        (green - blue) * scale,
        torch.where(top == green, 2 + (blue - red) * scale, 4 + (red - green) * scale),
    )
    turns = hue / 6 + shift[:, 0]
    found = torch.empty_like(images)
    for channel, offset in enumerate((5.0, 3.0, 1.0)):
        k = turns + offset / 6
        k = k.sub_(k.floor()).mul_(6)  # not `remainder`, which goes number by number on CPUs
        share = torch.minimum(k, 4 - k).clamp_(0, 1)
        torch.addcmul(top, chroma, share, value=-1, out=found[:, channel])
    return found


OPERATIONS: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (brighten, contrast, saturate, turn_hue)


@dataclass(frozen=True)
class ColourJitter:
    """Random brightness, contrast, saturation and hue in random order; a range of ``None`` leaves one out."""

    brightness: Range
    contrast: Range
    saturation: Range
    hue: Range

    def __call__(self, images: Tensor, numbers: NDArray[np.float64]) -> Tensor:
        """Return changed images (B × 3 × H × W, of the same dtype).

        Args:
            images: uint8, or float in 0 … 1.
            numbers: in 0 … 1 (B × 8): four factors, and four whose order is that of the operations.
        """
        if images.device.type == "cpu" and len(images) > 1:
            return self._one_by_one(images, numbers)
        whole = images.dtype == torch.uint8
        values = images.float() / 255 if whole else images.clone()
        ranges = (self.brightness, self.contrast, self.saturation, self.hue)
        order = np.argsort(numbers[:, 4:], axis=1)
        for turn in range(len(ranges)):
            for number, limits in enumerate(ranges):
                chosen = np.flatnonzero(order[:, turn] == number)
                if limits is None or len(chosen) == 0:
                    continue
                factors = limits[0] + (limits[1] - limits[0]) * numbers[chosen, number]
                factor = torch.from_numpy(factors.astype(np.float32)).to(values.device).view(-1, 1, 1, 1)
                if len(chosen) == len(values):
                    values = OPERATIONS[number](values, factor)
                else:
                    rows = torch.from_numpy(chosen).to(values.device)
                    values[rows] = OPERATIONS[number](values[rows], factor)
        return (values * 255).round_().to(torch.uint8) if whole else values

    def _one_by_one(self, images: Tensor, numbers: NDArray[np.float64]) -> Tensor:
        """Return changed images: one by one, and colour by colour, they stay in the cache between operations."""
        found = torch.empty_like(images)
        for image, row, place in zip(images, numbers, found, strict=True):
            place.copy_(self(image[None].contiguous(), row[None])[0])
        return found
