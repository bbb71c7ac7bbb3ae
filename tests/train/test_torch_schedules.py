"""Schedules under torch's names against torch's schedulers, epoch by epoch, and the guide's errors."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import SGD, Optimizer
from torch.optim import lr_scheduler as torch_schedules

from pipeline.core.errors import InputError
from pipeline.train.config import torch_schedule
from pipeline.train.schedules import build_schedule
from tests.train.training import config

BASE, EPOCHS, STEPS = 0.02, 12, 5
EXACT = 1e-9
"""Torch chains products and differences where we have closed forms; both in float64."""
S = torch_schedules


def theirs(make: Callable[[Optimizer], Any], base: float, epochs: int) -> list[float]:
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=base)
    scheduler, found = make(optimizer), []
    for _ in range(epochs):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def ours(name: str | None, parameters: dict[str, Any] | None, base: float, epochs: int) -> list[list[float]]:
    """Return the rates of each epoch's steps."""
    schedule = build_schedule(torch_schedule(name, parameters), epochs, STEPS, "max")
    return [[schedule.rate(base, epoch * STEPS + step) for step in range(STEPS)] for epoch in range(epochs)]


CASES: list[tuple[str, dict[str, Any]]] = [
    ("StepLR", {"step_size": 5, "gamma": 0.1}),
    ("StepLR", {"step_size": 3}),
    ("MultiStepLR", {"milestones": [3, 6, 9], "gamma": 0.1}),
    ("CosineAnnealingLR", {"T_max": EPOCHS}),
    ("CosineAnnealingLR", {"T_max": 30}),
    ("CosineAnnealingLR", {"T_max": EPOCHS, "eta_min": 1e-6}),
    ("ExponentialLR", {"gamma": 0.95}),
    ("LinearLR", {"start_factor": 1.0, "end_factor": 0.1, "total_iters": 8}),
    ("LinearLR", {"start_factor": 0.5, "total_iters": 20}),
]


@pytest.mark.parametrize(("name", "parameters"), CASES, ids=str)
@pytest.mark.parametrize("base", [BASE, 1e-4])
def test_as_torch(name: str, parameters: dict[str, Any], base: float) -> None:
    expected = theirs(lambda optimizer: getattr(S, name)(optimizer, **parameters), base, EPOCHS)
    for epoch, rates in enumerate(ours(name, parameters, base, EPOCHS)):
        assert rates == pytest.approx([expected[epoch]] * STEPS, rel=EXACT, abs=1e-15), epoch


def test_none_is_a_constant_rate() -> None:
    assert {rate for rates in ours(None, None, BASE, 3) for rate in rates} == {BASE}


def test_linear_starts_at_the_whole_rate_as_the_guide_says() -> None:
    """Torch's own default would be a third."""
    assert ours("LinearLR", {"end_factor": 0.1, "total_iters": 10}, BASE, 1)[0][0] == BASE


def test_cosine_does_not_climb_back_after_its_end() -> None:
    """Torch's does: more epochs than ``T_max``, as after resuming with more of them, raise the rate again."""
    torch_rates = theirs(lambda o: S.CosineAnnealingLR(o, 4, eta_min=1e-6), BASE, EPOCHS)
    rates = [step for epoch in ours("CosineAnnealingLR", {"T_max": 4, "eta_min": 1e-6}, BASE, EPOCHS) for step in epoch]
    assert max(torch_rates[5:]) > 0.5 * BASE
    assert all(later <= earlier for earlier, later in itertools.pairwise(rates))
    assert rates[4 * STEPS :] == pytest.approx([1e-6] * (8 * STEPS), rel=EXACT)


def test_a_floor_raises_no_group_that_is_below_it() -> None:
    rates = [step for epoch in ours("CosineAnnealingLR", {"T_max": 4, "eta_min": 1e-6}, 1e-8, EPOCHS) for step in epoch]
    assert set(rates) == {1e-8}


def test_a_longer_training_only_stretches_the_default_cosine() -> None:
    """At every step the rate of the longer training is at least that of the shorter, and falls from there to 0."""
    short, long = (build_schedule(config(schedule={"name": "cosine"}).schedule, n, STEPS, "max") for n in (6, 12))
    for step in range(6 * STEPS):
        assert long.factor(step) >= short.factor(step)
    after = [long.factor(step) for step in range(6 * STEPS, 12 * STEPS + 1)]
    assert all(later < earlier for earlier, later in itertools.pairwise(after))
    assert after[-1] == pytest.approx(0, abs=1e-15)


def test_unknown_name_in_the_guides_words() -> None:
    with pytest.raises(InputError) as caught:
        torch_schedule("CustomLR", {})
    assert str(caught.value) == "サポートされていないスケジューラー: CustomLR"


@pytest.mark.parametrize(
    ("name", "parameters", "named"),
    [
        ("StepLR", {}, "StepLR needs step_size"),
        ("StepLR", None, "StepLR needs step_size"),
        ("StepLR", {"step_size": 5, "gama": 0.1}, "did you mean 'gamma'"),
        ("StepLR", {"step_size": "abc"}, r"scheduler_params\.step_size: StepLR: .* found 'abc'"),
        ("StepLR", {"step_size": 0}, r"scheduler_params\.step_size"),
        ("MultiStepLR", {"milestones": 3}, r"scheduler_params\.milestones"),
        ("CosineAnnealingLR", {"T_max": 0}, r"scheduler_params\.T_max: CosineAnnealingLR"),
        ("ExponentialLR", {"gamma": 5}, "between 0 and 1, found 5"),
        ("ExponentialLR", {"gamma": 1.0}, "between 0 and 1"),
        ("LinearLR", {"start_factor": 1.0}, "LinearLR needs total_iters"),
        ("LinearLR", {"total_iters": 3, "end_factor": 7}, r"scheduler_params\.end_factor"),
    ],
)
def test_wrong_parameters(name: str, parameters: dict[str, Any] | None, named: str) -> None:
    with pytest.raises(InputError, match=named) as caught:
        torch_schedule(name, parameters)
    assert "\n" not in str(caught.value)
