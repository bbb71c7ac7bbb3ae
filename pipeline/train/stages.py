"""The stages of a model: which parameters belong to the backbone's shallow and deep parts, which to the head.

They come from the model's own description: ``stages()`` of our backbones, ``group_matcher`` and ``feature_info`` of
timm's models.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any, cast

import numpy as np
from torch import nn

from pipeline.train.backbones.base import Backbone

MOST = 4
"""Stages of a model that does not say how coarse its maps are: as many as residual networks have."""
HEAD_ALIAS = "fc"
"""A classifier's usual name, by which patterns may mean our ``head``."""


def stages(module: nn.Module) -> list[list[str]]:
    """Return the names of the backbones' trainable parameters, shallowest stage first; ``[]`` without a backbone.

    What comes before the first stage (the stem) belongs to it, what comes after the last (norms, a final
    convolution) to the last. Several backbones are put side by side so that their deepest stages meet.
    """
    trainable = {name for name, value in module.named_parameters() if value.requires_grad}
    each = []
    for path, backbone in backbones(module):
        local = [[name for name in stage if path + name in trainable] for stage in backbone_stages(backbone)]
        each.append([[path + name for name in stage] for stage in local if stage])
    depth = max((len(one) for one in each), default=0)
    found: list[list[str]] = [[] for _ in range(depth)]
    for one in each:
        for place, stage in enumerate(one, start=depth - len(one)):
            found[place] += stage
    return found


def backbones(module: nn.Module) -> Iterator[tuple[str, Backbone]]:
    """Yield the outermost backbones inside ``module`` with the prefix of their parameters' names."""
    done: tuple[str, ...] = ()
    for path, inner in module.named_modules():
        if isinstance(inner, Backbone) and not (done and path.startswith(done)):
            prefix = f"{path}." if path else ""
            done = (*done, prefix)
            yield prefix, inner


def backbone_stages(backbone: nn.Module) -> list[list[str]]:
    """Return the names of a backbone's parameters by stage, shallowest first, each name once."""
    described = getattr(backbone, "stages", None)
    if callable(described):
        found = cast(list[list[str]], described())
    elif isinstance(getattr(backbone, "model", None), nn.Module):
        found = [[f"model.{name}" for name in stage] for stage in timm_stages(backbone.model)]
    else:
        found = _parts(_child_units(backbone))
    _check(backbone, found)
    return found


def timm_stages(model: Any) -> list[list[str]]:
    """Return the stages of a timm model: one for each resolution of its maps below a half, else four equal parts."""
    units = _matched_units(model) if hasattr(model, "group_matcher") else _child_units(model)
    ends = sorted(set(_ends(model, units)))
    if len(ends) < 2:
        return [units[0] + first if number == 0 else first for number, first in enumerate(_parts(units[1:]))] or units
    starts = [0, *(end + 1 for end in ends[:-1])]
    return [list(chain(*units[start:stop])) for start, stop in zip(starts, [*starts[1:], len(units)], strict=True)]


def _matched_units(model: Any) -> list[list[str]]:
    from timm.models import group_parameters  # here, as only timm's models need it and it takes a second to import

    return [list(names) for names in group_parameters(model, model.group_matcher(coarse=True)).values()]


def _ends(model: Any, units: list[list[str]]) -> Iterator[int]:
    """Yield the last unit of each resolution, as timm tells where its feature maps are taken."""
    info = getattr(model, "feature_info", None) or []
    last: dict[int, str] = {level["reduction"]: level["module"] for level in getattr(info, "info", info)}
    unit_of = {name: number for number, unit in enumerate(units) for name in unit}
    for reduction, path in last.items():
        place = _unit_at(model, path, unit_of) if reduction > 2 else None
        if place is not None:
            yield place


def _unit_at(model: nn.Module, path: str, unit_of: dict[str, int]) -> int | None:
    """Return the unit that the module at ``path`` belongs to; an activation to that of the layers before it."""
    inside = [unit for name, unit in unit_of.items() if name.startswith(f"{path}.")]
    if inside:
        return max(inside)
    before: int | None = None
    for name, module in model.named_modules():
        if name == path:
            return before
        own = [unit_of[f"{name}.{key}" if name else key] for key, _ in module.named_parameters(recurse=False)]
        before = max([*own, *([] if before is None else [before])], default=before)
    return None


def _child_units(module: nn.Module) -> list[list[str]]:
    """Return the parameters of each child with weights, norms joined to what comes before them."""
    prefix, here = "", module
    while len(list(here.children())) == 1 and not list(here.parameters(recurse=False)):
        name, here = next(here.named_children())
        prefix += f"{name}."
    units: list[list[str]] = []
    own = [f"{prefix}{name}" for name, _ in here.named_parameters(recurse=False)]
    for name, child in _opened(here):
        names = [f"{prefix}{name}.{key}" for key, _ in child.named_parameters()]
        small = all(value.ndim <= 1 for value in child.parameters())
        if names and small and units:
            units[-1] += names
        elif names:
            units.append(names)
    return [own + units[0], *units[1:]] if units else [own] if own else []


def _opened(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the children, those of lists and sequences in their place."""
    for name, child in module.named_children():
        if isinstance(child, nn.Sequential | nn.ModuleList):
            yield from ((f"{name}.{inner}", grandchild) for inner, grandchild in child.named_children())
        else:
            yield name, child


def _parts(units: list[list[str]]) -> list[list[str]]:
    """Join units to at most four stages of consecutive units."""
    parts = np.array_split(np.arange(len(units)), min(MOST, len(units))) if units else []
    return [list(chain(*(units[number] for number in part))) for part in parts]


def _check(backbone: nn.Module, found: list[list[str]]) -> None:
    """Stop where a description misses a parameter or names one twice: a fault of the program."""
    named = sorted(name for stage in found for name in stage)
    if named != sorted(name for name, _ in backbone.named_parameters()):
        raise RuntimeError(f"{type(backbone).__name__}: its stages do not hold each of its parameters once")


def local_names(module: nn.Module) -> dict[str, str]:
    """Return the name of each parameter inside the part it belongs to, by its full name.

    ``layer1.0.conv1.weight`` in a backbone, ``fc.0.weight`` in the head, ``series.…`` in the encoder of that input.
    With several backbones the name of the input comes first.
    """
    parts = [(f"{path}model." if hasattr(part, "model") else path, path) for path, part in backbones(module)]
    found = {}
    for name, _ in module.named_parameters():
        home = next((inner for inner, path in parts if name.startswith(path)), None)
        if home is not None:
            inside = name.removeprefix(home) if name.startswith(home) else name
            found[name] = inside if len(parts) == 1 else f"{_input_name(home)}.{inside}"
        elif name.startswith("head."):
            found[name] = f"{HEAD_ALIAS}.{name.removeprefix('head.')}"
        else:
            found[name] = name.removeprefix("encoders.")
    return found


def _input_name(path: str) -> str:
    """Return the input that a prefix such as ``encoders.grid.backbone.`` tells of."""
    parts = path.split(".")
    return parts[1] if parts[0] == "encoders" and len(parts) > 2 else parts[0]
