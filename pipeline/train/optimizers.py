"""Optimizers by name, with weight decay only where it makes sense."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from pipeline.train.config import OptimizerConfig

Groups = list[dict[str, Any]]

OPTIMIZERS: dict[str, Callable[[Groups, OptimizerConfig], Optimizer]] = {
    "adamw": lambda groups, config: AdamW(groups, lr=config.lr, betas=config.betas, foreach=True),
    "adam": lambda groups, config: Adam(groups, lr=config.lr, betas=config.betas, foreach=True),
    "sgd": lambda groups, config: SGD(
        groups, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0, foreach=True
    ),
}
"""``foreach`` is the default on CUDA; on CPUs it takes a third of the time of the loop that is the default there."""


def build_optimizer(config: OptimizerConfig, model: nn.Module) -> Optimizer:
    """Return the optimizer over the parameters of ``model`` that are trained.

    Biases, norms, other one-dimensional parameters and those that a module lists in ``no_weight_decay()`` (timm's
    convention: positions, tokens) are not decayed: shrinking them regularises nothing.
    """
    exempt = _exempt(model)
    named = {name: value for name, value in model.named_parameters() if value.requires_grad}
    decayed = [value for name, value in named.items() if value.ndim > 1 and name not in exempt]
    kept = [value for name, value in named.items() if value.ndim <= 1 or name in exempt]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]
    return OPTIMIZERS[config.name]([group for group in groups if group["params"]], config)


def _exempt(model: nn.Module) -> set[str]:
    names: set[str] = set()
    for prefix, module in model.named_modules():
        listed = getattr(module, "no_weight_decay", None)
        if callable(listed):
            names |= {f"{prefix}.{name}" if prefix else name for name in listed()}
    return names
