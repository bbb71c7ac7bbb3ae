"""Platt and temperature scaling of each class's logits, drawn toward leaving them as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contract.scores import Floats, sigmoid

SLOPES = (0.02, 50.0)
"""Slopes are kept inside: a positive one keeps the ranking, and none is so steep that all becomes 0 or 1."""
_LEAST_PRIOR = 1e-3
_ITERATIONS = 60
_HALVINGS = 30
_SETTLED = 1e-7
"""Largest derivative of the loss at its least, as a share of what one day more could make of it."""
_BISECTIONS = 60
_SURE = 50.0
"""A logit beyond which nothing changes: sigmoid(-50) is 2e-22."""


def calibrate(
    logits: NDArray[Any], target: NDArray[Any], kind: str, prior: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return slope ``a`` and offset ``b`` of each class, so that ``sigmoid(a z + b)`` fits ``target``.

    Minimises ``Σ ce(y, a z + b) + w Σ ce(sigmoid(z), a z + b)`` with ce the cross-entropy: the second sum is the same
    samples with the outcome the model itself expects, which pulls toward a = 1, b = 0. Its weight is
    ``w = prior / max(positives, expected positives, 1)``, so ``prior`` counts in pseudo-positives. The first sum can
    only fall, because the second one is least at the identity. Convex; solved by Newton's method with step halving
    (Platt 1999; Lin, Lin & Weng 2007 for the halving; Guo et al. 2017 for ``temperature``: b = 0), and by bisection
    where that gets stuck: far from every logit there is no curvature, and few positives can be told apart by any slope.

    Args:
        logits: N × K.
        target: N × K, 0 or 1.
        kind: ``none``, ``temperature`` or ``platt``.
        prior: strength of the pull; at least 0.001 is used, so that a class without positives has a finite answer.
    """
    z = np.asarray(logits, np.float64)
    classes = z.shape[1]
    identity = np.stack([np.ones(classes), np.zeros(classes)])
    if kind == "none":
        return identity[0], identity[1]
    shifts = kind == "platt"
    problem = _Problem(z, target, prior, shifts)
    found = problem.minimise(identity)
    left = ~problem.is_settled(found) | (found[0] < SLOPES[0]) | (found[0] > SLOPES[1])
    if left.any():
        found[:, left] = _Problem(z[:, left], np.asarray(target)[:, left], prior, shifts).bisect()
    return found[0], found[1]


class _Problem:
    """Weighted logistic regression of soft targets on one logit, for all classes at once; without shifts b stays."""

    def __init__(self, z: Floats, target: NDArray[Any], prior: float, shifts: bool) -> None:
        expected = sigmoid(z)
        heavier = np.maximum(expected.sum(axis=0), (target > 0).sum(axis=0))
        pull = max(prior, _LEAST_PRIOR) / np.maximum(heavier, 1.0)
        self._z, self._shifts = z, shifts
        self._mean_target = ((target > 0) + pull * expected) / (1.0 + pull)

    def loss(self, line: Floats) -> Floats:
        """Return the objective of each class at ``line`` (2 × K: a, b), divided by its weight."""
        x = line[0] * self._z + line[1]
        return np.asarray((np.logaddexp(0.0, x) - self._mean_target * x).sum(axis=0))

    def minimise(self, line: Floats) -> Floats:
        """Return the ``line`` that Newton's method comes to from this start."""
        loss = self.loss(line)
        for _ in range(_ITERATIONS):
            step = self._newton_step(line)
            line, lower = self._descend(line, step, loss)
            gain, loss = loss - lower, lower
            if np.all(gain <= 1e-12 * np.maximum(loss, 1e-12)):
                break
        return line

    def is_settled(self, line: Floats) -> NDArray[np.bool_]:
        """Tell of which classes ``line`` is the optimum: the derivatives vanish."""
        sizes = np.stack([np.abs(self._z).sum(axis=0), np.full(self._z.shape[1], float(len(self._z)))])
        derivatives = self._derivatives(sigmoid(line[0] * self._z + line[1]))
        return np.asarray((np.abs(derivatives) <= _SETTLED * sizes).all(axis=0))

    def _derivatives(self, p: Floats) -> Floats:
        """Return those of the loss by a and b (2 × K) where the probabilities are ``p``; 0 for a b that stays."""
        error = p - self._mean_target
        by_offset = error.sum(axis=0) if self._shifts else np.zeros(error.shape[1])
        return np.stack([(error * self._z).sum(axis=0), by_offset])

    def bisect(self) -> Floats:
        """Return the best ``line`` with a slope within its bounds.

        With the best offset for each slope the loss is convex in the slope alone, and by the envelope theorem its
        derivative is the partial one: it rises all the way, as that by the offset does.
        """

        def offset(slope: Floats) -> Floats:
            x = slope * self._z
            if not self._shifts:
                return np.zeros(x.shape[1])
            ends = -x.max(axis=0) - _SURE, -x.min(axis=0) + _SURE
            return _root(lambda middle: self._derivatives(sigmoid(x + middle))[1] > 0, *ends)

        def too_steep(power: Floats) -> NDArray[np.bool_]:
            slope = np.exp(power)
            return np.asarray(self._derivatives(sigmoid(slope * self._z + offset(slope)))[0] > 0)

        ends = [np.full(self._z.shape[1], np.log(end)) for end in SLOPES]
        least, most = too_steep(ends[0]), ~too_steep(ends[1])
        power = np.where(least, ends[0], ends[1])
        if not (least | most).all():
            power = np.where(least | most, power, _root(too_steep, *ends))
        slope = np.clip(np.exp(power), *SLOPES)
        return np.stack([slope, offset(slope)])

    def _newton_step(self, line: Floats) -> Floats:
        p = sigmoid(line[0] * self._z + line[1])
        slope, curvature = self._derivatives(p), p * (1 - p)
        second = np.empty((p.shape[1], 2, 2))
        second[:, 0, 0] = (curvature * self._z**2).sum(axis=0)
        second[:, 1, 1] = curvature.sum(axis=0)
        second[:, 0, 1] = second[:, 1, 0] = (curvature * self._z).sum(axis=0)
        if not self._shifts:
            second[:, 1, :] = second[:, :, 1] = 0.0
        # A little of the diagonal keeps the system solvable where curvature vanishes (far from every logit).
        diagonal = np.einsum("kii->ki", second)
        diagonal += 1e-9 * diagonal.max(axis=1, keepdims=True) + 1e-12
        return np.asarray(-np.linalg.solve(second, slope.T[:, :, None])[:, :, 0].T)

    def _descend(self, line: Floats, step: Floats, loss: Floats) -> tuple[Floats, Floats]:
        """Take the largest of 1, ½, ¼ … of each class's step that does not raise its loss."""
        size = np.ones(line.shape[1])
        for _ in range(_HALVINGS):
            candidate = line + size * step
            value = self.loss(candidate)
            worse = ~(value <= loss)
            if not worse.any():
                return candidate, value
            size = np.where(worse, size / 2, size)
        size = np.where(worse, 0.0, size)
        return line + size * step, np.where(worse, loss, value)


def _root(over: Callable[[Floats], NDArray[np.bool_]], low: Floats, high: Floats) -> Floats:
    """Return where ``over`` turns from false to true between ``low`` and ``high``, of each class."""
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        beyond = over(middle)
        low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
    return np.asarray((low + high) / 2)
