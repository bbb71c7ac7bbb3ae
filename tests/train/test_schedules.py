"""Schedules against torch's own, step by step."""

from collections.abc import Callable

import pytest
import torch
from torch.optim import SGD, Optimizer
from torch.optim import lr_scheduler as torch_schedules

from pipeline.core.errors import InputError
from pipeline.train.config import ScheduleConfig
from pipeline.train.schedules import Schedule, build_schedule

EPOCHS, STEPS = 6, 7
TOTAL = EPOCHS * STEPS
BASE = 0.02
EXACT = 1e-12
"""Torch multiplies step by step where we use a closed form; both round in float64."""


def optimizer() -> Optimizer:
    return SGD([torch.nn.Parameter(torch.zeros(1))], lr=BASE)


def ours(config: ScheduleConfig, mode: str = "max", epochs: int = EPOCHS) -> Schedule:
    return build_schedule(config, epochs, STEPS, mode)


def rates(scheduler: torch_schedules.LRScheduler, opt: Optimizer, each_epoch: bool) -> list[float]:
    """Return the rate of every step of a torch schedule that is moved each step or each epoch."""
    found = []
    for step in range(TOTAL):
        found.append(opt.param_groups[0]["lr"])
        opt.step()
        if not each_epoch or (step + 1) % STEPS == 0:
            scheduler.step()
    return found


S = torch_schedules
CASES: list[tuple[ScheduleConfig, Callable[[Optimizer], torch_schedules.LRScheduler], bool]] = [
    (ScheduleConfig(name="cosine", final=0.01), lambda o: S.CosineAnnealingLR(o, TOTAL, eta_min=0.01 * BASE), False),
    (ScheduleConfig(name="cosine"), lambda o: S.CosineAnnealingLR(o, TOTAL), False),
    (ScheduleConfig(name="linear", final=0.1), lambda o: S.LinearLR(o, 1.0, 0.1, TOTAL), False),
    (ScheduleConfig(name="onecycle"), lambda o: S.OneCycleLR(o, BASE, TOTAL), False),
    (ScheduleConfig(name="step", step_size=2, gamma=0.3), lambda o: S.StepLR(o, 2, 0.3), True),
    (
        ScheduleConfig(name="multistep", milestones=[4, 1, 3], gamma=0.5),
        lambda o: S.MultiStepLR(o, [1, 3, 4], 0.5),
        True,
    ),
    (ScheduleConfig(name="exponential", gamma=0.9), lambda o: S.ExponentialLR(o, 0.9), True),
    (ScheduleConfig(name="none"), lambda o: S.ConstantLR(o, 1.0), True),
]


@pytest.mark.parametrize(("config", "theirs", "each_epoch"), CASES, ids=lambda c: getattr(c, "name", None))
def test_equal_to_torch(
    config: ScheduleConfig, theirs: Callable[[Optimizer], torch_schedules.LRScheduler], each_epoch: bool
) -> None:
    opt = optimizer()
    expected = rates(theirs(opt), opt, each_epoch)
    schedule = ours(config)
    assert [BASE * schedule.factor(step) for step in range(TOTAL)] == pytest.approx(expected, rel=EXACT, abs=1e-18)
    assert schedule.state() == {}


@pytest.mark.parametrize("warmup", [1.0, 2.5])
def test_warmup_then_cosine(warmup: float) -> None:
    opt, steps = optimizer(), round(warmup * STEPS)
    rise = S.LinearLR(opt, 1 / (steps + 1), 1.0, steps)
    fall = S.CosineAnnealingLR(opt, TOTAL - steps, eta_min=0.05 * BASE)
    # torch's chain moves by rounded differences, so it agrees to fewer digits than each part does.
    expected = rates(S.SequentialLR(opt, [rise, fall], [steps]), opt, each_epoch=False)
    schedule = ours(ScheduleConfig(name="cosine", warmup_epochs=warmup, final=0.05))
    assert [BASE * schedule.factor(step) for step in range(TOTAL)] == pytest.approx(expected, rel=EXACT)


@pytest.mark.parametrize("name", ["cosine", "linear", "step", "multistep", "exponential", "none"])
def test_warmup_multiplies(name: str) -> None:
    settings = {"name": name, "step_size": 2, "milestones": [2], "gamma": 0.5}
    plain, warm = (ours(ScheduleConfig.model_validate(settings | {"warmup_epochs": n})) for n in (0, 1))
    assert [warm.factor(step) for step in range(STEPS)] == pytest.approx(
        [(step + 1) / (STEPS + 1) for step in range(STEPS)]
    )
    assert warm.factor(STEPS) == (plain.factor(STEPS) if name == "exponential" else 1)
    assert warm.factor(TOTAL - 1) == pytest.approx(plain.factor(TOTAL - 1), abs=0.02)


METRICS = (0.3, 0.4, 0.4, 0.40001, 0.39, 0.2, 0.6, 0.5, float("nan"), 0.1, 0.55, 0.1, 0.1, 0.1, 0.1, 0.1)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("patience", [0, 1, 2])
def test_plateau(mode: str, patience: int) -> None:
    opt = optimizer()
    theirs = S.ReduceLROnPlateau(opt, mode="min" if mode == "min" else "max", factor=0.5, patience=patience, eps=0)
    schedule = ours(ScheduleConfig(name="plateau", factor=0.5, patience=patience), mode)
    for metric in METRICS:
        assert BASE * schedule.factor(99) == pytest.approx(opt.param_groups[0]["lr"], rel=EXACT)
        theirs.step(metric)
        schedule.observe(metric)
    assert schedule.factor(0) < 1


def test_plateau_resumes() -> None:
    config = ScheduleConfig(name="plateau", patience=1)
    whole = ours(config)
    for metric in METRICS[:5]:
        whole.observe(metric)
    resumed = ours(config)
    resumed.load(whole.state())
    for metric in METRICS[5:]:
        whole.observe(metric)
        resumed.observe(metric)
        assert resumed.state() == whole.state()


@pytest.mark.parametrize("name", [case[0].name for case in CASES])
def test_one_step_and_past_the_end(name: str) -> None:
    """A run of a single step has a rate, and a step past the end raises nothing."""
    schedule = build_schedule(ScheduleConfig(name=name), 1, 1, "max")
    assert 0 <= schedule.factor(0) <= 1
    assert 0 <= schedule.factor(5) <= 1


@pytest.mark.parametrize(
    ("config", "epochs", "named"),
    [
        (ScheduleConfig(name="onecycle", warmup_epochs=1), 6, "onecycle"),
        (ScheduleConfig(name="plateau", warmup_epochs=1), 6, "plateau"),
        (ScheduleConfig(name="cosine", warmup_epochs=6), 6, "train.epochs"),
    ],
)
def test_warmup_that_cannot_be(config: ScheduleConfig, epochs: int, named: str) -> None:
    with pytest.raises(InputError, match=named) as caught:
        ours(config, epochs=epochs)
    assert "\n" not in str(caught.value)
