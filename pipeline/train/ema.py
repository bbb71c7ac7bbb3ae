"""Exponential moving average of the weights (Polyak averaging): less noisy than the last step's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from pipeline.core.errors import InputError


class Ema:
    """The average of a module's trained parameters; buffers (statistics of batch norm) stay the module's own."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        """Start from the module's weights, which must already be on their device."""
        self._decay = decay
        self._live = {name: value for name, value in module.named_parameters() if value.requires_grad}
        self._average = {name: value.detach().clone() for name, value in self._live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the weights after ``step`` (counted from 0 over all epochs).

        The decay is (1 + step)/(10 + step) until that exceeds the setting, so that the first weights are forgotten.
        """
        decay = min(self._decay, (1 + step) / (10 + step))
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        average([*self._average.values()], [*self._live.values()], None)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Put the average into the module; on leaving, the weights are back."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, parameter in self._live.items():
            parameter.data, self._average[name] = self._average[name], parameter.data

    def restart(self) -> None:
        """Start again from the module's present weights."""
        self.load_state_dict({name: value.detach() for name, value in self._live.items()})

    def state_dict(self) -> dict[str, Tensor]:
        """Return the average by parameter name."""
        return dict(self._average)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over an average.

        Raises:
            InputError: it is of other parameters.
        """
        if state.keys() != self._average.keys():
            raise InputError("checkpoint: the averaged weights are of another model; start a run of its own with --new")
        for name, value in state.items():
            self._average[name].copy_(value)
