"""From stored images (uint8) to what a backbone sees: deterministic transforms and normalisation, part of the model.

So a checkpoint predicts from images alone: mean and standard deviation are buffers in its state dict.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.core.errors import InputError
from pipeline.train.config import ModelConfig
from pipeline.train.transforms import Colours, Pipeline, build_pipeline, split_normalize

SETTING = "train.model.transforms"
IMAGENET = Colours((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Of the ImageNet training images, as nearly all pretrained models were normalised."""


class Normalize(nn.Module):
    """Images, uint8 or 0 … 1 (B × 3 × H × W) → float32, minus mean, over standard deviation of each channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, colours: Colours) -> None:
        """Keep the numbers as buffers."""
        super().__init__()
        self.colours = colours
        """As built; what counts is the buffers, which a checkpoint may bring."""
        self.register_buffer("mean", torch.tensor(colours.mean))
        self.register_buffer("std", torch.tensor(colours.std))

    def forward(self, images: Tensor) -> Tensor:
        """Return normalised images."""
        unit = 255.0 if images.dtype == torch.uint8 else 1.0
        factor, offset = 1 / (unit * self.std), -self.mean / self.std
        if images.device.type == "cpu" and not images.requires_grad and not torch.compiler.is_compiling():
            return _normalized(images, factor, offset)
        return torch.addcmul(offset.view(-1, 1, 1), images.float(), factor.view(-1, 1, 1))


def _normalized(images: Tensor, factor: Tensor, offset: Tensor) -> Tensor:
    """Return ``images`` × ``factor`` + ``offset`` image by image, so that the floats between stay in the cache.

    Where colours lie side by side, rows of the image are multiplied by the numbers repeated along them: a broadcast
    over three neighbours leaves most of each vector instruction unused. Takes a third of the time of the whole batch
    at once, less where that has to ask the system for memory, and gives the same bits.
    """
    found = torch.empty_like(images, dtype=torch.float32)
    pairs: Iterable[tuple[Tensor, Tensor]] = zip(images, found, strict=True)
    if not images.is_contiguous() and images.is_contiguous(memory_format=torch.channels_last):
        width = images.shape[1] * images.shape[3]
        pairs = zip(images.permute(0, 2, 3, 1).flatten(2), found.permute(0, 2, 3, 1).flatten(2), strict=True)
        factor, offset = (numbers.repeat(width // len(numbers)) for numbers in (factor, offset))
    else:
        factor, offset = factor.view(-1, 1, 1), offset.view(-1, 1, 1)
    with torch.no_grad():
        for image, place in pairs:
            torch.addcmul(offset, image.float(), factor, out=place)
    return found


class Preparation(nn.Module):
    """Raw images (uint8, as the store holds them) → prepared ones; float images are prepared already and pass."""

    def __init__(self, pipeline: Pipeline | None, colours: Colours, shape: Sequence[int]) -> None:
        """Keep the transforms and try them on an image of ``shape`` (3 × H × W)."""
        super().__init__()
        self.pipeline, self.normalize = pipeline, Normalize(colours)
        self.stored = tuple(shape)
        self.shape = tuple(shape) if pipeline is None else pipeline.try_on(shape, unit=True)

    def forward(self, images: Tensor) -> Tensor:
        """Return float32 images (B × 3 × H' × W')."""
        if images.dtype != torch.uint8:
            return images
        if self.pipeline is not None:
            images = self.pipeline(images)
        return self.normalize(images)  # type: ignore[no-any-return]


def build_preparation(
    config: ModelConfig, shape: Sequence[int], of_model: Colours | None, scale: Mapping[str, Any] | None
) -> Preparation:
    """Return the preparation of images of ``shape`` (3 × H × W).

    Args:
        config: transforms, and where mean and standard deviation come from.
        shape: as the store holds them.
        of_model: what the backbone was pretrained with, if that is known.
        scale: mean and std of the fold's training images, as the store notes them.

    Raises:
        InputError: transforms that are unknown, random or do not fit; or ``dataset`` without a scale.
    """
    entries, colours = split_normalize(config.transforms or [], SETTING)
    pipeline = build_pipeline(entries, SETTING, deterministic=True) if entries else None
    return Preparation(pipeline, colours or _colours(config, of_model, scale), shape)


def _colours(config: ModelConfig, of_model: Colours | None, scale: Mapping[str, Any] | None) -> Colours:
    if config.normalize == "model":
        return of_model or IMAGENET
    if config.normalize == "imagenet":
        return IMAGENET
    if config.normalize != "dataset":
        return Colours(*config.normalize)
    if scale is None:
        raise InputError("train.model.normalize: 'dataset' needs the scale of a store; use imagenet, or [mean, std]")
    colours = Colours(tuple(map(float, scale["mean"])), tuple(map(float, scale["std"])))
    if not min(colours.std) > 0:
        raise InputError(f"train.model.normalize: 'dataset': a channel never varies (std {colours.std}); use imagenet")
    return colours
