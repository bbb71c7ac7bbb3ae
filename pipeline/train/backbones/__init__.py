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


ALIASES = {"nfnet": "dm_nfnet_f0", "nfnet_f0": "dm_nfnet_f0", "efficientnet": "efficientnet_b4"}
"""Short names that timm does not know."""


def build_backbone(config: ModelConfig, channels: int, size: Size) -> Backbone:
    """Return the backbone of that name for maps of ``channels`` fields and ``size`` (rows, columns).

    Raises:
        InputError: no such name here or in timm, pretrained weights that do not fit, or maps too small.
        EnvironmentFault: pretrained weights could not be fetched, and no other backbone may stand in.
    """
    name = ALIASES.get(config.backbone, config.backbone)
    if name in BACKBONES:
        if config.pretrained:
            raise InputError(
                f"train.model.pretrained: there are no pretrained weights for {name!r}, only for timm names; "
                "set it to false or choose a timm name as train.model.backbone"
            )
        backbone = BACKBONES[name](channels, size, config)
        backbone.facts = {"backbone": name, "weights": "random", "fallback": False, "reason": ""}
        return backbone
    # Imported when chosen: timm takes seconds to import.
    from pipeline.train.backbones import zoo
    from pipeline.train.backbones.weights import HubFault

    own = sorted(BACKBONES)
    stand_in = None if config.fallback is None else ALIASES.get(config.fallback, config.fallback).removeprefix("timm/")
    if stand_in is not None:
        zoo.check_name(stand_in, own, "train.model.fallback")
    try:
        return zoo.build_zoo(name.removeprefix("timm/"), channels, size, config, own)
    except HubFault as error:
        if stand_in is None:
            raise
        return zoo.build_stand_in(stand_in, name, channels, size, config, own, str(error))
