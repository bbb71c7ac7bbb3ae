"""Any model of timm as a backbone: any number of channels, any size of map, features as a map.

How a model is to be built and read is found out on torch's ``meta`` device, which computes shapes only: that takes
no arithmetic, no memory and no random numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.core.choose import near
from pipeline.core.errors import InputError, shorten
from pipeline.core.logs import log
from pipeline.train.backbones.base import Backbone, Size, strided
from pipeline.train.backbones.weights import HubFault, fetch, load_file, offline
from pipeline.train.config import ModelConfig
from pipeline.train.transforms import Colours

_COARSEST = 32
"""Nearly all models halve a map five times at most; multiples of this fit those that cannot round."""
_DOES_NOT_FIT = (RuntimeError, AssertionError, ValueError, IndexError, ZeroDivisionError)


def _intermediate(model: Any, fields: Tensor) -> Tensor:
    maps = model.forward_intermediates(fields, indices=1, norm=True, output_fmt="NCHW", intermediates_only=True)
    last: Tensor = maps[-1]
    return last


READERS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "channels first": lambda model, fields: model.forward_features(fields),
    "channels last": lambda model, fields: model.forward_features(fields).permute(0, 3, 1, 2),
    "tokens": _intermediate,
    "vector": lambda model, fields: model(fields)[:, :, None, None],
}
"""How features are taken: as a map B × C × h × w; a model without a map gives its pooled vector as one cell."""


@dataclass(frozen=True)
class Plan:
    """How a model is built for a size of map, and how its features are read."""

    name: str
    options: dict[str, Any]
    padded: Size
    multiple: int
    """Sides of maps are padded to multiples of this."""
    reader: str
    width: int
    size: Size
    unused: frozenset[str]
    """Parameters that the features do not depend on, such as a norm after timm's own pooling."""


class Zoo(Backbone):
    """A timm model; maps are padded with 0 (the training mean) at the end of rows and columns where needed."""

    def __init__(self, model: nn.Module, plan: Plan) -> None:
        """Keep the model; parameters without influence are frozen, so that no optimizer waits for their gradient."""
        super().__init__(plan.width, plan.size)
        self.model, self.plan = model, plan
        self.colours = _colours(model)
        for name, parameter in model.named_parameters():
            if name in plan.unused:
                parameter.requires_grad_(False)

    def forward(self, fields: Tensor) -> Tensor:
        """Return the feature map."""
        rows, columns = (-side % self.plan.multiple for side in fields.shape[2:])
        if rows or columns:
            fields = F.pad(fields, (0, columns, 0, rows))
        return READERS[self.plan.reader](self.model, fields)


def build_zoo(name: str, channels: int, size: Size, config: ModelConfig, own: Sequence[str]) -> Zoo:
    """Return timm's model ``name`` for maps of ``channels`` fields and ``size`` (rows, columns).

    Raises:
        InputError: timm has no such name, the maps are too small for it, or the weights do not fit.
        EnvironmentFault: its weights could not be fetched.
    """
    check_name(name, own)
    model, options = _meta_model(name, {"in_chans": channels, "num_classes": 0, "drop_path_rate": config.drop_path})
    reason = ""
    for side in dict.fromkeys((_patch(model), _COARSEST)):
        padded = (strided(size, side)[0] * side, strided(size, side)[1] * side)
        try:
            plan = _plan(name, *_meta_model(name, {**options, "img_size": padded}), padded, side)
            return _build(plan, channels, size, config, own)
        except _DOES_NOT_FIT as error:
            if _out_of_memory(error):
                raise
            reason = str(error).split("\n")[0][:120]
    raise InputError(
        f"train.model.backbone: {name!r} cannot take maps of {size[0]} × {size[1]} cells ({reason}); "
        "choose another backbone, such as resnet18, or a finer grid"
    )


