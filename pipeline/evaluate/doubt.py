"""How strongly calibrated probabilities contradict given labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.scores import Floats, one_hot

Flags = NDArray[np.bool_]
_LEAST = 1e-6
"""Probabilities count as at least this far from 0 and 1: no calibration on some hundred days knows more."""


@dataclass(frozen=True)
class Doubts:
    """Of each of N samples: how strong the contradiction is, in which class most, and what the model holds instead."""

    evidence: Floats
    """ln of how many times likelier the model's own answer is than the label; 0 where they are the same."""
    contradicted: NDArray[np.int64]
    """The class that adds most to it; where each sample has one class, the given one."""
    answer: Flags
    """N × K: the likeliest answer, each class at 0.5 or the likeliest class."""
    probability: Floats
    """N × K, as they were given."""

    def order(self, most: int) -> NDArray[np.int64]:
        """Return at most ``most`` samples that are contradicted, the strongest first."""
        ranked = np.argsort(-self.evidence, kind="stable")
        return ranked[: min(most, int((self.evidence > 0).sum()))]


def doubts(target: Flags, probability: Floats, single: bool) -> Doubts:
    """Compare labels with the probabilities of a model that has not seen them.

    If a label is wrong with a small probability that is the same for all samples, the odds that this one is wrong grow
    with the likelihood ratio of the model's best answer and the label; classes of a multi-label target are taken as
    independent given the inputs, so their logarithms add up.

    Args:
        target: N × K labels.
        probability: N × K, calibrated, of samples that were held out.
        single: whether each sample has exactly one class.
    """
    p = np.clip(probability, _LEAST, 1 - _LEAST)
    if single:
        given = np.log((p * target).sum(axis=1))
        evidence = np.log(p.max(axis=1)) - given
        return Doubts(evidence, target.argmax(axis=1), one_hot(probability), probability)
    odds = np.log(p) - np.log1p(-p)
    against = np.maximum(np.where(target, -odds, odds), 0.0)
    return Doubts(against.sum(axis=1), against.argmax(axis=1), probability > 0.5, probability)
