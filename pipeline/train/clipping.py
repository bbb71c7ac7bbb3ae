"""What is done to gradients between backward and step: unscaled, recorded, clipped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from pipeline.train.config import AgcConfig, TrainConfig

_TINY = 1e-6
"""Smallest gradient norm that is divided by."""


def gradient_steps(
    config: TrainConfig, fabric: Fabric, module: nn.Module, optimizer: Optimizer, records: Sequence[Callable[[], None]]
) -> list[Callable[[], None]]:
    """Return what happens after every backward pass, in order.

    Args:
        config: of the run.
        fabric: whose precision may have scaled the loss.
        module: the bare model.
        optimizer: the bare optimizer.
        records: look at the gradients before they are clipped.
    """
    steps = [*records]
    if config.agc.enabled:
        parameters = clipped_parameters(module)
        steps.append(lambda: adaptive_clip(parameters, config.agc))
    if config.clip_norm > 0:
        steps.append(lambda: clip_norm(optimizer, config.clip_norm))
    return [lambda: fabric.strategy.precision.unscale_gradients(optimizer), *steps] if steps else []


def clip_norm(optimizer: Optimizer, most: float) -> None:
    """Scale all gradients together so that their norm is at most ``most``."""
    parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
    nn.utils.clip_grad_norm_(parameters, max_norm=most, error_if_nonfinite=False)


def clipped_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that adaptive clipping is about: all but the head's (Brock et al. 2021, section 4.1)."""
    return [value for name, value in module.named_parameters() if not name.startswith("head.")]


@torch.no_grad()
def adaptive_clip(parameters: Iterable[nn.Parameter], config: AgcConfig) -> None:
    """Scale the gradient of each unit down to ``clip_factor`` · max(‖weights‖, ``eps``) (Brock et al. 2021, eq. 3).

    A unit is a row of a matrix or the kernel of an output channel; a vector is one unit. As timm's
    ``adaptive_clip_grad``.
    """
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is None:
            continue
        most = unit_norm(parameter).clamp_(min=config.eps).mul_(config.clip_factor)
        norm = unit_norm(gradient)
        gradient.copy_(torch.where(norm < most, gradient, gradient * (most / norm.clamp(min=_TINY))))


def unit_norm(values: Tensor) -> Tensor:
    """Return the norm of each unit, in a shape that multiplies ``values``."""
    axes = tuple(range(1, values.ndim)) or None
    norm: Tensor = torch.linalg.vector_norm(values, dim=axes, keepdim=axes is not None)
    return norm
