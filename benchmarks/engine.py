"""The engine against a bare PyTorch loop, and the simple CNN against a naive TensorDataset loop."""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.table import Figure
from pipeline.contract.store import Store
from pipeline.core.interrupt import Interrupt
from pipeline.synthetic.store import blobs, write_store
from pipeline.train.assemble import assemble
from pipeline.train.batches import epoch_order
from pipeline.train.checkpoint import Progress
from pipeline.train.config import ModelConfig, OptimizerConfig, ScheduleConfig, TrainConfig
from pipeline.train.engine import Parts, train_epoch
from pipeline.train.losses import build_loss
from pipeline.train.model import build_model
from pipeline.train.optimizers import build_optimizer

DAYS, CHANNELS, POINTS, CLASSES, BATCH, ROUNDS = 600, 12, 41, 15, 128, 26
COMMAND = "python -m benchmarks engine"


class _Silent:
    def checkpoint(self, progress: Progress) -> None: ...
    def epoch(self, progress: Progress, entry: dict[str, float], improved: bool) -> None: ...
    def alive(self, progress: Progress) -> None: ...


def measure() -> list[Figure]:
    """Return the ratios, each over alternating rounds."""
    with tempfile.TemporaryDirectory() as folder:
        grid, target = blobs(DAYS, CHANNELS, POINTS, CLASSES)
        store = Store(write_store(Path(folder) / "store", grid, target, splits=(0.9, 0.1, 0.0)))
        return [_against_bare(store), *_against_naive(store)]


def _config(**more: object) -> TrainConfig:
    plain = {"optimizer": OptimizerConfig(), "schedule": ScheduleConfig(name="none"), "batch_size": BATCH}
    return TrainConfig.model_validate({**plain, **more})


def _engine_epoch(parts: Parts, config: TrainConfig, epoch: int) -> None:
    train_epoch(parts, config, Progress(epoch=epoch), _Silent(), Interrupt())


def _against_bare(store: Store) -> Figure:
    config = _config()
    parts = assemble(config, store)
    model, step = _bare(config, store)
    inputs, target = _tensors(store)
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    count = len(target)

    def bare(epoch: int) -> None:
        order = torch.from_numpy(epoch_order(config.seed, epoch, count, None))
        model.train()
        for start in range(0, count, BATCH):
            index = order[start : start + BATCH]
            step(inputs[index], target[index])

    engine_time, bare_time = _race(lambda epoch: _engine_epoch(parts, config, epoch), bare)
    return Figure(
        f"engine, simple CNN, {DAYS}×{CHANNELS}×{POINTS}×{POINTS}",
        f"{count / engine_time:.0f} samples/s",
        f"bare PyTorch loop over tensors in memory, same model, batch and {torch.get_num_threads()} threads: "
        f"{count / bare_time:.0f} samples/s",
        f"{bare_time / engine_time:.3f}",
        COMMAND,
    )


def _against_naive(store: Store) -> list[Figure]:
    """Compare with a TensorDataset + DataLoader loop over the textbook CNN: one thread, float32."""
    threads = torch.get_num_threads()
    config = _config()
    parts = assemble(config, store)
    inputs, target = _tensors(store)
    loader = DataLoader(TensorDataset(inputs, target), batch_size=BATCH, shuffle=True)
    model = _textbook_cnn()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4)
    loss_function = nn.BCEWithLogitsLoss()

    def naive(epoch: int) -> None:
        torch.set_num_threads(1)
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = loss_function(model(x), y)
            loss.backward()
            optimizer.step()
            loss.item()

    figures = []
    for used in sorted({1, threads}):

        def ours(epoch: int, used: int = used) -> None:
            torch.set_num_threads(used)
            _engine_epoch(parts, config, epoch)

        our_time, naive_time = _race(ours, naive)
        figures.append(
            Figure(
                f"engine, simple CNN, {used} thread(s)",
                f"{len(target) / our_time:.0f} samples/s",
                f"naive TensorDataset loop, 1 thread, float32: {len(target) / naive_time:.0f} samples/s",
                f"{naive_time / our_time:.2f}",
                COMMAND,
            )
        )
    torch.set_num_threads(threads)
    return figures


def _race(left: Callable[[int], None], right: Callable[[int], None]) -> tuple[float, float]:
    """Return the median seconds of an epoch of each, over alternating rounds after two to warm up.

    The rounds change places, so that what else the machine does falls on both alike.
    """
    taken: tuple[list[float], list[float]] = ([], [])
    for epoch in range(ROUNDS):
        for number, run in enumerate((left, right)) if epoch % 2 else ((1, right), (0, left)):
            began = time.perf_counter()
            run(epoch)
            if epoch > 1:
                taken[number].append(time.perf_counter() - began)
    return statistics.median(taken[0]), statistics.median(taken[1])


def _bare(config: TrainConfig, store: Store) -> tuple[nn.Module, Callable[[torch.Tensor, torch.Tensor], None]]:
    model = build_model(ModelConfig(), dict(store.spec.inputs), CLASSES).to(memory_format=torch.channels_last)
    optimizer = build_optimizer(config.optimizer, model)
    loss = build_loss(config.loss, torch.ones(CLASSES), DAYS)

    def step(x: torch.Tensor, y: torch.Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(model({"grid": x}), y).mean().backward()
        optimizer.step()

    return model, step


def _textbook_cnn() -> nn.Module:
    """Return the guide's CNN as one would first write it."""
    layers: list[nn.Module] = []
    for before, after in ((CHANNELS, 32), (32, 64), (64, 64)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25)]
    head = [nn.Flatten(), nn.Linear(1024, 512), nn.ReLU(), nn.Dropout(0.5), nn.Linear(512, CLASSES)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), *head)


def _tensors(store: Store) -> tuple[torch.Tensor, torch.Tensor]:
    rows = store.fold().train
    return torch.from_numpy(store.rows("grid").read(rows)), torch.from_numpy(store.target[rows]).float()
