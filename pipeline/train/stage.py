"""The train stage: a store and settings in; weights, history, scale and logits out, in a run folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.contract.predictions import Predictions
from pipeline.contract.store import DEFAULT_FOLD, Store
from pipeline.core.artifact import write_json
from pipeline.core.errors import EnvironmentFault
from pipeline.core.interrupt import Interrupt
from pipeline.core.logs import log
from pipeline.core.run import RunFolder, Session
from pipeline.train.assemble import assemble, input_names, what_is_wanted
from pipeline.train.batches import open_source, share_sources
from pipeline.train.checkpoint import Progress, load_tensors, save_tensors
from pipeline.train.config import TrainConfig
from pipeline.train.engine import Parts, fit, predict_source
from pipeline.train.follower import Follower
from pipeline.train.keeper import BEST, AfterEpoch, Keeper, OnEpoch, Silent
from pipeline.train.ranks import Ranks
from pipeline.train.shelf import Shelf
from pipeline.train.start import Beginning, where_to_begin


def train(
    config: TrainConfig,
    store_folder: Path,
    run: RunFolder,
    interrupt: Interrupt,
    home: Path = Path(),
    on_epoch: OnEpoch | None = None,
    after_epoch: AfterEpoch | None = None,
    opened: Store | None = None,
    ranks: Ranks | None = None,
) -> Progress:
    """Train on the store until the run is finished, going on from its last checkpoint if there is one.

    Test days are only predicted here, with the weights that validation chose; no score of them is computed.

    Args:
        config: of the run.
        store_folder: what it is trained on.
        run: where it is kept.
        interrupt: asks for a stop.
        home: where the paths of ``start_from`` and ``resume`` start.
        on_epoch: is called with the run's folder after each epoch, when all of its files are written, to draw them.
        after_epoch: is called after each epoch, when all of its files are written; what it raises ends the training,
            which the same run folder goes on with.
        opened: the store, where several trainings of one process share it (:func:`open_shared`).
        ranks: who trains it together; each of them calls this.

    Raises:
        InputError: settings do not fit the store, or the checkpoint does not belong to this run.
        Interrupted: a signal or ``max_time`` stopped the run at a safe point.
    """
    ranks = ranks or Ranks()
    store = _opened(store_folder, ranks) if opened is None else opened
    with _without_denormals(), _session(run, config, ranks) as session:
        beginning = where_to_begin(config, run.path, home)
        _check_same_beginning(beginning, ranks)
        parts = assemble(config, store, beginning.facts, ranks)
        keeper = (Keeper if ranks.leads else Follower)(parts, config, store, run.path, session, on_epoch, after_epoch)
        progress = keeper.begin(beginning)
        interrupt.limit(None if config.max_time is None else 60 * config.max_time)
        fit(parts, config, progress, keeper, interrupt)
        keeper.close()
        ranks.wait()
        best = load_tensors(run.path / BEST)
        parts.module.load_state_dict(best["model"])
        if ranks.leads:
            save_tensors(run.path / "model.pt", best)
            write_json(run.path / "norm.json", _norm(config, store, progress))
        _write_predictions(parts, config, store, run.path)
        session.beat(force=True, epoch=progress.epoch, best_epoch=progress.best_epoch, best=progress.best)
    return progress


def _opened(folder: Path, ranks: Ranks) -> Store:
    """Open the store; several ranks of a machine hold its splits in memory once together."""
    here = ranks.launch.local_count
    return open_shared(folder, here) if here > 1 else Store(folder)


@contextmanager
def _session(run: RunFolder, config: TrainConfig, ranks: Ranks) -> Iterator[Session | Silent]:
    """Hold the run's folder; of several ranks the leading one does."""
    if not ranks.leads:
        yield Silent()
        return
    more = {"ranks": ranks.count} if ranks.count > 1 else {}
    with run.session("train", epochs=config.epochs, select=config.select, **more) as session:
        yield session


def _check_same_beginning(beginning: Beginning, ranks: Ranks) -> None:
    """Check that all ranks found the checkpoint that the leading one did.

    Raises:
        EnvironmentFault: this one found another, because its node does not see the same files.
    """
    theirs, ours = ranks.told(beginning.place()), beginning.place()
    if theirs != ours:
        raise EnvironmentFault(
            f"rank {ranks.launch.rank} finds the run {ours}, the leading one {theirs}; results/ has to be on a disk "
            "that all nodes see"
        )


def open_shared(store_folder: Path, sharers: int = 1) -> Store:
    """Open a store for several trainings, which read and prepare its splits once.

    Args:
        store_folder: of the store.
        sharers: processes of this machine that open it so; they hold its splits in memory once together.
    """
    store, shelf = Store(store_folder), None
    if sharers > 1:
        try:
            shelf = Shelf(str(store_folder.resolve()), sharers)
        except OSError as error:
            log.info("no memory to share (%s): each process holds its own splits", error)
    share_sources(store, shelf)
    return store


@contextmanager
def _without_denormals() -> Iterator[None]:
    """Take denormal numbers for 0 while the block runs: they slow a CPU step many times and change no score.

    A setting of the whole process, so it is undone for whoever comes after.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _norm(config: TrainConfig, store: Store, progress: Progress) -> dict[str, Any]:
    """Return the scale (physical units) and what else is needed to prepare new data like the training data."""
    fold = store.fold(config.fold)
    dates = store.column("date")
    inputs = {
        name: {
            "channels": list(store.spec.inputs[name].channels),
            "units": list(store.spec.inputs[name].units),
            **{key: store.scale[config.fold][name][key] for key in ("mean", "std")},
            # What the store subtracts and divides by, whatever the fold: new data has to come the same way.
            "stored": {key: store.scale[DEFAULT_FOLD][name][key] for key in ("mean", "std")},
        }
        for name in input_names(config, store)
    }
    rows = {split: getattr(fold, split) for split in ("train", "val", "test")}
    years = {split: sorted({date[:4] for date in dates[chosen] if date}) for split, chosen in rows.items()}
    latitude, longitude = store.spec.latitude, store.spec.longitude
    grid = {"grid": {"latitude": list(latitude), "longitude": list(longitude)}} if latitude and longitude else {}
    return {
        "inputs": inputs,
        **grid,
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
        if not parts.ranks.leads:
            continue
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
