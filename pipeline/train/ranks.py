"""The ranks that share one training: what each does of a batch, and how they agree. Without torch until there are two.

The batch stays what the settings say. Each rank takes a slice of it, gradients are added up over the ranks, and every
decision is one that all of them know of.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import InputError
from pipeline.core.interrupt import Interrupt
from pipeline.core.launch import Launch, launched
from pipeline.core.run import RunFolder
from pipeline.train.config import TrainConfig

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Share:
    """Samples ``start`` … ``stop`` of a batch of ``whole``."""

    start: int
    stop: int
    whole: int
    counts: bool = True
    """False where a rank has no sample left and borrows the first, so that it takes part; it adds nothing."""

    def of(self, part: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the share of a list as long as the batch."""
        return part[self.start : self.stop]


class Ranks:
    """One process that trains alone; :class:`pipeline.train.group.Group` is one of several."""

    def __init__(self, launch: Launch | None = None) -> None:
        """Note which rank this is."""
        self.launch = launch or Launch()

    @property
    def count(self) -> int:
        """How many there are."""
        return self.launch.count

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes."""
        return self.launch.leads

    def share(self, whole: int) -> Share:
        """Return what this rank does of a batch of ``whole`` samples: slices in the order of the ranks."""
        edges = [whole // self.count * rank + min(whole % self.count, rank) for rank in range(self.count + 1)]
        start, stop = edges[self.launch.rank : self.launch.rank + 2]
        return Share(start, stop, whole) if start < stop else Share(0, 1, whole, counts=False)

    def told(self, value: Any) -> Any:
        """Return the ``value`` of the leading rank (numbers, texts, lists and tables of them) on all."""
        return value

    def same_run(self, run: RunFolder) -> RunFolder:
        """Return the run folder that the leading rank found."""
        return RunFolder(Path(self.told(str(run.path))))

    def agreed(self, due: bool, interrupt: Interrupt) -> bool:
        """Return whether the leading rank finds something due; a request to stop of one rank becomes that of all."""
        return due

    def add_up(self, module: nn.Module, loss: Tensor) -> Tensor:
        """Put the sum over the ranks into each gradient; return that of ``loss``."""
        return loss

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over the ranks."""
        return values

    def as_leading(self, module: nn.Module) -> None:
        """Give all ranks the weights and buffers of the leading one."""

    def as_whole(self, share: Share) -> AbstractContextManager[None]:
        """Have a forward pass in training see its slice as part of the whole batch while the block runs."""
        return nullcontext()

    def wait(self) -> None:
        """Wait until all ranks are here."""


@contextmanager
def joined(config: TrainConfig) -> Iterator[Ranks]:
    """Join the ranks of this training, if the process was started as one of several, for as long as the block runs.

    Raises:
        InputError: settings that several ranks do not share, or an environment that does not say where they meet.
        EnvironmentFault: the others did not come.
    """
    launch = launched()
    if launch.count == 1:
        yield Ranks()
        return
    check_shared(config, launch.count)
    from pipeline.train.group import Group  # torch: not where one process finds its run finished

    with Group(launch, config).open() as group:
        yield group


def check_shared(config: TrainConfig, count: int) -> None:
    """Raise ``InputError`` for settings that ``count`` ranks cannot train by."""
    if config.compile:
        raise InputError(f"train.compile: not with several ranks (there are {count}); set it to false, or use one")
    size = config.batch_size // config.accumulate
    if size < count:
        raise InputError(
            f"train.batch_size: {size} samples at a time (batch_size/accumulate) cannot be shared by {count} ranks; "
            "use fewer ranks or a larger batch"
        )
