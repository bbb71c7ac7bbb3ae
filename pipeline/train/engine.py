"""The one training loop. It knows batches, a model, a loss and a position; nothing of maps, charts or labels."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
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
from pipeline.train.gradients import GradientTrace, LastGradients
from pipeline.train.metrics import TrainScores, is_better, selection_value, validation_scores, watched_metric
from pipeline.train.ranks import Ranks, Share
from pipeline.train.schedules import Schedule
from pipeline.train.seeding import seed_generators
from pipeline.train.unfreezing import Unfreezing

Augment = Callable[[Inputs, Tensor, torch.Generator], tuple[Inputs, Tensor]]
Loss = Callable[[Any, Tensor], Tensor]
"""(what the model returned, target B × K) → loss of each sample, B."""


@dataclass
class Parts:
    """What was chosen by name at assembly."""

    fabric: Fabric
    model: nn.Module
    """As set up by Fabric: what is called."""
    module: nn.Module
    """The bare module: whose weights are saved."""
    optimizer: Any
    rates: list[float]
    """Base rate of each of the optimizer's groups."""
    named_rates: dict[str, float]
    """The same by the name of the group, where there is more than one."""
    schedule: Schedule
    loss: Loss
    val_loss: Loss
    """As ``loss``, without label smoothing."""
    augment: Augment | None
    ema: Ema | None
    train: Source
    val: Source
    val_target: NDArray[np.uint8]
    target_kind: str
    scores: TrainScores
    """Of the running epoch."""
    weights: NDArray[np.float64] | None
    """Of the training samples, for the weighted sampler."""
    gradient_steps: list[Callable[[], None]]
    """What is done to the gradients between backward and step, in order."""
    unfreezing: Unfreezing | None
    trace: GradientTrace | None
    facts: dict[str, Any]
    """What the model is, where settings alone do not say."""
    last_gradients: LastGradients | None = None
    ranks: Ranks = field(default_factory=Ranks)
    """Who trains it together."""
    augments_apart: bool = True
    """Whether augmentation of a part of a batch is that part of the augmented batch; else ranks augment the whole."""

    def rows_of(self, part: Indices) -> Indices:
        """Return what this rank reads of a training batch."""
        return self.ranks.share(len(part)).of(part) if self.augments_apart else part


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
            _save(parts, progress, observer)
            raise
        scores = validation_scores(logits, parts.val_target, parts.target_kind)
        entry = _close_epoch(parts, config, progress, val_loss, scores)
        observer.epoch(progress, entry, improved=progress.best_epoch == progress.epoch)


def train_epoch(
    parts: Parts, config: TrainConfig, progress: Progress, observer: Observer, interrupt: Interrupt
) -> None:
    """Train from the step of ``progress`` to the end of its epoch; raises ``Interrupted`` as :func:`fit` does."""
    order = epoch_order(config.seed, progress.epoch, len(parts.train), parts.weights)
    steps = steps_of(order, config.batch_size)
    micro = [part for step in steps[progress.step :] for part in micro_batches(step, config.accumulate)]
    stream = parts.train.batches([parts.rows_of(part) for part in micro])
    _begin(parts, progress, len(steps))
    loss_sum = torch.tensor(progress.loss_sum, dtype=torch.float64, device=parts.fabric.device)
    began, saved = time.monotonic() - progress.seconds, time.monotonic()
    for position in range(progress.step, len(steps)):
        loss_sum += train_step(parts, config, stream, len(steps[position]), progress.epoch, position, len(steps))
        progress.step, progress.samples = position + 1, progress.samples + len(steps[position])
        interrupt.requested()  # which notes that the time is up
        due = parts.ranks.agreed(time.monotonic() - saved > 60 * config.checkpoint_minutes, interrupt)
        if due or interrupt.reason is not None:
            progress.loss_sum, progress.seconds = float(loss_sum), time.monotonic() - began
            saved = time.monotonic()
            _save(parts, progress, observer)
            interrupt.check(f"epoch {progress.epoch + 1}, step {progress.step} of {len(steps)} is saved")
        observer.alive(progress)
    progress.loss_sum, progress.seconds = float(loss_sum), time.monotonic() - began


