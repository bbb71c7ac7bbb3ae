"""Everything chosen by name, once: from settings and a store to the parts that the loop works with."""

from __future__ import annotations

import os
from typing import Any, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from numpy.typing import NDArray
from torch import nn

from pipeline.contract.store import Fold, Store
from pipeline.core.errors import EnvironmentFault, InputError, shorten
from pipeline.core.logs import log
from pipeline.train.augment import build_augment, by_sample
from pipeline.train.batches import Source, Wanted, open_source, rare_class_weights, split_bytes
from pipeline.train.clipping import gradient_steps
from pipeline.train.config import TrainConfig
from pipeline.train.ema import Ema
from pipeline.train.engine import Loss, Parts, steps_of
from pipeline.train.gradients import GradientTrace, LastGradients
from pipeline.train.groups import build_groups
from pipeline.train.losses import build_loss, warn_stacked
from pipeline.train.metrics import LARGER_IS_BETTER, TrainScores, check_measured, watched_metric
from pipeline.train.model import Classifier, as_built, build_model
from pipeline.train.optimizers import build_optimizer
from pipeline.train.ranks import Ranks
from pipeline.train.schedules import Schedule, build_schedule
from pipeline.train.stages import stages
from pipeline.train.unfreezing import Unfreezing

_CUDA = {"32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed", "16-mixed": "16-mixed"}
_PRECISION = {"cuda": _CUDA, "cpu": _CUDA | {"16-mixed": "32-true"}}


def assemble(
    config: TrainConfig, store: Store, facts: dict[str, Any] | None = None, ranks: Ranks | None = None
) -> Parts:
    """Return the parts of a run.

    Args:
        config: of the run.
        store: what it is trained on.
        facts: what the model was, from a checkpoint of this run; nothing is fetched then.
        ranks: who trains it together; all of them assemble.

    Raises:
        InputError: a setting does not fit the store.
        EnvironmentFault: the device asked for is not there.
    """
    ranks = ranks or Ranks()
    fabric = start_fabric(config, ranks)
    fold = _fold(config, store)
    kind, target = store.spec.target.kind, store.target[fold.train]
    module = _module(config, store, fabric, facts, ranks)
    groups = build_groups(config.rates, config.optimizer, module)
    scaled = getattr(fabric.strategy.precision, "scaler", None) is not None
    bare = build_optimizer(config.optimizer, module, groups, fused=fabric.device.type == "cpu" and not scaled)
    rates = [group["lr"] for group in bare.param_groups]
    # torch.compile wraps the module; its parameters stay those of `module`, whose names the checkpoint keeps.
    called = cast(nn.Module, torch.compile(module)) if config.compile else module
    model, optimizer = fabric.setup(called, bare)
    _tell_unreached(config)
    trace = GradientTrace(config.gradients, module) if config.gradients.enabled else None
    last = LastGradients(module, config.tensorboard.histograms) if config.tensorboard.histograms else None
    records = [one.record for one in (trace, last) if one is not None]
    train, val = _sources(config, store, fabric, fold)
    loss, val_loss = _losses(config, target, kind, fabric)
    augment = build_augment(config.augment, _mask_channels(store, input_names(config, store)), module)
    return Parts(
        fabric=fabric,
        model=model,
        module=module,
        optimizer=optimizer,
        rates=rates,
        named_rates={group.name: group.rate for group in groups} if len(groups) > 1 else {},
        schedule=_schedule(config, len(fold.train)),
        loss=loss,
        val_loss=val_loss,
        augment=augment,
        ema=Ema(module, config.ema.decay) if config.ema.decay > 0 else None,
        train=train,
        val=val,
        val_target=store.target[fold.val],
        target_kind=kind,
        scores=TrainScores(kind, target.shape[1], fabric.device, ranks),
        weights=rare_class_weights(target) if config.sampler == "weighted" else None,
        gradient_steps=gradient_steps(config, fabric, module, bare, records),
        unfreezing=Unfreezing(config.unfreeze, module, stages(module)) if config.unfreeze.enabled else None,
        trace=trace,
        facts=module.facts,
        last_gradients=last,
        ranks=ranks,
        augments_apart=ranks.count == 1 or by_sample(augment),
    )


def _module(
    config: TrainConfig, store: Store, fabric: Fabric, facts: dict[str, Any] | None, ranks: Ranks
) -> Classifier:
    """Return the bare model on its device, as the seed draws it; the leading rank alone fetches weights."""

    def build(facts: dict[str, Any] | None) -> Classifier:
        torch.manual_seed(config.seed)
        specs = {name: store.spec.inputs[name] for name in input_names(config, store)}
        model = config.model if facts is None else as_built(config.model, facts)
        if config.start_from is not None:
            model = model.model_copy(update={"pretrained": False})
        return build_model(model, specs, len(store.spec.target.classes), store.scale[config.fold])

    leading = build(facts) if ranks.leads else None
    told = ranks.told(None if leading is None else leading.facts)
    module = leading if leading is not None else build(told)
    module.to(fabric.device)
    ranks.as_leading(module)
    if config.channels_last:
        module.to(memory_format=torch.channels_last)
    return module


