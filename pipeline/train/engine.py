"""The one training loop. It knows batches, a model, a loss and a position; nothing of maps, charts or labels."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.core.errors import Interrupted, IsobarError
from pipeline.core.interrupt import Interrupt
from pipeline.train.batches import Batch, Indices, Inputs, Source, epoch_order
from pipeline.train.checkpoint import Progress
from pipeline.train.config import TrainConfig
from pipeline.train.ema import Ema
from pipeline.train.metrics import is_better, selection_value, validation_scores, watched_metric
from pipeline.train.schedules import Schedule

Augment = Callable[[Inputs, Tensor, torch.Generator], tuple[Inputs, Tensor]]
Loss = Callable[[Tensor, Tensor], Tensor]
"""(logits B × K, target B × K) → loss of each sample, B."""


@dataclass
class Parts:
    """What was chosen by name at assembly."""

    fabric: Fabric
    model: nn.Module
    """As set up by Fabric: what is called."""
    module: nn.Module
    """The bare module: whose weights are saved."""
    optimizer: Any
    schedule: Schedule
    loss: Loss
    val_loss: Loss
    """As ``loss``, without label smoothing."""
    augment: Augment | None
    ema: Ema | None
    train: Source
    val: Source
    val_target: NDArray[np.uint8]
    weights: NDArray[np.float64] | None
    """Of the training samples, for the weighted sampler."""


class Observer(Protocol):
    """Who keeps what the loop brings forth."""

    def checkpoint(self, progress: Progress) -> None:
        """Save the position and all states."""

    def epoch(self, progress: Progress, entry: dict[str, float], improved: bool) -> None:
        """Save and tell the scores of a finished epoch; ``improved`` if its weights are the best so far."""

    def alive(self, progress: Progress) -> None:
        """Note a sign of life."""


def fit(parts: Parts, config: TrainConfig, progress: Progress, observer: Observer, interrupt: Interrupt) -> None:
    """Train from ``progress`` to the end, or to the first safe point after a request to stop.

    Raises:
        Interrupted: a stop was asked for; a checkpoint of the exact step is on disk.
        IsobarError: the loss is no longer finite.
    """
    while not progress.finished:
        train_epoch(parts, config, progress, observer, interrupt)
        try:
            logits, val_loss = _validate(parts, config, interrupt)
        except Interrupted:
            # Here and not where it was noticed: there the averaged weights stood in for the trained ones.
            observer.checkpoint(progress)
            raise
        entry = _close_epoch(parts, config, progress, val_loss, validation_scores(logits, parts.val_target))
        observer.epoch(progress, entry, improved=progress.best_epoch == progress.epoch)


def train_epoch(
    parts: Parts, config: TrainConfig, progress: Progress, observer: Observer, interrupt: Interrupt
) -> None:
    """Train from the step of ``progress`` to the end of its epoch; raises ``Interrupted`` as :func:`fit` does."""
    order = epoch_order(config.seed, progress.epoch, len(parts.train), parts.weights)
    steps = steps_of(order, config.batch_size)
    micro = [part for step in steps[progress.step :] for part in micro_batches(step, config.accumulate)]
    stream = parts.train.batches(micro)
    parts.model.train()
    loss_sum = torch.tensor(progress.loss_sum, dtype=torch.float64, device=parts.fabric.device)
    began, saved = time.monotonic() - progress.seconds, time.monotonic()
    for position in range(progress.step, len(steps)):
        loss_sum += train_step(parts, config, stream, len(steps[position]), progress.epoch, position, len(steps))
        progress.step, progress.samples = position + 1, progress.samples + len(steps[position])
        due = time.monotonic() - saved > 60 * config.checkpoint_minutes
        if due or interrupt.requested():
            progress.loss_sum, progress.seconds = float(loss_sum), time.monotonic() - began
            saved = time.monotonic()
            observer.checkpoint(progress)
            interrupt.check(f"epoch {progress.epoch + 1}, step {progress.step} of {len(steps)} is saved")
        observer.alive(progress)
    progress.loss_sum, progress.seconds = float(loss_sum), time.monotonic() - began


def train_step(
    parts: Parts, config: TrainConfig, stream: Iterator[Batch], size: int, epoch: int, position: int, steps: int
) -> Tensor:
    """Do one optimizer step over its micro-batches; return the summed loss of its samples (no synchronisation)."""
    seed = step_seed(config.seed, epoch, position)
    torch.manual_seed(seed)
    rate = config.optimizer.lr * parts.schedule.factor(epoch * steps + position)
    for group in parts.optimizer.param_groups:
        group["lr"] = rate
    total = torch.zeros((), dtype=torch.float64, device=parts.fabric.device)
    done = 0
    while done < size:
        batch = next(stream)
        inputs, target = batch.inputs, batch.target
        if parts.augment is not None:
            generator = torch.Generator(device=target.device).manual_seed(seed + done)
            inputs, target = parts.augment(inputs, target, generator)
        loss = parts.loss(parts.model(inputs), target).sum()
        parts.fabric.backward(loss / size)
        total += loss.detach()
        done += len(target)
    if config.clip_norm > 0:
        parts.fabric.clip_gradients(parts.model, parts.optimizer, max_norm=config.clip_norm, error_if_nonfinite=False)
    parts.optimizer.step()
    parts.optimizer.zero_grad(set_to_none=True)
    if parts.ema is not None:
        parts.ema.update(epoch * steps + position)
    return total


def _validate(parts: Parts, config: TrainConfig, interrupt: Interrupt) -> tuple[NDArray[np.float32], float]:
    """Return validation logits (N × K) and the mean loss, with the averaged weights if there are any."""

    def check() -> None:
        # A signal stops at the next batch. A time limit does not: a run resumed here must get through to go on.
        if interrupt.reason is not None:
            interrupt.check("the epoch is trained and saved, its validation comes next")

    if parts.ema is None:
        return predict_source(parts, config, parts.val, check)
    with parts.ema.swapped():
        return predict_source(parts, config, parts.val, check)


@torch.no_grad()
def predict_source(
    parts: Parts, config: TrainConfig, source: Source, check: Callable[[], None] = lambda: None
) -> tuple[NDArray[np.float32], float]:
    """Return the logits (N × K) of every sample of ``source`` and their mean loss."""
    parts.model.eval()
    size = config.batch_size // config.accumulate
    rows = np.arange(len(source))
    logits: list[Tensor] = []
    loss_sum = torch.zeros((), dtype=torch.float64, device=parts.fabric.device)
    for batch in source.batches([rows[start : start + size] for start in range(0, len(rows), size)]):
        check()
        out = parts.model(batch.inputs).float()
        loss_sum += parts.val_loss(out, batch.target).sum()
        logits.append(out.cpu())
    if not logits:
        return np.empty((0, 0), np.float32), float("nan")
    return torch.cat(logits).numpy(), float(loss_sum) / len(source)


def _close_epoch(
    parts: Parts, config: TrainConfig, progress: Progress, val_loss: float, scores: dict[str, float]
) -> dict[str, float]:
    """Turn the running epoch of ``progress`` into a finished one; return its line of the history."""
    steps = progress.step
    entry = {
        "epoch": progress.epoch + 1,
        "lr": config.optimizer.lr * parts.schedule.factor(progress.epoch * steps + steps - 1),
        "train_loss": progress.loss_sum / max(progress.samples, 1),
        "val_loss": val_loss,
        **scores,
        "seconds": round(progress.seconds, 2),
    }
    if not np.isfinite(entry["train_loss"]) or not np.isfinite(val_loss):
        raise IsobarError(
            f"train: the loss is {entry['train_loss']} (validation {val_loss}) in epoch {progress.epoch + 1}; "
            "lower train.optimizer.lr, set train.clip_norm=1 or use train.precision=32"
        )
    value = selection_value(config.select, entry)
    watched = entry[watched_metric(config.select)]
    progress.epoch, progress.step, progress.samples = progress.epoch + 1, 0, 0
    progress.loss_sum = progress.seconds = 0.0
    progress.history.append(entry)
    if is_better(config.select, value, progress.best):
        progress.best, progress.best_epoch = value, progress.epoch
    _judge_patience(config, progress, watched)
    parts.schedule.observe(watched)
    progress.finished = progress.epoch >= config.epochs or 0 < config.early_stopping.patience <= progress.stale
    return entry


def _judge_patience(config: TrainConfig, progress: Progress, value: float) -> None:
    if is_better(watched_metric(config.select), value, progress.stop_value, config.early_stopping.min_delta):
        progress.stop_value, progress.stale = value, 0
    else:
        progress.stale += 1


def steps_of(order: Indices, size: int) -> list[Indices]:
    """Divide an epoch into batches; a single sample left over joins the last (batch normalisation needs two)."""
    starts = list(range(0, len(order), size))
    if len(starts) > 1 and len(order) - starts[-1] == 1:
        starts.pop()
    return [order[start:end] for start, end in zip(starts, [*starts[1:], len(order)], strict=True)]


def micro_batches(step: Indices, parts: int) -> list[Indices]:
    """Divide a batch into micro-batches of two samples or more."""
    return np.array_split(step, max(1, min(parts, len(step) // 2)))


def step_seed(seed: int, epoch: int, step: int) -> int:
    """Return the seed of all randomness in one step (dropout, augmentation), so that no generator state is saved."""
    return int(np.random.SeedSequence([seed, epoch, step]).generate_state(1, np.uint64)[0] >> np.uint64(2))
