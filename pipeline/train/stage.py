"""The train stage: a store and settings in; weights, history, scale and logits out, in a run folder."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.contract.predictions import Predictions
from pipeline.contract.store import Store
from pipeline.core.artifact import write_json
from pipeline.core.config import signature
from pipeline.core.interrupt import Interrupt
from pipeline.core.logs import event
from pipeline.core.run import RunFolder, Session
from pipeline.train.assemble import assemble, identity, input_names, what_is_wanted
from pipeline.train.batches import open_source
from pipeline.train.checkpoint import Progress, keep_best, load_checkpoint, load_tensors, save_checkpoint, save_tensors
from pipeline.train.config import TrainConfig
from pipeline.train.engine import Parts, fit, predict_source

MODEL_FORMAT = 1


def train(config: TrainConfig, store_folder: Path, run: RunFolder, interrupt: Interrupt) -> Progress:
    """Train on the store until the run is finished, going on from its last checkpoint if there is one.

    Test days are only predicted here, with the weights that validation chose; no score of them is computed.

    Raises:
        InputError: settings do not fit the store, or the checkpoint does not belong to this run.
        Interrupted: a signal or ``max_time`` stopped the run at a safe point.
    """
    # Denormal numbers slow a CPU step many times and change no score. A setting of the whole process, so here.
    torch.set_flush_denormal(True)
    store = Store(store_folder)
    with run.session("train", epochs=config.epochs, select=config.select) as session:
        parts = assemble(config, store)
        keeper = _Keeper(parts, config, store, run.path, session)
        progress = keeper.restore()
        interrupt.limit(None if config.max_time is None else 60 * config.max_time)
        fit(parts, config, progress, keeper, interrupt)
        best = load_tensors(run.path / "model.best.pt")
        parts.module.load_state_dict(best["model"])
        save_tensors(run.path / "model.pt", best)
        write_json(run.path / "norm.json", _norm(config, store, progress))
        _write_predictions(parts, config, store, run.path)
        session.beat(force=True, epoch=progress.epoch, best_epoch=progress.best_epoch, best=progress.best)
    return progress


@dataclass
class _Keeper:
    """Keeps what the loop brings forth in the run folder (the loop's ``Observer``)."""

    parts: Parts
    config: TrainConfig
    store: Store
    folder: Path
    session: Session
    began: float = field(default_factory=time.monotonic)

    @property
    def last(self) -> Path:
        return self.folder / "checkpoints" / "last.ckpt"

    def restore(self) -> Progress:
        """Load the last checkpoint if there is one."""
        if not self.last.exists():
            size = sum(p.numel() for p in self.parts.module.parameters())
            event(f"training {self.config.model.backbone} with {size:,} parameters on {self.parts.fabric.device}")
            return Progress()
        progress, states = load_checkpoint(self.last, identity(self.config, self.store))
        parts = self.parts
        parts.module.load_state_dict(states["model"])
        parts.optimizer.load_state_dict(states["optimizer"])
        parts.schedule.load(states["schedule"])
        parts.fabric.strategy.precision.load_state_dict(states["precision"])
        if parts.ema is not None:
            parts.ema.load_state_dict(states["ema"])
        if progress.step == 0 and 0 < progress.best_epoch == progress.epoch:
            # A kill may have come between last.ckpt and the name of the best.
            keep_best(self.last, progress.history[-1])
        event(f"going on from epoch {progress.epoch + 1}, step {progress.step + 1}")
        return progress

    def checkpoint(self, progress: Progress) -> None:
        """Write ``last.ckpt``."""
        parts = self.parts
        states = {
            "model": parts.module.state_dict(),
            "optimizer": parts.optimizer.state_dict(),
            "schedule": parts.schedule.state(),
            "ema": parts.ema.state_dict() if parts.ema is not None else {},
            "precision": parts.fabric.strategy.precision.state_dict(),
        }
        save_checkpoint(self.last, progress, identity(self.config, self.store), states)

    def epoch(self, progress: Progress, entry: dict[str, float], improved: bool) -> None:
        """Write history and checkpoint, and the weights if they are the best so far."""
        best = {"best_epoch": progress.best_epoch, "select": self.config.select, "best": progress.best}
        # Before last.ckpt: a kill between them repeats the epoch and writes the same weights and scores again.
        if improved:
            self._write_best(entry)
        write_json(self.folder / "history.json", {"epochs": progress.history, **best})
        self.checkpoint(progress)
        if improved:
            keep_best(self.last, entry)
        mark = " *" if improved else ""
        event(_line(entry, self.config.epochs) + mark, **entry)
        self.session.beat(force=True, epoch=progress.epoch, **best)

    def alive(self, progress: Progress) -> None:
        """Note a sign of life, now and then; and once, how long the start took."""
        if progress.step == 1 and progress.epoch == 0 and not progress.history:
            event(f"first step after {time.monotonic() - self.began:.1f} s of preparation")
        self.session.beat(epoch=progress.epoch, step=progress.step)

    def _write_best(self, entry: dict[str, float]) -> None:
        parts, spec = self.parts, self.store.spec
        if parts.ema is not None:
            with parts.ema.swapped():
                weights = {name: value.clone() for name, value in parts.module.state_dict().items()}
        else:
            weights = parts.module.state_dict()
        value = {
            "format": MODEL_FORMAT,
            "model": weights,
            "settings": signature(self.config),
            "inputs": {name: _input(spec.inputs[name]) for name in input_names(self.config, self.store)},
            "identity": identity(self.config, self.store),
            "scores": {name: value for name, value in entry.items() if name != "seconds"},
        }
        save_tensors(self.folder / "model.best.pt", value)


def _input(spec: Any) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in vars(spec).items()}


