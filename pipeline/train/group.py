"""Several ranks over torch.distributed: gloo between CPUs, NCCL between GPUs."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from pipeline.core.errors import EnvironmentFault, Interrupted
from pipeline.core.interrupt import CAUGHT, Interrupt
from pipeline.core.launch import Launch, meeting_point
from pipeline.core.logs import event
from pipeline.train.config import TrainConfig
from pipeline.train.ranks import Ranks, Share
from pipeline.train.whole import as_whole

_REASONS = (*CAUGHT, "max_time")
_CHUNK = 25_000_000
"""Gradients that are added up at a time."""
_LEADER_SECONDS = 20.0
"""How long a rank that ends waits for the leading one to write down how it ended."""


class Group(Ranks):
    """One of several ranks; after the loss of another, whatever they do together raises ``EnvironmentFault``."""

    def __init__(self, launch: Launch, config: TrainConfig) -> None:
        """Note who takes part, and how long one waits for another."""
        super().__init__(launch)
        self._limit = timedelta(minutes=config.ranks_timeout)
        self._cuda = config.device != "cpu" and torch.cuda.is_available()
        self._store: Any = None

    @contextmanager
    def open(self) -> Iterator[Group]:
        """Meet the others; at the end let the leading rank end first.

        Schedulers kill a step as soon as one of its ranks ends with a code other than 0.

        Raises:
            InputError: the environment does not say where.
            EnvironmentFault: they did not come within ``train.ranks_timeout``.
        """
        host, port = meeting_point()
        os.environ.update(MASTER_ADDR=host, MASTER_PORT=str(port))
        with self._together(f"meeting at {host}:{port}"):
            self._meet()
        event(f"{self.count} ranks have met at {host}:{port}")
        patience = 2.0
        try:
            yield self
            patience = _LEADER_SECONDS
            with self._together("taking leave"):
                dist.destroy_process_group()
        except Interrupted:
            patience = _LEADER_SECONDS
            _deafen()
            raise
        finally:
            self._end(patience)

    def _meet(self) -> None:
        if self._cuda:
            torch.cuda.set_device(self.launch.local_rank % torch.cuda.device_count())
        rank, count = self.launch.rank, self.count
        store, _, _ = next(rendezvous("env://", rank, count, timeout=self._limit))
        self._store = PrefixStore(f"isobar-{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
        backend = "cpu:gloo,cuda:nccl" if self._cuda else "gloo"
        dist.init_process_group(backend, store=self._store, rank=rank, world_size=count, timeout=self._limit)
        self.wait()

    def _end(self, patience: float) -> None:
        # The store lies with the leading rank (or torchrun): where that is gone, there is nothing to wait for.
        with suppress(RuntimeError):
            if self.leads:
                self._store.set("ended", "1")
            else:
                self._store.wait(["ended"], timedelta(seconds=patience))

    @contextmanager
    def _together(self, what: str = "training") -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise EnvironmentFault(
                f"rank {self.launch.rank} of {self.count}, {what}: another rank is gone or does not answer "
                f"({_sentence(error)}); what ended it is in its log; run the same command again"
            ) from error

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over the ranks."""
        with self._together():
            found = values.clone(memory_format=torch.contiguous_format)
            dist.all_reduce(found)
            return found

    def told(self, value: Any) -> Any:
        """Return the ``value`` of the leading rank on all, as JSON has it."""
        text = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        length = torch.tensor([len(text)])
        with self._together():
            dist.broadcast(length, 0)
            if not self.leads:
                text = torch.empty(int(length), dtype=torch.uint8)
            dist.broadcast(text, 0)
        return json.loads(bytes(text.tolist()))

    def agreed(self, due: bool, interrupt: Interrupt) -> bool:
        """Return whether the leading rank finds something due; a request to stop of one rank becomes that of all."""
        votes = torch.zeros(2 + len(_REASONS))
        votes[0] = due and self.leads
        if interrupt.reason is not None:
            votes[1 + (_REASONS.index(interrupt.reason) if interrupt.reason in _REASONS else len(_REASONS))] = 1
        # Apart from the gradients, between CPUs: reading an answer off a GPU would hold it up at every step.
        votes = self.total(votes)
        if interrupt.reason is None and votes[1:].any():
            named = [name for name, vote in zip(_REASONS, votes[1:], strict=False) if vote]
            interrupt.reason = f"{named[0] if named else 'a request'} (another rank)"
        return bool(votes[0])

    def add_up(self, module: nn.Module, loss: Tensor) -> Tensor:
        """Put the sum over the ranks into each gradient; return that of ``loss``.

        A parameter that no rank has a gradient of keeps none, as in one process.
        """
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        having = self.total(torch.tensor([float(parameter.grad is not None) for parameter in trained]))
        for chunk in _chunks([value for value, have in zip(trained, having.tolist(), strict=True) if have]):
            flat = torch.cat([_gradient(parameter) for parameter in chunk])
            with self._together():
                dist.all_reduce(flat)
            pieces = torch.split(flat, [parameter.numel() for parameter in chunk])
            for parameter, piece in zip(chunk, pieces, strict=True):
                if parameter.grad is None:
                    parameter.grad = torch.empty_like(parameter)
                parameter.grad.copy_(piece.view(parameter.shape))
        return self.total(loss)

    def as_leading(self, module: nn.Module) -> None:
        """Give all ranks the weights and buffers of the leading one."""
        with self._together(), torch.no_grad():
            for value in module.state_dict().values():
                found = value.contiguous()
                dist.broadcast(found, 0)
                value.copy_(found)

    def as_whole(self, share: Share) -> AbstractContextManager[None]:
        """Have a forward pass in training see its slice as part of the whole batch while the block runs."""
        return as_whole(share, self.total)

    def wait(self) -> None:
        """Wait until all ranks are here."""
        self.total(torch.zeros(1))


def _deafen() -> None:
    """Ignore requests to stop from now on: everything is saved, and the rank that ends first has the others told so.

    A scheduler would read a rank that was hit on its way out as killed, not as one that goes on another time.
    """
    for name in CAUGHT:
        signal.signal(getattr(signal, name), signal.SIG_IGN)


def _sentence(error: RuntimeError) -> str:
    """Return what gloo and NCCL say, without their place in the source before it and their advice behind."""
    told = re.sub(r"^\[\S*\] ", "", str(error)).split(". ")[0].splitlines()
    return told[0][:120] if told else type(error).__name__


def _gradient(parameter: nn.Parameter) -> Tensor:
    if parameter.grad is None:
        return torch.zeros(parameter.numel(), dtype=parameter.dtype, device=parameter.device)
    return parameter.grad.reshape(-1)


def _chunks(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    chunk: list[nn.Parameter] = []
    for parameter in parameters:
        if chunk and sum(one.numel() for one in chunk) + parameter.numel() > _CHUNK:
            yield chunk
            chunk = []
        chunk.append(parameter)
    if chunk:
        yield chunk