def _build(plan: Plan, channels: int, size: Size, config: ModelConfig, own: Sequence[str]) -> Zoo:
    if config.pretrained is True:
        model = fetch(plan.name, plan.options)
    else:
        model = timm.create_model(plan.name, **plan.options)
    if isinstance(config.pretrained, str):
        load_file(model, config.pretrained, channels)
    backbone = Zoo(model, plan)
    with torch.no_grad():  # a trial, because indices are not checked on the meta device
        backbone.eval()(torch.zeros(1, channels, *size))
    weights = "hub" if config.pretrained is True else "file" if config.pretrained else "random"
    known = plan.name if plan.name not in own else f"timm/{plan.name}"
    backbone.facts = {"backbone": known, "weights": weights, "fallback": False, "reason": ""}
    return backbone.train()


def build_stand_in(
    name: str, asked: str, channels: int, size: Size, config: ModelConfig, own: Sequence[str], reason: str
) -> Zoo:
    """Return the backbone ``name`` in place of ``asked``, whose weights could not be fetched; say so loudly.

    Its own pretrained weights are used if they are on this machine, random ones otherwise.
    """
    try:
        with offline():
            backbone = build_zoo(name, channels, size, config, own)
    except HubFault:
        backbone = build_zoo(name, channels, size, config.model_copy(update={"pretrained": False}), own)
    weights = "its pretrained weights" if backbone.facts["weights"] == "hub" else "RANDOM weights"
    log.warning("FALLBACK: training %s with %s, NOT %s as asked for. %s", name, weights, asked, reason)
    backbone.facts |= {"fallback": True, "reason": reason}
    return backbone


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _colours(model: Any) -> Colours | None:
    """Return what timm notes of the images that the model's weights were trained on."""
    mean, std = (model.pretrained_cfg.get(key) or () for key in ("mean", "std"))
    return Colours(tuple(mean), tuple(std)) if len(mean) == len(std) == 3 else None


def check_name(name: str, own: Sequence[str], setting: str = "train.model.backbone") -> None:
    """Check that timm has a model (and weights) of that name.

    Raises:
        InputError: it has not; tells names like it.
    """
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise InputError(
            f"{setting}: unknown name {name!r}{near(name, [*own, *timm.list_models()])} "
            f"Allowed: {', '.join(own)}, or a name of timm.list_models()"
        )
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")] if tag else []
    if tag not in ("", *tags):
        raise InputError(f"{setting}: {architecture!r} has no weights {tag!r}; it has {shorten(tags, 10) or 'none'}")


def _meta_model(name: str, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the model without memory, and those of ``options`` that it knows."""
    options = dict(options)
    while True:
        try:
            with torch.device("meta"):
                return timm.create_model(name, **options), options
        except TypeError as error:
            unknown = [key for key in ("img_size", "drop_path_rate") if f"'{key}'" in str(error) and key in options]
            if not unknown:
                raise
            del options[unknown[0]]


def _patch(model: Any) -> int:
    """Return the side of the patches that a model cuts a map into, 1 if its first convolution overlaps."""
    first = model.pretrained_cfg.get("first_conv")
    module = model.get_submodule(first) if isinstance(first, str) and first else None
    if isinstance(module, nn.Conv2d) and module.kernel_size == module.stride:
        return int(module.stride[0])
    return 1


def _plan(name: str, model: Any, options: dict[str, Any], padded: Size, multiple: int) -> Plan:
    """Try the model on one map and note how its features are read."""
    model.eval()
    fields = torch.empty((1, options["in_chans"], *padded), device="meta")
    reader = _reader(model, fields)
    maps = READERS[reader](model, fields)
    named = [(key, value) for key, value in model.named_parameters() if value.requires_grad]
    slopes = torch.autograd.grad(maps.sum(), [value for _, value in named], allow_unused=True)
    unused = frozenset(key for (key, _), slope in zip(named, slopes, strict=True) if slope is None)
    size = (int(maps.shape[2]), int(maps.shape[3]))
    return Plan(name, options, padded, multiple, reader, int(maps.shape[1]), size, unused)


def _reader(model: Any, fields: Tensor) -> str:
    features = model.forward_features(fields)
    if isinstance(features, Tensor) and features.ndim == 4:
        if features.shape[1] == model.num_features:
            return "channels first"
        if features.shape[3] == model.num_features:
            return "channels last"
    try:
        return "tokens" if _intermediate(model, fields).ndim == 4 else "vector"
    except (AttributeError, TypeError, *_DOES_NOT_FIT):
        return "vector"
