"""Groups of parameters: each trained parameter in exactly one, each group with a name and a rate of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import accumulate

from torch import nn

from pipeline.core.choose import near
from pipeline.core.errors import InputError, shorten
from pipeline.train.config import OptimizerConfig, RatesConfig
from pipeline.train.sections.optimisation import NO_LAYER_RATES
from pipeline.train.stages import local_names, stages

ALL, HEAD, OTHER = "all", "head", "other"


@dataclass(frozen=True)
class Group:
    """Parameters that learn at one rate."""

    name: str
    """``all``; ``head``, ``stage1`` (shallowest), ``stage2`` …; or the regular expression, and ``other``."""
    rate: float
    """Base rate, which the schedule multiplies."""
    parameters: tuple[str, ...]


def build_groups(rates: RatesConfig, optimizer: OptimizerConfig, module: nn.Module) -> list[Group]:
    """Divide the parameters of ``module`` that are trained.

    Raises:
        InputError: a pattern of ``layer_rates`` decides about no parameter, or there is none.
    """
    names = [name for name, value in module.named_parameters() if value.requires_grad]
    if rates.by == "stages":
        return _by_stage(rates, names, stages(module))
    if rates.by == "layers":
        return _by_layer(rates.layer_rates, optimizer.lr, names, local_names(module))
    return [Group(ALL, optimizer.lr, tuple(names))]


def _by_stage(rates: RatesConfig, names: list[str], found: list[list[str]]) -> list[Group]:
    """Head at its rate; the deepest stage at the backbone's, each shallower one at ``decay`` of the next deeper."""
    inside = {name for stage in found for name in stage}
    head = Group(HEAD, rates.head, tuple(name for name in names if name not in inside))
    falling = accumulate(found, lambda rate, _: rate * rates.decay, initial=rates.backbone)
    steps = list(falling)[: len(found)][::-1]
    levels = [
        Group(f"stage{number}", rate, tuple(stage))
        for number, (rate, stage) in enumerate(zip(steps, found, strict=True), start=1)
    ]
    return [group for group in (*levels, head) if group.parameters]


def _by_layer(wanted: dict[str, float], rate: float, names: list[str], local: dict[str, str]) -> list[Group]:
    """Give each parameter to the first pattern that matches its local or its full name from the start."""
    if not wanted:
        raise InputError(NO_LAYER_RATES)
    taken: dict[str, list[str]] = {pattern: [] for pattern in wanted}
    rest: list[str] = []
    matched: set[str] = set()
    for name in names:
        fits = [pattern for pattern in wanted if re.match(pattern, local[name]) or re.match(pattern, name)]
        matched |= set(fits)
        (taken[fits[0]] if fits else rest).append(name)
    for pattern, mine in taken.items():
        if not mine:
            raise InputError(_unused(pattern, pattern in matched, [local[name] for name in names]))
    groups = [Group(pattern, wanted[pattern], tuple(mine)) for pattern, mine in taken.items()]
    return groups + ([Group(OTHER, rate, tuple(rest))] if rest else [])


def _unused(pattern: str, shadowed: bool, names: list[str]) -> str:
    if shadowed:
        return (
            f"train.rates.layer_rates: all that {pattern!r} matches is taken by patterns before it; "
            "write the more specific pattern first"
        )
    layers = _layers(names)
    return (
        f"train.rates.layer_rates: {pattern!r} matches the start of no trained parameter's name"
        f"{near(pattern.replace(chr(92), ''), layers)} There are: {shorten(_top(layers), 12)}"
    )


def _layers(names: list[str]) -> list[str]:
    """Return the names and all their beginnings, as ``layer1`` and ``layer1.0``."""
    return list(dict.fromkeys(prefix for name in names for prefix in accumulate(name.split("."), "{}.{}".format)))


def _top(layers: list[str]) -> list[str]:
    return [name for name in layers if "." not in name]
