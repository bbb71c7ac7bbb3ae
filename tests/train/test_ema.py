"""The moving average against the plain formula, and its swap into the module."""

import pytest
import torch
from torch import nn

from pipeline.core.errors import InputError
from pipeline.train.ema import Ema


def module() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def disturb(model: nn.Module, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize("decay", [0.9, 0.2])
def test_against_the_formula(decay: float) -> None:
    model = module()
    ema = Ema(model, decay)
    average = {name: value.detach().double().clone() for name, value in model.named_parameters()}
    for step in range(40):
        disturb(model, step)
        ema.update(step)
        weight = min(decay, (1 + step) / (10 + step))
        for name, value in model.named_parameters():
            average[name] = weight * average[name] + (1 - weight) * value.detach().double()
    for name, value in ema.state_dict().items():
        # float32 rounding of 40 steps of size 1.
        torch.testing.assert_close(value.double(), average[name], rtol=1e-5, atol=1e-5)


def test_swap_and_back() -> None:
    model = module()
    ema = Ema(model, 0.9)
    disturb(model, 0)
    ema.update(0)
    raw = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(RuntimeError, match="stop"), ema.swapped():
        for name, value in ema.state_dict().items():
            assert torch.equal(value, raw[name])
        inside = {name: value.clone() for name, value in model.named_parameters()}
        raise RuntimeError("stop")
    for name, value in model.state_dict().items():
        assert torch.equal(value, raw[name])
    for name, value in ema.state_dict().items():
        assert torch.equal(value, inside[name])
        assert not torch.equal(value, raw[name])


def test_statistics_of_batch_norm_are_the_modules_own() -> None:
    model = module()
    ema = Ema(model, 0.9)
    model(torch.randn(8, 3))
    mean = model[1].running_mean.clone()
    ema.update(0)
    with ema.swapped():
        assert torch.equal(model[1].running_mean, mean)
    assert set(ema.state_dict()) == {name for name, _ in model.named_parameters()}


def test_training_goes_on_after_a_swap() -> None:
    """The optimizer holds the same parameters, and the average does not follow them until it is updated."""
    model = module()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    ema = Ema(model, 0.5)
    with ema.swapped():
        pass
    before = {name: value.clone() for name, value in ema.state_dict().items()}
    model(torch.randn(8, 3)).sum().backward()
    optimizer.step()
    assert not torch.equal(model[0].weight, before["0.weight"])
    assert all(torch.equal(value, before[name]) for name, value in ema.state_dict().items())


def test_resume_is_exact() -> None:
    whole, model = module(), module()
    first, second = Ema(whole, 0.9), Ema(model, 0.9)
    for step in range(3):
        disturb(whole, step)
        first.update(step)
    model.load_state_dict(whole.state_dict())
    second.load_state_dict(first.state_dict())
    for step in range(3, 6):
        disturb(whole, step)
        disturb(model, step)
        first.update(step)
        second.update(step)
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


def test_frozen_parameters_are_left_out() -> None:
    model = module()
    model[0].weight.requires_grad_(False)
    assert "0.weight" not in Ema(model, 0.9).state_dict()


def test_average_of_another_model() -> None:
    with pytest.raises(InputError, match="another model"):
        Ema(module(), 0.9).load_state_dict({"x": torch.zeros(1)})
