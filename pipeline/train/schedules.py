"""The learning rate as a factor of the optimizer's ``lr``.

All schedules but ``plateau`` are functions of the step alone, so a resumed run needs nothing but its position.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.core.errors import InputError
from pipeline.train.config import ScheduleConfig

State = dict[str, float | int]
_RISE, _START, _END = 0.3, 25.0, 1e4
"""One cycle: share of the steps until the peak, peak/first rate, first/last rate (torch's defaults)."""
_THRESHOLD = 1e-4
"""Plateau: a gain smaller than this share of the best value is none (torch's default)."""


class Schedule:
    """A rate that depends on the step alone."""

    def __init__(self, curve: Callable[[int], float], floor: float = 0.0) -> None:
        """Keep the curve, step → factor, and the rate at factor 0."""
        self._curve, self._floor = curve, floor

    def factor(self, step: int) -> float:
        """Return the factor of the base rate at a step (counted from 0 over all epochs)."""
        return self._curve(step)

    def rate(self, base: float, step: int) -> float:
        """Return the rate at a step of a group whose full rate is ``base``.

        A floor lowers no group that is below it, and raises none.
        """
        low = min(self._floor, base)
        return low + (base - low) * self.factor(step)

    def observe(self, metric: float) -> None:
        """Note the selection metric of a finished epoch."""

    def state(self) -> State:
        """Return what a checkpoint must keep."""
        return {}

    def load(self, state: State) -> None:
        """Take over what a checkpoint kept."""


class Plateau(Schedule):
    """The rate falls by ``factor`` when the metric has not gained for more than ``patience`` epochs."""

    def __init__(self, factor: float, patience: int, mode: str) -> None:
        """Start at the full rate; ``mode`` says whether a larger (max) or smaller (min) metric is better."""
        self._drop, self._patience, self._sign = factor, patience, 1.0 if mode == "max" else -1.0
        super().__init__(lambda step: self._factor)
        self._factor, self._best, self._stale = 1.0, -math.inf * self._sign, 0

    def observe(self, metric: float) -> None:
        """Count the epoch as a gain or not, and lower the rate if it is due."""
        if self._sign * metric > self._sign * self._best * (1 + self._sign * _THRESHOLD):
            self._best, self._stale = metric, 0
        else:
            self._stale += 1
        if self._stale > self._patience:
            self._factor, self._stale = self._factor * self._drop, 0

    def state(self) -> State:
        """Return factor, best value and epochs without a gain."""
        return {"factor": self._factor, "best": self._best, "stale": self._stale}

    def load(self, state: State) -> None:
        """Take over what a checkpoint kept."""
        self._factor, self._best, self._stale = state["factor"], state["best"], int(state["stale"])


@dataclass(frozen=True)
class Span:
    """The length of a training."""

    epochs: int
    steps_per_epoch: int
    warmup: int
    """Steps of warm-up."""
    length: int | None = None
    """Epochs after the warm-up until a curve ends; all there are if none are given."""

    @property
    def steps(self) -> int:
        """All steps."""
        return self.epochs * self.steps_per_epoch

    def progress(self, step: int) -> float:
        """Return how far ``step`` is from the end of the warm-up (0) to the end of the curve (1), where it stays."""
        whole = self.steps - self.warmup if self.length is None else self.length * self.steps_per_epoch
        return min(max(step - self.warmup, 0) / max(whole, 1), 1.0)


def _cosine(config: ScheduleConfig, span: Span) -> Callable[[int], float]:
    """Half a cosine from 1 to ``final`` (Loshchilov and Hutter 2017)."""
    return lambda step: config.final + (1 - config.final) * (1 + math.cos(math.pi * span.progress(step))) / 2


def _linear(config: ScheduleConfig, span: Span) -> Callable[[int], float]:
    return lambda step: config.start + (config.final - config.start) * span.progress(step)


def _step(config: ScheduleConfig, span: Span) -> Callable[[int], float]:
    return lambda step: config.gamma ** (step // span.steps_per_epoch // config.step_size)


def _multistep(config: ScheduleConfig, span: Span) -> Callable[[int], float]:
    milestones = sorted(config.milestones)
    return lambda step: config.gamma ** bisect_right(milestones, step // span.steps_per_epoch)


def _exponential(config: ScheduleConfig, span: Span) -> Callable[[int], float]:
    return lambda step: config.gamma ** (step // span.steps_per_epoch)


def _onecycle(config: ScheduleConfig, span: Span) -> Callable[[int], float]:
    """Up to the peak and down again, each half a cosine (Smith and Topin 2018)."""
    peak, last = _RISE * span.steps - 1, span.steps - 1

    def curve(step: int) -> float:
        if step <= peak:
            return _anneal(1 / _START, 1.0, step / peak if peak > 0 else 1.0)
        return _anneal(1.0, 1 / _START / _END, min((step - peak) / (last - peak), 1.0))

    return curve


def _anneal(start: float, end: float, progress: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * progress))


def _none(config: ScheduleConfig, span: Span) -> Callable[[int], float]:
    return lambda step: 1.0


_CURVES: dict[str, Callable[[ScheduleConfig, Span], Callable[[int], float]]] = {
    "cosine": _cosine,
    "linear": _linear,
    "step": _step,
    "multistep": _multistep,
    "exponential": _exponential,
    "onecycle": _onecycle,
    "none": _none,
}
_WITHOUT_WARMUP = ("plateau", "onecycle")


def build_schedule(config: ScheduleConfig, epochs: int, steps_per_epoch: int, mode: str) -> Schedule:
    """Return the schedule.

    Args:
        config: name and its parameters.
        epochs: of the training.
        steps_per_epoch: optimizer steps in an epoch.
        mode: whether a larger (``max``) or smaller (``min``) selection metric is better.

    Raises:
        InputError: a warm-up as long as the training, or with a schedule that has none.
    """
    warmup = round(config.warmup_epochs * steps_per_epoch)
    if warmup and config.name in _WITHOUT_WARMUP:
        raise InputError(
            f"train.schedule.warmup_epochs: {config.name} has no separate warm-up; set it to 0 or choose cosine, "
            "step, multistep, exponential, linear or none"
        )
    if config.warmup_epochs and config.warmup_epochs >= epochs:
        raise InputError(
            f"train.schedule.warmup_epochs: {config.warmup_epochs:g} must be less than train.epochs ({epochs})"
        )
    if config.name == "plateau":
        return Plateau(config.factor, config.patience, mode)
    curve = _CURVES[config.name](config, Span(epochs, steps_per_epoch, warmup, config.length))
    if config.each == "epoch":
        curve = _each_epoch(curve, steps_per_epoch)
    return Schedule(_warmed(curve, warmup) if warmup else curve, config.eta_min)


def _each_epoch(curve: Callable[[int], float], steps: int) -> Callable[[int], float]:
    return lambda step: curve(step // steps * steps)


def _warmed(curve: Callable[[int], float], steps: int) -> Callable[[int], float]:
    """Let the rate rise linearly over ``steps`` steps, never 0, and full at the first step after them."""
    return lambda step: curve(step) * min((step + 1) / (steps + 1), 1.0)
