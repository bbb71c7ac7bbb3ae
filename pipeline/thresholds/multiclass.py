"""Calibration of logits of which exactly one class is true: one slope for all, an offset a class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.scores import Floats, softmax
from pipeline.thresholds.calibrate import SLOPES

_LEAST_PRIOR = 1e-3


def calibrate_softmax(
    logits: NDArray[Any], target: NDArray[Any], kind: str, prior: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return slope ``a`` (K equal values) and offset ``b`` of each class, so that ``softmax(a z + b)`` fits ``target``.

    Temperature scaling (Guo et al. 2017), with ``platt`` also an offset a class (bias-corrected temperature scaling,
    Alexandari, Kundaje and Shrikumar 2020). Minimises the cross-entropy plus ``w`` times the cross-entropy against the
    probabilities of the network itself, which pulls toward a = 1, b = 0; ``w = prior / N``, so ``prior`` counts in
    samples.

    Args:
        logits: N × K.
        target: N × K, one 1 a row.
        kind: ``none``, ``temperature`` or ``platt``.
        prior: strength of the pull; at least 0.001 is used, so that a perfect forecast has a finite answer.
    """
    z = np.asarray(logits, np.float64)
    classes = z.shape[1]
    if kind == "none":
        return np.ones(classes), np.zeros(classes)
    from scipy.optimize import minimize

    pull = max(prior, _LEAST_PRIOR) / len(z)
    wanted = ((target > 0) + pull * softmax(z)) / (1 + pull)
    free = kind == "platt"

    def loss(line: Floats) -> tuple[float, Floats]:
        x = line[0] * z + line[1:]
        p = softmax(x)
        error = (p - wanted) / len(z)
        slope = np.concatenate([[np.sum(error * z)], error.sum(axis=0) * free])
        top = x.max(axis=1)
        entropy = top + np.log(np.exp(x - top[:, None]).sum(axis=1)) - (wanted * x).sum(axis=1)
        return float(entropy.mean()), slope

    start = np.concatenate([[1.0], np.zeros(classes)])
    bounds = [SLOPES] + [(-20.0, 20.0) if free else (0.0, 0.0)] * classes
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-12, "gtol": 1e-8})
    # An offset common to all classes changes nothing; without it the numbers are comparable.
    return np.full(classes, found.x[0]), np.asarray(found.x[1:] - found.x[1:].mean())
