"""Progressive unfreezing: which stages of the backbone are trained in which epoch."""

from __future__ import annotations

from bisect import bisect_right

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from pipeline.core.errors import InputError
from pipeline.core.logs import event
from pipeline.train.config import UnfreezeConfig


class Unfreezing:
    """Freezes stages and frees them again, as a function of the epoch alone, so that any epoch can be resumed.

    A frozen parameter has no gradient, so the optimizer passes it over and its state begins when it is trained; the
    state of all others goes on. The statistics of batch norms that are frozen stand still as well.
    """

    def __init__(self, config: UnfreezeConfig, module: nn.Module, stages: list[list[str]]) -> None:
        """Note which parameters become trained when.

        Args:
            config: the epochs.
            module: the model; its parameters that are not trained at all are left alone.
            stages: names of the backbone's parameters, shallowest stage first.

        Raises:
            InputError: there are fewer stages than epochs.
        """
        if len(stages) < len(config.epochs):
            raise InputError(
                f"train.unfreeze.epochs: {len(config.epochs)} epochs, but the backbone has {len(stages)} stages; "
                + ("give as many epochs or fewer" if stages else "choose a backbone with weights, or do not unfreeze")
            )
        named = dict(module.named_parameters())
        deepest_first = stages[::-1]
        self._epochs = list(config.epochs)
        shallower = [name for stage in deepest_first[len(config.epochs) :] for name in stage]
        self._steps = [[named[name] for name in stage] for stage in deepest_first[: len(config.epochs)]]
        self.never = [named[name] for name in shallower]
        """Parameters that stay frozen to the end."""
        if config.rest == "last":
            self._steps[-1] += self.never
            self.never = []
        self._norms = _norms(module)
        self._told = -1

    def apply(self, epoch: int) -> None:
        """Set what is trained in ``epoch`` (counted from 0); call it after ``train()``, which wakes every norm."""
        reached = bisect_right(self._epochs, epoch)
        for number, parameters in enumerate([*self._steps, self.never]):
            for parameter in parameters:
                parameter.requires_grad_(number < reached)
                if number >= reached:
                    parameter.grad = None
        for norm, around in self._norms:
            if not any(parameter.requires_grad for parameter in around):
                norm.eval()
        if reached != self._told:
            self._told = reached
            frozen = sum(p.numel() for group in [*self._steps[reached:], self.never] for p in group)
            event(f"unfreezing: {reached} of {len(self._steps)} stages are trained, {frozen:,} parameters are frozen")


def _norms(module: nn.Module) -> list[tuple[nn.Module, list[nn.Parameter]]]:
    """Return each norm with running statistics, and the parameters that tell whether it is frozen.

    Those are its own, or where it has none those of the nearest module around it that has some.
    """
    found: list[tuple[nn.Module, list[nn.Parameter]]] = []
    by_path = dict(module.named_modules())
    for path, norm in by_path.items():
        if not isinstance(norm, _NormBase) or not norm.track_running_stats:
            continue
        around = path
        while around and not list(by_path[around].parameters()):
            around = around.rpartition(".")[0]
        found.append((norm, list(by_path[around].parameters())))
    return found
