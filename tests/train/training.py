"""Small trainings for tests: a store, settings, and an observer that can stop them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from pipeline.contract.store import Store
from pipeline.core.errors import Interrupted
from pipeline.core.interrupt import Interrupt
from pipeline.core.run import RunFolder
from pipeline.synthetic.store import blobs, write_store
from pipeline.train.assemble import assemble
from pipeline.train.checkpoint import Progress
from pipeline.train.config import TrainConfig
from pipeline.train.engine import Parts, fit
from pipeline.train.stage import train

STAGED = {"backbone": "resnet10t", "hidden": 0}
"""A small net of four stages with batch norms."""


def write_small(folder: Path, kind: str = "multi_label", points: int = 9, shares: tuple[float, ...] = ()) -> Path:
    """Write a store of 160 days; of ``single_label`` each has the class whose bump is the largest."""
    grid, target = blobs(160, 2, points, 3, noise=0.5)
    if kind == "single_label":
        chosen = np.random.default_rng(5).integers(0, 3, 160)
        target = np.eye(3, dtype=np.uint8)[chosen]
        axis = np.linspace(0, 1, points)
        centres = np.random.default_rng(1).random((3, 2))
        bumps = np.stack([np.exp(-((axis[:, None] - y) ** 2 + (axis[None] - x) ** 2) / 0.02) for y, x in centres])
        noise = np.random.default_rng(6).standard_normal(grid.shape)
        grid = (bumps[chosen][:, None] + 0.5 * noise).astype(np.float32)
    write_store(folder, grid, target, *([shares] if shares else []))
    path = folder / "store.json"
    spec = json.loads(path.read_text())
    spec["target"]["kind"] = kind
    path.write_text(json.dumps(spec))
    return folder


def config(**more: object) -> TrainConfig:
    small = {"backbone": "simple", "hidden": 16}
    plain = {"epochs": 3, "batch_size": 16, "threads": 1, "device": "cpu", "model": small}
    return TrainConfig.model_validate(plain | more)


@dataclass
class Watcher:
    """Keeps the entries, and stops the run after a number of steps if asked to."""

    interrupt: Interrupt = field(default_factory=Interrupt)
    stop_after: int | None = None
    steps: int = 0
    entries: list[dict[str, float]] = field(default_factory=list)
    improved: list[bool] = field(default_factory=list)
    saved: list[tuple[int, int]] = field(default_factory=list)

    def checkpoint(self, progress: Progress) -> None:
        self.saved.append((progress.epoch, progress.step))

    def epoch(self, progress: Progress, entry: dict[str, float], improved: bool) -> None:
        self.entries.append(entry)
        self.improved.append(improved)

    def alive(self, progress: Progress) -> None:
        self.steps += 1
        if self.steps == self.stop_after:
            self.interrupt.reason = "test"


def trained(store: Store, settings: TrainConfig) -> tuple[dict[str, torch.Tensor], Watcher, Progress]:
    parts, watcher, progress = assemble(settings, store), Watcher(), Progress()
    fit(parts, settings, progress, watcher, watcher.interrupt)
    return parts.module.state_dict(), watcher, progress


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def run_of(
    settings: TrainConfig, store: Path, folder: Path, on_epoch: Callable[[Path], None] | None = None
) -> tuple[RunFolder, Progress]:
    """Train as the job does, in a run folder."""
    run = RunFolder(folder)
    run.begin("x: 1\n")
    return run, train(settings, store, run, Interrupt(), folder.parent, on_epoch)


def half_way(parts: Parts, settings: TrainConfig, steps: int) -> Progress:
    """Train until ``steps`` steps are done."""
    progress, watcher = Progress(), Watcher(stop_after=steps)
    try:
        fit(parts, settings, progress, watcher, watcher.interrupt)
    except Interrupted:
        return progress
    raise AssertionError("the training was over before")
