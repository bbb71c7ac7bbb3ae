"""Sampler and pruner by name."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna import pruners, samplers

from pipeline.core.errors import InputError
from pipeline.tune.sections.choices import PrunerConfig, SamplerConfig
from pipeline.tune.space import Parameter


class Grid(samplers.GridSampler):
    """Optuna's grid, without its own end of the study: the number of trials is ours to count."""

    def after_trial(self, *arguments: Any, **named: Any) -> None:
        """Do nothing; the original stops a loop that is not there, and knows no trial that was begun again."""

    def point(self, number: int) -> dict[str, Any]:
        """Return the parameters of a point of the grid."""
        return dict(zip(self._param_names, self._all_grids[number], strict=True))


def build_sampler(config: SamplerConfig, seed: int, trial: int, space: Sequence[Parameter]) -> samplers.BaseSampler:
    """Return the sampler for the parameters of one trial.

    A sampler at random draws from (seed, trial), so that a search goes on after a stop as it would have without it.
    Those that are sequences (QMC, Grid) keep their seed, by which they know the sequence.

    Args:
        config: name and options.
        seed: of the study.
        trial: how many trials there are before this one.
        space: of the study.

    Raises:
        InputError: the sampler needs a package that is not installed, or its options contradict each other.
    """
    own = int(np.random.SeedSequence([seed, trial]).generate_state(1, np.uint32)[0])
    options = config.options()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if config.name == "Grid":
                return Grid({item.name: item.config.points() for item in space}, seed=seed)
            if config.name == "QMC":
                return samplers.QMCSampler(
                    seed=seed, warn_independent_sampling=False, warn_asynchronous_seeding=False, **options
                )
            if config.name in ("CmaEs", "GP"):
                options["independent_sampler"] = samplers.RandomSampler(seed=own)
                options["warn_independent_sampling"] = False
            made: samplers.BaseSampler = getattr(samplers, f"{config.name}Sampler")(seed=own, **options)
            return made
    except ModuleNotFoundError as error:
        raise InputError(f"sampler.name: {config.name} needs the package {error.name}; install it") from None
    except ImportError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"sampler.name: {config.name} cannot be used here: {reason}") from None
    except ValueError as error:
        raise InputError(f"sampler: {config.name}: {error}") from None


def build_pruner(config: PrunerConfig, epochs: int) -> pruners.BasePruner:
    """Return the pruner; ``none`` is one that stops nothing (``None`` would be Optuna's median pruner).

    Args:
        config: name and options.
        epochs: of a trial.

    Raises:
        InputError: its options contradict each other.
    """
    options = config.options()
    if config.name in ("Nop", "none"):
        return pruners.NopPruner()
    if config.name == "Percentile":
        options.setdefault("percentile", 25.0)
    if config.name == "Hyperband":
        options.setdefault("max_resource", epochs)
    try:
        made: pruners.BasePruner = getattr(pruners, f"{config.name}Pruner")(**options)
    except ValueError as error:
        raise InputError(f"pruner: {config.name}: {error}") from None
    return made