def _tell_unreached(config: TrainConfig) -> None:
    beyond = [epoch for epoch in config.unfreeze.epochs if epoch >= config.epochs]
    if config.unfreeze.enabled and beyond:
        log.warning(
            "train.unfreeze.epochs: %s not reached in %s epochs; those stages stay frozen",
            shorten(beyond),
            config.epochs,
        )


def _schedule(config: TrainConfig, samples: int) -> Schedule:
    steps = len(steps_of(np.arange(samples), config.batch_size))
    mode = "max" if LARGER_IS_BETTER[watched_metric(config.select)] else "min"
    return build_schedule(config.schedule, config.epochs, steps, mode)


def _losses(config: TrainConfig, target: NDArray[np.uint8], kind: str, fabric: Fabric) -> tuple[Loss, Loss]:
    """Return the loss of training and that of validation, which has no label smoothing."""
    text = warn_stacked(config, kind)
    if text:
        log.warning("%s", text)
    positives = torch.from_numpy(target.sum(axis=0).astype(np.float32)).to(fabric.device)
    plain = config.loss.model_copy(update={"label_smoothing": 0.0})
    return (
        build_loss(config.loss, positives, len(target), kind),
        build_loss(plain, positives, len(target), kind),
    )


def _sources(config: TrainConfig, store: Store, fabric: Fabric, fold: Fold) -> tuple[Source, Source]:
    wanted = what_is_wanted(config, store, fabric.device)
    train, val = _budgets(config, store, list(wanted.names), fold)
    return open_source(store, wanted, fold.train, train), open_source(store, wanted, fold.val, val)


def start_fabric(config: TrainConfig, ranks: Ranks | None = None) -> Fabric:
    """Choose device, precision and threads; of several ranks each has a device of its own.

    Raises:
        EnvironmentFault: CUDA was asked for and there is none.
    """
    launch = (ranks or Ranks()).launch
    _set_threads(config.threads, launch.local_count)
    cuda = torch.cuda.is_available()
    if config.device == "cuda" and not cuda:
        raise EnvironmentFault("train.device: 'cuda' was asked for, but torch sees no CUDA device; use 'auto' or 'cpu'")
    accelerator = "cuda" if cuda and config.device != "cpu" else "cpu"
    if accelerator == "cuda":
        torch.backends.cudnn.benchmark = config.cudnn_benchmark
        torch.set_float32_matmul_precision("high")
    elif config.precision == "fp16":
        raise EnvironmentFault("train.precision: fp16 needs a CUDA device; use bf16 or 32 on this machine")
    elif config.precision == "16-mixed":
        log.warning("train.precision: 16-mixed needs a CUDA device; this machine has none, so layers compute in 32")
    # One process to Fabric, whatever scheduler variables are set: ranks are ours (see pipeline/train/group.py), because
    # its DistributedDataParallel takes no parameters that are frozen and freed, nor batches that do not divide evenly.
    return Fabric(
        accelerator=accelerator,
        devices=[launch.local_rank % torch.cuda.device_count()] if accelerator == "cuda" else 1,
        precision=_PRECISION[accelerator][config.precision],  # type: ignore[arg-type]
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
    """Return the fold, once it is clear that it has what the settings need.

    Raises:
        InputError: no training samples, no validation where a setting follows it, or a metric that is not measured.
    """
    fold = store.fold(config.fold)
    if len(fold.train) == 0:
        raise InputError(f"{store.folder}: split 'train' of fold {config.fold!r} is empty; see store.split")
    following = {
        f"select={config.select}": config.select != "last",
        "schedule.name=plateau": config.schedule.name == "plateau",
        "early_stopping.patience": config.early_stopping.patience > 0,
    }
    if len(fold.val) == 0 and any(following.values()):
        named = shorten(f"train.{name}" for name, on in following.items() if on)
        raise InputError(
            f"{store.folder}: split 'val' of fold {config.fold!r} is empty, but {named} follows validation; give it "
            "samples (see store.split), or set train.select=last, another schedule and no early stopping"
        )
    check_measured(config.select, "train.select", store.spec.target.kind)
    check_measured(config.early_stopping.monitor or "", "train.early_stopping.monitor", store.spec.target.kind)
    return fold


def _mask_channels(store: Store, names: list[str]) -> dict[str, int]:
    """Return how many channels at the end of each input are validity masks, which noise must not touch."""
    specs = {name: store.spec.inputs[name] for name in names}
    return {name: len(spec.missing) for name, spec in specs.items() if spec.masked}


def _budgets(config: TrainConfig, store: Store, names: list[str], fold: Fold) -> tuple[float, float]:
    """Share the memory: training first, validation takes what is left."""
    train = split_bytes(store, names, len(fold.train)) / 1e9
    return config.memory_gb, config.memory_gb - train if train <= config.memory_gb else config.memory_gb / 4


def _set_threads(threads: int, sharers: int) -> None:
    if threads:
        torch.set_num_threads(threads)
    elif "OMP_NUM_THREADS" not in os.environ:
        # Of several ranks on a machine each has its part of the cores, unless the scheduler says how many.
        cores = len(os.sched_getaffinity(0)) // sharers
        told = os.environ.get("SLURM_CPUS_PER_TASK", "") if sharers > 1 else ""
        torch.set_num_threads(int(told) if told.isdigit() else max(1, cores))