def _line(entry: dict[str, float], epochs: int) -> str:
    scores = "  ".join(f"{name} {entry[name]:.4f}" for name in ("train_loss", "val_loss", "val_map", "val_f1"))
    return f"epoch {entry['epoch']:>3.0f}/{epochs}  {scores}  lr {entry['lr']:.2e}  {entry['seconds']:.1f} s"


def _norm(config: TrainConfig, store: Store, progress: Progress) -> dict[str, Any]:
    """Return the scale (physical units) and what else is needed to prepare new data like the training data."""
    fold = store.fold(config.fold)
    dates = store.column("date")
    inputs = {
        name: {
            "channels": list(store.spec.inputs[name].channels),
            "units": list(store.spec.inputs[name].units),
            **{key: store.scale[config.fold][name][key] for key in ("mean", "std")},
        }
        for name in input_names(config, store)
    }
    years = {split: sorted({date[:4] for date in dates[getattr(fold, split)]}) for split in ("train", "val", "test")}
    return {
        "inputs": inputs,
        "classes": list(store.spec.target.classes),
        "years": years,
        "fold": config.fold,
        "selection_metric": config.select,
        "best_epoch": progress.best_epoch,
        "best": progress.best,
    }


def _write_predictions(parts: Parts, config: TrainConfig, store: Store, folder: Path) -> None:
    """Write the logits of validation and test days with the chosen weights."""
    fold = store.fold(config.fold)
    for split in ("val", "test"):
        rows = getattr(fold, split)
        if len(rows) == 0:
            continue
        source = open_source(store, what_is_wanted(config, store, parts.fabric.device), rows, config.memory_gb / 4)
        logits, _ = predict_source(parts, config, source)
        Predictions(
            logits=logits.astype(np.float32),
            target=store.target[rows],
            ids=store.column("id")[rows],
            dates=store.column("date")[rows],
            kinds=store.column("kind")[rows],
            classes=np.array(store.spec.target.classes),
            target_kind=store.spec.target.kind,
            split=split,
            store=store.spec.version,
        ).save(folder / f"predictions_{split}.npz")
