"""Gradient norms over an epoch, parameter by parameter on the device, and by block for the record."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.core.errors import InputError
from pipeline.train.config import GradientsConfig
from pipeline.train.stages import local_names

Row = dict[str, float]

AGGREGATIONS: dict[str, Callable[[NDArray[np.float64]], float]] = {
    "median": lambda values: float(np.median(values)),
    "mean": lambda values: float(np.mean(values)),
    "max": lambda values: float(np.max(values)),
    "rms": lambda values: float(np.sqrt(np.mean(values**2))),
}


class GradientTrace:
    """Sums of gradient norms over the steps of an epoch, without waiting for the device until the epoch ends.

    A parameter's value is the mean norm over the steps in which it had a finite gradient; a block's is taken over its
    parameters. Frozen parameters have none.
    """

    def __init__(self, config: GradientsConfig, module: nn.Module) -> None:
        """Choose the parameters and their blocks.

        Raises:
            InputError: every parameter is excluded.
        """
        names = local_names(module)
        excluded = [re.compile(pattern) for pattern in config.exclude_patterns]
        chosen = {
            name: value
            for name, value in module.named_parameters()
            if value.requires_grad and not any(pattern.search(names[name]) for pattern in excluded)
        }
        if not chosen:
            raise InputError("train.gradients.exclude_patterns: no parameter is left; exclude less")
        self._parameters = list(chosen.values())
        shown = [name if name.startswith("head.") else names[name] for name in chosen]
        self.columns = [block(name) if config.group_by_block else name for name in shown]
        self._aggregate = AGGREGATIONS[config.aggregation_method]
        self._every, self._due = config.record_frequency, False
        self._place: list[int] = []
        self._index: Tensor | slice = slice(None)
        device = self._parameters[0].device
        self._sum = torch.zeros(len(chosen), dtype=torch.float64, device=device)
        self._count = torch.zeros(len(chosen), dtype=torch.float64, device=device)

    def begin(self, epoch: int, step: int) -> None:
        """Note that training is at ``step`` of ``epoch`` (both from 0); an epoch that begins has no sums yet."""
        self._due = (epoch + 1) % self._every == 0
        if step == 0:
            self._sum.zero_()
            self._count.zero_()

    @torch.no_grad()
    def record(self) -> None:
        """Add the gradients of a step."""
        if not self._due:
            return
        place = [number for number, value in enumerate(self._parameters) if value.grad is not None]
        gradients = [self._parameters[number].grad for number in place]
        if not gradients:
            return
        norms = torch.stack(torch._foreach_norm(gradients)).double()  # type: ignore[arg-type]
        finite = norms.isfinite()
        if place != self._place:  # copied to the device only when it changes
            whole = len(place) == len(self._parameters)
            self._place, self._index = place, slice(None) if whole else torch.tensor(place, device=norms.device)
        self._sum[self._index] += torch.where(finite, norms, 0)
        self._count[self._index] += finite

    def row(self, epoch: int) -> Row | None:
        """Return the record of a finished ``epoch`` (from 1): a value a column; ``None`` if it is not due."""
        if not self._due:
            return None
        count = self._count.cpu().numpy()
        mean = np.divide(self._sum.cpu().numpy(), count, out=np.full(len(count), np.nan), where=count > 0)
        found: Row = {"epoch": epoch}
        for column in dict.fromkeys(self.columns):
            values = mean[[name == column for name in self.columns]]
            values = values[~np.isnan(values)]
            found[column] = self._aggregate(values) if len(values) else float("nan")
        return found

    def state_dict(self) -> dict[str, Tensor]:
        """Return the sums of the running epoch."""
        return {"sum": self._sum, "count": self._count}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over the sums of a running epoch, if they are of the same parameters."""
        if state and state["sum"].shape == self._sum.shape:
            self._sum.copy_(state["sum"])
            self._count.copy_(state["count"])


def block(name: str) -> str:
    """Return the block of a parameter: the first part of its name, with the number that follows (``stages.0``).

    A first part that ends with a number (``layer1``) is a block by itself; so is the head.
    """
    parts = name.split(".")
    numbered = len(parts) > 1 and parts[1].isdigit() and not parts[0][-1:].isdigit() and parts[0] != "head"
    return ".".join(parts[:2] if numbered else parts[:1])


class LastGradients:
    """The gradients of an epoch's last step, kept for histograms: one copy an epoch, in epochs that are due."""

    def __init__(self, module: nn.Module, every: int) -> None:
        """Keep them every so many epochs."""
        self._module, self._every, self._left = module, every, 0
        self.found: dict[str, Tensor] = {}

    def begin(self, epoch: int, left: int) -> None:
        """Note that ``left`` steps of ``epoch`` (from 0) are to come."""
        self._left = left if (epoch + 1) % self._every == 0 else 0
        self.found = {}

    def record(self) -> None:
        """Look at the gradients of a step."""
        self._left -= 1
        if self._left == 0:
            named = self._module.named_parameters()
            self.found = {name: value.grad.detach().clone() for name, value in named if value.grad is not None}