def _save(parts: Parts, progress: Progress, observer: Observer) -> None:
    """Have the exact step saved; no rank goes on (or ends, which may end the others) before that is done."""
    parts.scores.collect()
    observer.checkpoint(progress)
    parts.ranks.wait()


def first_samples(parts: Parts, config: TrainConfig, count: int) -> Inputs:
    """Return what the model gets of the first ``count`` samples of the first epoch."""
    order = epoch_order(config.seed, 0, len(parts.train), parts.weights)
    batch = next(iter(parts.train.batches([order[:count]])))
    if parts.augment is None:
        return batch.inputs
    generator = torch.Generator(device=batch.target.device).manual_seed(step_seed(config.seed, 0, 0))
    return parts.augment(batch.inputs, batch.target, generator)[0]


def _begin(parts: Parts, progress: Progress, steps: int) -> None:
    """Set everything that depends on the epoch, and on whether it begins or goes on."""
    parts.model.train()
    if parts.unfreezing is not None:
        parts.unfreezing.apply(progress.epoch)
    if parts.trace is not None:
        parts.trace.begin(progress.epoch, progress.step)
    if parts.last_gradients is not None:
        parts.last_gradients.begin(progress.epoch, steps - progress.step)
    parts.scores.begin(progress.step)


def train_step(
    parts: Parts, config: TrainConfig, stream: Iterator[Batch], size: int, epoch: int, position: int, steps: int
) -> Tensor:
    """Do one optimizer step over its micro-batches; return the summed loss of its samples (no synchronisation)."""
    seed = step_seed(config.seed, epoch, position)
    seed_generators(seed, parts.fabric.device)
    for group, base in zip(parts.optimizer.param_groups, parts.rates, strict=True):
        group["lr"] = parts.schedule.rate(base, epoch * steps + position)
    total = torch.zeros((), dtype=torch.float64, device=parts.fabric.device)
    done = 0
    for whole in micro_sizes(size, config.accumulate):
        share = parts.ranks.share(whole)
        total += _forward_backward(parts, next(stream), share, seed + done, size)
        done += whole
    total = parts.ranks.add_up(parts.module, total)
    for change in parts.gradient_steps:
        change()
    parts.optimizer.step()
    parts.optimizer.zero_grad(set_to_none=True)
    if parts.ema is not None:
        parts.ema.update(epoch * steps + position)
    return total


def _forward_backward(parts: Parts, batch: Batch, share: Share, seed: int, size: int) -> Tensor:
    """Add this rank's part of a micro-batch to the gradients of a step of ``size`` samples; return its summed loss."""
    inputs, target = batch.inputs, batch.target
    if parts.augment is not None:
        first = share.start if parts.augments_apart else 0
        generator = torch.Generator(device=target.device).manual_seed(seed + first)
        inputs, target = parts.augment(inputs, target, generator)
    if not parts.augments_apart:
        inputs = {name: values[share.start : share.stop] for name, values in inputs.items()}
        target = target[share.start : share.stop]
    with parts.ranks.as_whole(share):
        output = parts.model(inputs)
    loss = parts.loss(output, target).sum()
    if not share.counts:
        loss = loss * 0
    parts.fabric.backward(loss / size)
    if share.counts:
        parts.scores.add(output, target)
    return loss.detach()


def _validate(parts: Parts, config: TrainConfig, interrupt: Interrupt) -> tuple[NDArray[np.float32], float]:
    """Return validation logits (N × K) and the mean loss, with the averaged weights if there are any."""

    def check() -> None:
        # A signal stops at the next batch. A time limit does not: a run resumed here must get through to go on.
        parts.ranks.agreed(False, interrupt)
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
    batches = np.split(np.arange(len(source)), range(size, len(source), size)) if len(source) else []
    shares = [parts.ranks.share(len(rows)) for rows in batches]
    mine = [share.of(rows) for rows, share in zip(batches, shares, strict=True)]
    found = np.zeros((len(source), parts.val_target.shape[1]), np.float32)
    loss_sum = torch.zeros((), dtype=torch.float64, device=parts.fabric.device)
    waiting: list[tuple[Indices, Tensor]] = []
    for rows, share, batch in zip(mine, shares, source.batches(mine), strict=True):
        check()
        if share.counts:
            out = parts.model(batch.inputs).float()
            loss_sum += parts.val_loss(out, batch.target).sum()
            waiting.append((rows, out.cpu()))
    for rows, logits in waiting:
        found[rows] = logits.numpy()
    if parts.ranks.count > 1:  # each row is one rank's, the others have 0 there
        found = parts.ranks.total(torch.from_numpy(found)).numpy()
        loss_sum = parts.ranks.total(loss_sum)
    return found, float(loss_sum) / len(source) if len(source) else float("nan")


