"""Backbones for maps, by name; any other name is looked up in timm."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.core.errors import InputError
from pipeline.train.backbones.base import Backbone, Size
from pipeline.train.backbones.convnext_tiny import ConvNextTiny
from pipeline.train.backbones.positional import Positional
from pipeline.train.backbones.resnet_small import ResNetSmall
from pipeline.train.backbones.simple import Simple
from pipeline.train.config import ModelConfig


def _deformable(channels: int, size: Size, config: ModelConfig) -> Backbone:
    # Imported when chosen: torchvision takes a second to import.
    from pipeline.train.backbones.deformable import Deformable

    return Deformable(channels, size, config)


BACKBONES: dict[str, Callable[[int, Size, ModelConfig], Backbone]] = {
    "simple": Simple,
    "resnet_small": ResNetSmall,
    "deformable": _deformable,
    "convnext_tiny": ConvNextTiny,
    "positional": Positional,
}
"""By name: channels, (rows, columns) and settings → backbone."""


def build_backbone(config: ModelConfig, channels: int, size: Size) -> Backbone:
    """Return the backbone of that name for maps of ``channels`` fields and ``size`` (rows, columns).

    Raises:
        InputError: no such name here or in timm, pretrained weights that do not fit, or maps too small.
        EnvironmentFault: pretrained weights could not be fetched.
    """
    name = config.backbone
    if name in BACKBONES:
        if config.pretrained:
            raise InputError(
                f"train.model.pretrained: there are no pretrained weights for {name!r}, only for timm names; "
                "set it to false or choose a timm name as train.model.backbone"
            )
        return BACKBONES[name](channels, size, config)
    # Imported when chosen: timm takes seconds to import.
    from pipeline.train.backbones.zoo import build_zoo

    return build_zoo(name.removeprefix("timm/"), channels, size, config, own=sorted(BACKBONES))
