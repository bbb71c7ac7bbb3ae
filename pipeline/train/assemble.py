"""Everything chosen by name, once: from settings and a store to the parts that the loop works with."""

from __future__ import annotations

import os
from typing import Any, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from torch import nn

from pipeline.contract.store import Fold, Store
from pipeline.core.errors import EnvironmentFault, InputError, shorten
from pipeline.core.logs import log
from pipeline.train.augment import build_augment
from pipeline.train.batches import Wanted, open_source, rare_class_weights, split_bytes
from pipeline.train.config import TrainConfig
from pipeline.train.ema import Ema
from pipeline.train.engine import Parts, steps_of
from pipeline.train.losses import build_loss, warn_stacked
from pipeline.train.metrics import LARGER_IS_BETTER, watched_metric
from pipeline.train.model import build_model
from pipeline.train.optimizers import build_optimizer
from pipeline.train.schedules import build_schedule

_PRECISION = {"32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def assemble(config: TrainConfig, store: Store) -> Parts:
    """Return the parts of a run.

    Raises:
        InputError: a setting does not fit the store.
        EnvironmentFault: the device asked for is not there.
    """
    fabric = start_fabric(config)
    fold = _fold(config, store)
    names = input_names(config, store)
    target = store.target[fold.train]
    torch.manual_seed(config.seed)
    module = build_model(config.model, {name: store.spec.inputs[name] for name in names}, target.shape[1])
    module.to(fabric.device)
    if config.channels_last:
        module.to(memory_format=torch.channels_last)
    optimizer = build_optimizer(config.optimizer, module)
    steps = len(steps_of(np.arange(len(fold.train)), config.batch_size))
    mode = "max" if LARGER_IS_BETTER[watched_metric(config.select)] else "min"
    positives = torch.from_numpy(target.sum(axis=0).astype(np.float32)).to(fabric.device)
    _tell_stacked(config)
    # torch.compile wraps the module; its parameters stay those of `module`, whose names the checkpoint keeps.
    called = cast(nn.Module, torch.compile(module)) if config.compile else module
    model, optimizer = fabric.setup(called, optimizer)
    wanted = what_is_wanted(config, store, fabric.device)
    train, val = (
        open_source(store, wanted, rows, budget)
        for rows, budget in zip((fold.train, fold.val), _budgets(config, store, names, fold), strict=True)
    )
    return Parts(
        fabric=fabric,
        model=model,
        module=module,
        optimizer=optimizer,
        schedule=build_schedule(config.schedule, config.epochs, steps, mode),
        loss=build_loss(config.loss, positives, len(target)),
        val_loss=build_loss(config.loss.model_copy(update={"label_smoothing": 0.0}), positives, len(target)),
        augment=build_augment(config.augment, _mask_channels(store, names)),
        ema=Ema(module, config.ema.decay) if config.ema.decay > 0 else None,
        train=train,
        val=val,
        val_target=store.target[fold.val],
        weights=rare_class_weights(target) if config.sampler == "weighted" else None,
    )


def start_fabric(config: TrainConfig) -> Fabric:
    """Choose device, precision and threads.

    Raises:
        EnvironmentFault: CUDA was asked for and there is none.
    """
    _set_threads(config.threads)
    cuda = torch.cuda.is_available()
    if config.device == "cuda" and not cuda:
        raise EnvironmentFault("train.device: 'cuda' was asked for, but torch sees no CUDA device; use 'auto' or 'cpu'")
    accelerator = "cuda" if cuda and config.device != "cpu" else "cpu"
    if accelerator == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    elif config.precision == "fp16":
        raise EnvironmentFault("train.precision: fp16 needs a CUDA device; use bf16 or 32 on this machine")
    # One process, whatever scheduler variables are set: Fabric would otherwise refuse a Slurm job of several tasks.
    return Fabric(
        accelerator=accelerator,
        devices=1,
        precision=_PRECISION[config.precision],  # type: ignore[arg-type]
        plugins=[LightningEnvironment()],
    )


def input_names(config: TrainConfig, store: Store) -> list[str]:
    """Return the inputs that the model sees.

    Raises:
        InputError: the store lacks one that is named.
    """
    have = list(store.spec.inputs)
    if config.inputs == ["ALL"]:
        return have
    unknown = [name for name in config.inputs if name not in have]
    if unknown:
        raise InputError(f"train.inputs: the store has no {shorten(unknown)}; it has {shorten(have)}")
    return list(config.inputs)


def what_is_wanted(config: TrainConfig, store: Store, device: torch.device) -> Wanted:
    """Return what the model of this run sees of the store."""
    return Wanted(tuple(input_names(config, store)), config.fold, device, config.channels_last)


def identity(config: TrainConfig, store: Store) -> dict[str, Any]:
    """Return what weights belong to: the channels of each input and the classes."""
    inputs = {name: list(store.spec.inputs[name].channels) for name in input_names(config, store)}
    return {"channels": inputs, "classes": list(store.spec.target.classes), "store": store.spec.version}


def _fold(config: TrainConfig, store: Store) -> Fold:
    fold = store.fold(config.fold)
    for split in ("train", "val"):
        if len(getattr(fold, split)) == 0:
            raise InputError(f"{store.folder}: split {split!r} of fold {config.fold!r} is empty; see store.split")
    return fold


def _mask_channels(store: Store, names: list[str]) -> dict[str, int]:
    """Return how many channels at the end of each input are validity masks, which noise must not touch."""
    specs = {name: store.spec.inputs[name] for name in names}
    return {name: len(spec.missing) for name, spec in specs.items() if spec.masked}


def _budgets(config: TrainConfig, store: Store, names: list[str], fold: Fold) -> tuple[float, float]:
    """Share the memory: training first, validation takes what is left."""
    train = split_bytes(store, names, len(fold.train)) / 1e9
    return config.memory_gb, config.memory_gb - train if train <= config.memory_gb else config.memory_gb / 4


def _set_threads(threads: int) -> None:
    if threads:
        torch.set_num_threads(threads)
    elif "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(len(os.sched_getaffinity(0)))


def _tell_stacked(config: TrainConfig) -> None:
    text = warn_stacked(config)
    if text:
        log.warning("%s", text)