def _close_epoch(
    parts: Parts, config: TrainConfig, progress: Progress, val_loss: float, scores: dict[str, float]
) -> dict[str, float]:
    """Turn the running epoch of ``progress`` into a finished one; return its line of the history."""
    last = progress.epoch * progress.step + progress.step - 1
    entry = {
        "epoch": progress.epoch + 1,
        "lr": parts.schedule.rate(config.optimizer.lr, last),
        "train_loss": progress.loss_sum / max(progress.samples, 1),
        **parts.scores.result(),
        "val_loss": val_loss,
        **scores,
        **{f"lr_{name}": parts.schedule.rate(base, last) for name, base in parts.named_rates.items()},
        "seconds": round(progress.seconds, 2),
    }
    entry = dict(parts.ranks.told(entry))
    _check_finite(entry, validated=len(parts.val) > 0)
    row = parts.trace.row(progress.epoch + 1) if parts.trace is not None else None
    progress.gradients += [row] if row is not None else []
    progress.epoch, progress.step, progress.samples = progress.epoch + 1, 0, 0
    progress.loss_sum = progress.seconds = 0.0
    progress.history.append(entry)
    _judge(config, progress, entry)
    parts.schedule.observe(entry[watched_metric(config.select)])
    return entry


def _check_finite(entry: dict[str, float], validated: bool) -> None:
    if not np.isfinite(entry["train_loss"]) or (validated and not np.isfinite(entry["val_loss"])):
        raise IsobarError(
            f"train: the loss is {entry['train_loss']} (validation {entry['val_loss']}) in epoch {entry['epoch']}; "
            "lower train.optimizer.lr, set train.clip_norm=1 or use train.precision=32"
        )


def _judge(config: TrainConfig, progress: Progress, entry: dict[str, float]) -> None:
    """Decide whether the finished epoch is the best so far, and whether it is the last."""
    value = selection_value(config.select, entry)
    if is_better(config.select, value, progress.best):
        progress.best, progress.best_epoch = value, progress.epoch
    stopping = config.early_stopping
    monitor = stopping.monitor or watched_metric(config.select)
    if is_better(monitor, entry[monitor], progress.stop_value, stopping.min_delta):
        progress.stop_value, progress.stale = entry[monitor], 0
    else:
        progress.stale += 1
    progress.finished = has_ended(config, progress)


def has_ended(config: TrainConfig, progress: Progress) -> bool:
    """Tell whether ``progress`` is at the end of a training with these settings."""
    return progress.epoch >= config.epochs or 0 < config.early_stopping.patience <= progress.stale


def steps_of(order: Indices, size: int) -> list[Indices]:
    """Divide an epoch into batches; a single sample left over joins the last (batch normalisation needs two)."""
    starts = list(range(0, len(order), size))
    if len(starts) > 1 and len(order) - starts[-1] == 1:
        starts.pop()
    return [order[start:end] for start, end in zip(starts, [*starts[1:], len(order)], strict=True)]


def micro_batches(step: Indices, parts: int) -> list[Indices]:
    """Divide a batch into micro-batches of two samples or more."""
    return np.split(step, np.cumsum(micro_sizes(len(step), parts))[:-1])


def micro_sizes(samples: int, parts: int) -> list[int]:
    """Return how many samples each micro-batch has."""
    count = max(1, min(parts, samples // 2))
    return [samples // count + (number < samples % count) for number in range(count)]


def step_seed(seed: int, epoch: int, step: int) -> int:
    """Return the seed of all randomness in one step (dropout, augmentation), so that no generator state is saved."""
    return int(np.random.SeedSequence([seed, epoch, step]).generate_state(1, np.uint64)[0] >> np.uint64(2))
