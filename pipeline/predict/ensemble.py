"""From logits of one run or several to probabilities and decisions; everything is chosen on validation samples only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.predictions import decided, load_split
from pipeline.contract.scores import Floats, f_score, logit, macro
from pipeline.core.errors import InputError, shorten
from pipeline.core.logs import log
from pipeline.predict.finished import FinishedRun
from pipeline.thresholds.config import ThresholdsConfig
from pipeline.thresholds.fit import fit

_PRIOR = 1.0
"""Samples by which weights are drawn toward equal ones. Few: on most samples all runs agree, and those say nothing of
the weights, so that a pull in proportion to all samples would leave a weak run half of the say."""
_ITERATIONS = 500
_EDGE = 1e-12
Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Answer:
    """What is said of N samples."""

    raw: Floats
    """N × K, as the networks give it."""
    probability: Floats
    """N × K, calibrated."""
    predicted: NDArray[np.bool_]
    """N × K."""


@dataclass(frozen=True)
class Ensemble:
    """One run, or several whose calibrated probabilities are averaged."""

    runs: Sequence[FinishedRun]
    weights: Floats
    """Runs × K, each column adding up to 1."""
    thresholds: Floats
    """K; NaN where the likeliest class is said."""
    chosen: dict[str, Any]
    """How weights and thresholds came about, for the report."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The K names."""
        return self.runs[0].decisions.classes

    @property
    def single(self) -> bool:
        """Whether exactly one class is said of each sample."""
        return self.runs[0].decisions.single

    def answer(self, logits: Sequence[Logits]) -> Answer:
        """Return what the runs say together, given the logits (N × K) of each."""
        raw = self._mean([run.decisions.raw(z) for run, z in zip(self.runs, logits, strict=True)])
        probability = self.probabilities(logits)
        return Answer(raw, probability, decided(probability, self.thresholds, self.single))

    def probabilities(self, logits: Sequence[Logits]) -> Floats:
        """Return the weighted mean of the calibrated probabilities, N × K."""
        return self._mean([run.decisions.probabilities(z) for run, z in zip(self.runs, logits, strict=True)])

    def _mean(self, parts: Sequence[Floats]) -> Floats:
        if len(parts) == 1:
            return parts[0]  # not multiplied by 1 and added to 0: the same bits as the run itself gives
        return np.asarray(np.einsum("rk,rnk->nk", self.weights, np.stack(parts)))


def join(runs: Sequence[FinishedRun], weights: str) -> Ensemble:
    """Return the ensemble of ``runs``, ``weights`` being ``mean`` or ``validation``.

    Raises:
        InputError: classes or kinds of target differ; or weights are to be chosen and the runs have no validation
            samples in common.
    """
    first = runs[0].decisions
    for run in runs[1:]:
        if run.decisions.classes != first.classes or run.decisions.single != first.single:
            ours, theirs = shorten(first.classes, 30), shorten(run.decisions.classes, 30)
            raise InputError(
                f"{run.name}: predicts {theirs}{_how(run)}, {runs[0].name} {ours}{_how(runs[0])}; an ensemble needs "
                "the same classes in the same order"
            )
    equal = np.full((len(runs), len(first.classes)), 1 / len(runs))
    if len(runs) == 1:
        return Ensemble(runs, equal, first.thresholds, {"weights": "one run", "thresholds": "of the run"})
    judged = _common_validation(runs)
    if weights == "validation":
        if judged is None:
            raise InputError(
                "predict.weights: validation needs runs with the same validation samples; these were validated on "
                "different ones, use mean"
            )
        equal = _weights(runs, judged)
    return _with_thresholds(Ensemble(runs, equal, first.thresholds, {"weights": weights}), judged)


def _how(run: FinishedRun) -> str:
    return " (one of them)" if run.decisions.single else ""


@dataclass(frozen=True)
class _Judged:
    """Validation samples that all runs have: N × K targets, and the logits of each run."""

    target: NDArray[np.uint8]
    logits: list[Logits]


