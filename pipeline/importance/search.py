"""Optuna over LightGBM's parameters: macro-F1 on inner walk-forward folds, resumable, the same for a seed."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna

from pipeline.contract.scores import macro
from pipeline.core import logs
from pipeline.core.interrupt import Interrupt
from pipeline.importance.boosting import Machine, Trainer, defaults, macro_f1, probabilities
from pipeline.importance.config import ImportanceConfig, SearchConfig
from pipeline.importance.folds import Fold, Folds, inner_folds
from pipeline.importance.journal import Journal
from pipeline.importance.parallel import each
from pipeline.importance.samples import Samples

_LOGARITHMIC = ("rounds", "learning_rate", "num_leaves", "min_data_in_leaf", "lambda_l1", "lambda_l2")
_WHOLE = ("rounds", "num_leaves", "min_data_in_leaf")


@dataclass(frozen=True)
class Found:
    """The best parameters for one judged block and every trial: ``{block, trial, params, value, folds}``."""

    params: dict[str, float]
    best: int
    trials: list[dict[str, Any]]


def search(
    config: ImportanceConfig, samples: Samples, folds: Folds, machine: Machine, journal: Journal, interrupt: Interrupt
) -> list[Found]:
    """Return, for each fold and then the test, the parameters with the largest mean macro-F1 over its inner folds.

    Inner folds are cut from what the block's model is trained on, so that no search sees what is judged by its outcome
    (nested validation, Varma & Simon 2006). Of equally good trials the first counts.

    Raises:
        InputError: there is too little to train on for inner folds.
        Interrupted: a stop was asked for; finished trials are on disk.
    """
    own = defaults(config.lightgbm)
    names = block_names(folds)
    if config.search.trials == 0:
        return [Found(own, 0, []) for _ in names]
    optuna.logging.set_verbosity(logging.WARNING)
    blocks = [
        inner_folds(samples, fold, config.search.splits, folds.gap, name)
        for fold, name in zip((*folds.walk, folds.test), names, strict=True)
    ]
    count = config.search.trials
    judges = [_Judge(samples, inner, machine) for inner in blocks]
    size, total = max(1, machine.threads // config.search.splits), count * len(blocks)
    with logs.tally("trials", total, len(journal.steps)) as advance:
        while len(journal.steps) < total:
            # Trial 0 of each block, then trial 1 of each: searches neither know nor wait for each other.
            number, first = divmod(len(journal.steps), len(blocks))
            batch = range(first, min(first + size, len(blocks)))
            interrupt.check(f"{len(journal.steps)} trials are done")
            params = [own if number == 0 else _next(config, journal.steps, block, len(blocks)) for block in batch]
            values = _scores(judges, batch, params, machine)
            for block, chosen, scores in zip(batch, params, values, strict=True):
                value = macro(np.array(scores))
                trial = {"block": names[block], "trial": number, "params": chosen, "value": value, "folds": scores}
                journal.add(trial)
            advance(len(batch), "")
    return [_best(journal.steps[block :: len(blocks)]) for block in range(len(blocks))]


def block_names(folds: Folds) -> list[str]:
    """Return ``fold 1`` … and ``last block``."""
    return [*(f"fold {number}" for number in range(1, len(folds.walk) + 1)), "last block"]


class _Judge:
    """The inner folds of one block, with inputs binned once for all its trials."""

    def __init__(self, samples: Samples, inner: tuple[Fold, ...], machine: Machine) -> None:
        self._samples, self._machine, self.inner = samples, machine, inner
        self._trainers = [Trainer(samples, fold.train, machine) for fold in inner]

    def score(self, number: int, params: dict[str, float]) -> float:
        """Return the macro-F1 on an inner fold; several inner folds may be asked for at a time."""
        fold, y = self.inner[number], self._samples.y
        model = self._trainers[number].train(y[fold.train], params)
        return macro_f1(y[fold.judged], probabilities(model, self._samples.x[fold.judged], self._machine))


def _scores(
    judges: list[_Judge], batch: Sequence[int], params: list[dict[str, float]], machine: Machine
) -> list[list[float]]:
    """Return the scores on all inner folds of each block of a batch."""
    work = [
        (judges[block], fold, chosen)
        for block, chosen in zip(batch, params, strict=True)
        for fold in range(len(judges[block].inner))
    ]
    values = each(lambda one: one[0].score(one[1], one[2]), work, machine.threads)
    splits = len(values) // len(batch)
    return [values[start : start + splits] for start in range(0, len(values), splits)]


def _best(trials: list[dict[str, Any]]) -> Found:
    best = int(np.argmax([trial["value"] for trial in trials]))
    return Found(trials[best]["params"], best, trials)


def _space(config: SearchConfig) -> dict[str, optuna.distributions.BaseDistribution]:
    space: dict[str, optuna.distributions.BaseDistribution] = {}
    for name, value in config:
        if not isinstance(value, tuple):
            continue
        low, high = value
        kind = optuna.distributions.IntDistribution if name in _WHOLE else optuna.distributions.FloatDistribution
        space[name] = kind(low, high, log=name in _LOGARITHMIC)
    return space


def _within(where: optuna.distributions.BaseDistribution, value: float) -> bool:
    return bool(getattr(where, "low", value) <= value <= getattr(where, "high", value))


def _next(config: ImportanceConfig, steps: list[dict[str, Any]], block: int, blocks: int) -> dict[str, float]:
    """Return what the search of a block tries next, given its own trials among all."""
    earlier = steps[block::blocks]
    return _suggested(_space(config.search), earlier, [config.seed, block, len(earlier)])


def _suggested(
    space: dict[str, optuna.distributions.BaseDistribution], trials: list[dict[str, Any]], seed: list[int]
) -> dict[str, float]:
    """Ask TPE what to try after ``trials`` (Bergstra et al. 2011); startup trials are random.

    A new sampler is seeded for every trial, so that a killed search goes on with what it would have tried.
    """
    sampler = optuna.samplers.TPESampler(seed=int(np.random.SeedSequence(seed).generate_state(1)[0]))
    study = optuna.create_study(direction="maximize", sampler=sampler)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        for trial in trials:
            # The config's own parameters may lie outside of the ranges; TPE learns from those that do not.
            inside = {name: value for name, value in trial["params"].items() if _within(space[name], value)}
            study.add_trial(
                optuna.trial.create_trial(
                    params=inside,
                    distributions={name: space[name] for name in inside},
                    value=trial["value"],
                )
            )
        asked = study.ask(space)
    return {name: asked.params[name] for name in space}
