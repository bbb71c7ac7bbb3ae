"""What a run keeps: its states as checkpoints, its scores as tables, its best weights."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.contract.store import Store
from pipeline.core.artifact import write_json
from pipeline.core.config import signature
from pipeline.core.errors import EnvironmentFault, InputError, IsobarError
from pipeline.core.logs import event, log
from pipeline.core.run import Session
from pipeline.train.assemble import identity, input_names
from pipeline.train.checkpoint import Progress, check_identity, keep_best, save_checkpoint, save_tensors
from pipeline.train.config import TrainConfig
from pipeline.train.engine import Parts, first_samples, has_ended
from pipeline.train.history import rows, write_metrics, write_trace
from pipeline.train.sections.start import CHECKPOINTS, LAST
from pipeline.train.start import Beginning, check_tensors, take_weights
from pipeline.train.tensorboard import Board

MODEL_FORMAT = 1
BEST = "model.best.pt"
OnEpoch = Callable[[Path], None]
AfterEpoch = Callable[[Progress], None]
_SHARE = 10
"""Drawing after an epoch may take one part in this many of the time."""


class Silent:
    """In place of a session: where another rank holds the run's folder."""

    def beat(self, force: bool = False, **facts: Any) -> None:
        """Note nothing."""


@dataclass
class Keeper:
    """Keeps what the loop brings forth in the run folder (the loop's ``Observer``)."""

    parts: Parts
    config: TrainConfig
    store: Store
    folder: Path
    session: Session | Silent
    on_epoch: OnEpoch | None = None
    after_epoch: AfterEpoch | None = None
    began: float = field(default_factory=time.monotonic)
    _board: Board | None = field(default=None, init=False)
    _drawn: float = field(default=-1e9, init=False)
    _cost: float = field(default=0.0, init=False)

    @property
    def last(self) -> Path:
        """The checkpoint that a run goes on from."""
        return self.folder / CHECKPOINTS / LAST

    def begin(self, beginning: Beginning) -> Progress:
        """Put the states of a checkpoint in place, or the first weights, and note what is trained.

        Raises:
            InputError: they do not fit this run.
        """
        if beginning.states is not None:
            progress = self._restore(beginning, beginning.states)
            event(f"going on from epoch {progress.epoch + 1}, step {progress.step + 1}")
        else:
            progress = Progress()
            size = sum(p.numel() for p in self.parts.module.parameters())
            shared = f" by {self.parts.ranks.count} ranks" if self.parts.ranks.count > 1 else ""
            event(
                f"training {self.config.model.backbone} with {size:,} parameters on {self.parts.fabric.device}{shared}"
            )
            if beginning.weights is not None:
                self._take(beginning.weights)
        self.session.beat(force=True, model=_facts(self.parts, beginning))
        self._begin_board(progress)
        return progress

    @property
    def _fixed_rate(self) -> float | None:
        """What is told as the rate where groups have rates of their own."""
        return None if self.config.rates.by == "one" else self.config.optimizer.lr

    def _begin_board(self, progress: Progress) -> None:
        wanted = self.config.tensorboard
        if wanted.scalars or wanted.histograms or wanted.images or wanted.graph:
            self._board = Board(self.folder, wanted, rows(progress.history, self._fixed_rate))
            if self._board.fresh and (wanted.images or wanted.graph):
                self._board.begin(self.parts.module, first_samples(self.parts, self.config, max(wanted.images, 1)))

    def _take(self, path: Path) -> None:
        parts = self.parts
        take_weights(parts.module, path, identity(self.config, self.store), self.config.start_head)
        if parts.ema is not None:
            parts.ema.restart()

    def _restore(self, beginning: Beginning, states: dict[str, Any]) -> Progress:
        path = beginning.path
        check_identity(path, states, identity(self.config, self.store))
        check_tensors(states["model"], self.parts.module.state_dict(), path, "train.resume")
        self.parts.module.load_state_dict(states["model"])
        self._restore_movement(path, states)
        progress = Progress(**states["progress"])
        if beginning.foreign:
            self._adopt(progress, path, states)
        elif beginning.named != LAST:
            progress.resumed = beginning.named
        elif progress.step == 0 and len(progress.history) > progress.adopted:
            # A kill may have come between last.ckpt and the name of the best.
            self._keep_best(progress)
        return progress

    def _restore_movement(self, path: Path, states: dict[str, Any]) -> None:
        """Put in place how the weights move; what another run did not have begins here."""
        parts = self.parts
        try:
            parts.optimizer.load_state_dict(states["optimizer"])
        except ValueError:
            raise InputError(
                f"train.resume: {path} was trained with other groups of parameters (train.rates); keep those, or start "
                "anew from its weights with train.start_from"
            ) from None
        if states["schedule"].keys() == parts.schedule.state().keys():
            parts.schedule.load(states["schedule"])
        if states["precision"]:
            parts.fabric.strategy.precision.load_state_dict(states["precision"])
        if parts.ema is not None and states["ema"]:
            parts.ema.load_state_dict(states["ema"])
        elif parts.ema is not None:
            parts.ema.restart()
        parts.scores.load_state_dict(states.get("scores", {}))
        if parts.trace is not None:
            parts.trace.load_state_dict(states.get("gradients", {}))

    def _adopt(self, progress: Progress, path: Path, states: dict[str, Any]) -> None:
        """Go on where another run was: its epochs count, but the best is chosen among those to come."""
        if progress.step and states.get("batch_size") != self.config.batch_size:
            raise InputError(
                f"train.resume: {path} lies inside an epoch with batches of {states.get('batch_size')}; use the same "
                "train.batch_size, or a checkpoint from the end of an epoch"
            )
        progress.best, progress.best_epoch, progress.stale, progress.stop_value = None, 0, 0, None
        progress.adopted, progress.gradients = len(progress.history), []
        progress.finished = has_ended(self.config, progress)
        if progress.finished:
            raise InputError(
                f"train.resume: {path} has {progress.epoch} epochs behind it and train.epochs is {self.config.epochs}; "
                "raise train.epochs"
            )

    def checkpoint(self, progress: Progress) -> None:
        """Write ``last.ckpt``."""
        parts = self.parts
        states = {
            "model": parts.module.state_dict(),
            "optimizer": parts.optimizer.state_dict(),
            "schedule": parts.schedule.state(),
            "ema": parts.ema.state_dict() if parts.ema is not None else {},
            "precision": parts.fabric.strategy.precision.state_dict(),
            "scores": parts.scores.state_dict(),
            "gradients": parts.trace.state_dict() if parts.trace is not None else {},
            "facts": parts.facts,
            "batch_size": self.config.batch_size,
        }
        save_checkpoint(self.last, progress, identity(self.config, self.store), states)

    def epoch(self, progress: Progress, entry: dict[str, float], improved: bool) -> None:
        """Write tables and checkpoint, and the weights if they are the best so far; then have pictures drawn."""
        best = {"best_epoch": progress.best_epoch, "select": self.config.select, "best": progress.best}
        # Before last.ckpt: a kill between them repeats the epoch and writes the same weights and scores again.
        if improved:
            self._write_best(entry)
        write_json(self.folder / "history.json", {"epochs": progress.history, **best})
        if self.config.export_metrics:
            write_metrics(self.folder, progress.history, self._fixed_rate)
        write_trace(self.folder, progress.gradients)
        if self._board is not None:
            last = self.parts.last_gradients
            (row,) = rows(progress.history[-1:], self._fixed_rate)
            self._board.epoch(row, self.parts.module, last.found if last is not None else {})
        self.checkpoint(progress)
        self._keep_best(progress)
        mark = " *" if improved else ""
        event(_line(entry, self.config.epochs) + mark, **entry)
        self.session.beat(force=True, epoch=progress.epoch, **best)
        if not progress.finished:
            self._draw(force=False)
        if self.after_epoch is not None:
            self.after_epoch(progress)

    def close(self) -> None:
        """Have the pictures of the finished training drawn, also where the last epoch was an earlier process's.

        Raises:
            EnvironmentFault, OSError: they cannot be written; the run is not done then, and the same command ends it.
        """
        self._draw(force=True)

    def _keep_best(self, progress: Progress) -> None:
        mine = progress.history[progress.adopted :]
        keep_best(self.last, mine, self.config.select, self.config.keep_checkpoints)

    def _draw(self, force: bool) -> None:
        """Have pictures drawn: after every epoch, or where epochs are short seldom enough to cost a tenth."""
        now, drawable = time.monotonic(), self.config.export_metrics or self.config.gradients.enabled
        if self.on_epoch is None or not drawable or not (force or now - self._drawn >= _SHARE * self._cost):
            return
        try:
            self.on_epoch(self.folder)
        except (IsobarError, OSError, ValueError, RuntimeError, KeyError) as error:
            if force and isinstance(error, EnvironmentFault | OSError):
                raise
            # Hours of training must not end over a picture that the next epoch draws again.
            log.warning("pictures of epoch: %s: %s", type(error).__name__, error)
        self._drawn = time.monotonic()
        self._cost = self._drawn - now

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
            "facts": parts.facts,
            "inputs": {name: _input(spec.inputs[name]) for name in input_names(self.config, self.store)},
            "identity": identity(self.config, self.store),
            "scores": {name: value for name, value in entry.items() if name != "seconds"},
        }
        save_tensors(self.folder / BEST, value)


def _facts(parts: Parts, beginning: Beginning) -> dict[str, Any]:
    """Return what ``run.json`` tells of the model; frozen parameters are those that are never trained."""
    never = set() if parts.unfreezing is None else {id(p) for p in parts.unfreezing.never}
    sizes = {True: 0, False: 0}
    for value in parts.module.parameters():
        sizes[value.requires_grad and id(value) not in never] += value.numel()
    return {
        "parameters": {"trained": sizes[True], "frozen": sizes[False]},
        "rates": parts.named_rates,
        **parts.facts,
        **beginning.told(),
    }


def _input(spec: Any) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in vars(spec).items()}


def _line(entry: dict[str, float], epochs: int) -> str:
    wanted = ("train_loss", "val_loss", "val_map", "val_f1", "val_accuracy")
    scores = "  ".join(f"{name} {entry[name]:.4f}" for name in wanted if name in entry)
    rates = [value for name, value in entry.items() if name.startswith("lr_")] or [entry["lr"]]
    rate = " to ".join(f"{value:.2e}" for value in sorted({min(rates), max(rates)}))
    return f"epoch {entry['epoch']:>3.0f}/{epochs}  {scores}  lr {rate}  {entry['seconds']:.1f} s"