def _common_validation(runs: Sequence[FinishedRun]) -> _Judged | None:
    """Return the validation samples that the runs share; ``None`` if those are less than half of any run's."""
    own = [load_split(run.path, "val") for run in runs]
    shared = set.intersection(*(set(one.ids.tolist()) for one in own))
    if 2 * len(shared) < max(len(one.ids) for one in own):
        return None
    rows = [np.flatnonzero(np.isin(one.ids, list(shared))) for one in own]
    # Images of other stores may come in another order.
    rows = [mine[np.argsort(one.ids[mine], kind="stable")] for one, mine in zip(own, rows, strict=True)]
    targets = [one.target[mine] for one, mine in zip(own, rows, strict=True)]
    if any(not np.array_equal(target, targets[0]) for target in targets):
        return None
    return _Judged(targets[0], [one.logits[mine] for one, mine in zip(own, rows, strict=True)])


def _with_thresholds(ensemble: Ensemble, judged: _Judged | None) -> Ensemble:
    """Choose the thresholds of the mean: on the common validation samples, else the mean of those of the runs."""
    runs, weights, chosen = ensemble.runs, ensemble.weights, ensemble.chosen
    if ensemble.single:
        return Ensemble(runs, weights, ensemble.thresholds, chosen | {"thresholds": "the likeliest class"})
    if judged is None:
        log.info("the runs were validated on different samples: the ensemble takes the mean of their thresholds")
        thresholds = np.einsum("rk,rk->k", weights, np.stack([run.decisions.thresholds for run in runs]))
        return Ensemble(runs, weights, thresholds, chosen | {"thresholds": "mean of the runs"})
    probability = ensemble.probabilities(judged.logits)
    settings = ThresholdsConfig.model_validate(runs[0].decisions.details["settings"] | {"calibration": "none"})
    thresholds = fit(logit(np.clip(probability, _EDGE, 1 - _EDGE)), judged.target, settings).thresholds
    alone = [run.decisions.decide(z) for run, z in zip(runs, judged.logits, strict=True)]
    scores = [macro(f_score(judged.target, said)) for said in (*alone, probability >= thresholds)]
    told = {"samples": len(judged.target), "val_macro_f1": {"runs": scores[:-1], "ensemble": scores[-1]}}
    log.info("validation macro-F1: ensemble %.3f, best run alone %.3f", scores[-1], max(scores[:-1]))
    return Ensemble(runs, weights, thresholds, chosen | {"thresholds": "chosen on validation", **told})


def _weights(runs: Sequence[FinishedRun], judged: _Judged) -> Floats:
    """Return weights (runs × K) under which the mean makes what happened in validation likeliest."""
    target = judged.target > 0
    parts = np.stack([run.decisions.probabilities(z) for run, z in zip(runs, judged.logits, strict=True)])
    if runs[0].decisions.single:
        likelihood = (parts * target).sum(axis=2)[:, :, None]  # one weight for all classes, so that they add up to 1
        return np.repeat(mixture_weights(likelihood, _PRIOR), target.shape[1], axis=1)
    return mixture_weights(np.where(target, parts, 1 - parts), _PRIOR)


def mixture_weights(likelihood: Floats, prior: float) -> Floats:
    """Return the weights (R × K) of a mixture that maximise its likelihood, by expectation–maximisation.

    ``Σ_n log Σ_r w_r l_rn + (prior / R) Σ_r log w_r`` (Dempster, Laird and Rubin 1977, section 4.3, with known
    components); concave, from equal weights.

    Args:
        likelihood: R × N × K, of what happened in sample n according to component r.
        prior: pull toward equal weights, in samples.
    """
    count, samples, classes = likelihood.shape
    weights = np.full((count, classes), 1 / count)
    values = np.maximum(likelihood, _EDGE)
    for _ in range(_ITERATIONS):
        share = weights[:, None] * values
        share /= share.sum(axis=0)
        new = (share.sum(axis=1) + prior / count) / (samples + prior)
        if np.abs(new - weights).max() < 1e-9:
            return np.asarray(new)
        weights = new
    return weights
