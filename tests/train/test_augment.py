"""Augmentation: what moves, how large the noise is, and that a seed decides everything."""

import pytest
import torch
from torch import Tensor

from pipeline.train.augment import Inputs, build_augment, shifted, smooth_field
from pipeline.train.config import AugmentConfig

EVERYTHING = AugmentConfig(shift=2, noise=0.1, smooth_noise=0.2, mixup=0.4)


def seeded(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(samples: int = 6, channels: int = 3, height: int = 9, width: int = 11) -> tuple[Inputs, Tensor]:
    generator = seeded(1)
    maps = torch.randn(samples, channels, height, width, generator=generator)
    scalars = torch.randn(samples, 4, generator=generator)
    target = (torch.rand(samples, 5, generator=generator) < 0.3).float()
    return {"grid": maps, "season": scalars}, target


def test_none_by_default() -> None:
    assert build_augment(AugmentConfig()) is None


@pytest.mark.parametrize("config", [EVERYTHING, AugmentConfig(shift=1), AugmentConfig(mixup=1), AugmentConfig(noise=1)])
def test_a_function_of_the_seed(config: AugmentConfig) -> None:
    augment = build_augment(config)
    assert augment is not None
    inputs, target = batch()
    kept = {name: value.clone() for name, value in inputs.items()}
    torch.manual_seed(0)
    first, first_target = augment(inputs, target, seeded())
    torch.manual_seed(1)
    again, again_target = augment(inputs, target, seeded())
    other, _ = augment(inputs, target, seeded(6))
    assert all(torch.equal(first[name], again[name]) for name in inputs)
    assert torch.equal(first_target, again_target)
    assert not torch.equal(first["grid"], other["grid"])
    assert all(torch.equal(inputs[name], kept[name]) for name in inputs), "the batch itself must stay as it is"
    assert first["grid"].shape == inputs["grid"].shape


def test_shift_by_hand() -> None:
    maps = torch.arange(9.0).reshape(1, 1, 3, 3).expand(3, 2, 3, 3)
    found = shifted(maps, torch.tensor([0, 1, 0]), torch.tensor([0, 0, -1]))
    assert found[0, 1].tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert found[1, 0].tolist() == [[0, 1, 2], [0, 1, 2], [3, 4, 5]]
    assert found[2, 1].tolist() == [[1, 2, 2], [4, 5, 5], [7, 8, 8]]


def test_every_sample_has_its_own_shift() -> None:
    augment = build_augment(AugmentConfig(shift=1))
    assert augment is not None
    place = torch.zeros(900, 1, 5, 7)
    place[:, :, 2, 3] = 1
    found, _ = augment({"grid": place, "other": place}, torch.zeros(900, 1), seeded())
    assert torch.equal(found["grid"], found["other"]), "inputs of one sample move together"
    cells = found["grid"].flatten(1).argmax(1)
    counts = torch.stack([(cells == 7 * row + column).sum() for row in (1, 2, 3) for column in (2, 3, 4)])
    assert counts.sum() == 900
    # 900 draws over nine places: 100 ± 9.4 each; five standard deviations.
    assert ((counts - 100).abs() < 47).all()


def test_scalars_move_with_nothing_but_mixup() -> None:
    augment = build_augment(EVERYTHING.model_copy(update={"mixup": 0.0}))
    assert augment is not None
    inputs, target = batch()
    found, found_target = augment(inputs, target, seeded())
    assert torch.equal(found["season"], inputs["season"])
    assert torch.equal(found_target, target)


def test_white_noise() -> None:
    augment = build_augment(AugmentConfig(noise=0.3), masks={"grid": 1})
    assert augment is not None
    inputs, target = batch(200)
    noise = augment(inputs, target, seeded())[0]["grid"] - inputs["grid"]
    assert (noise[:, 2] == 0).all(), "a validity mask gets no noise"
    # 39,600 numbers: the standard error of sd is 0.3/√79200 = 0.0011, of the mean 0.0015, of a correlation 0.005.
    assert noise[:, :2].std().item() == pytest.approx(0.3, abs=0.006)
    assert noise[:, :2].mean().item() == pytest.approx(0.0, abs=0.008)
    neighbours = torch.corrcoef(torch.stack([noise[:, :2, :, 1:].flatten(), noise[:, :2, :, :-1].flatten()]))[0, 1]
    assert abs(neighbours.item()) < 0.03


@pytest.mark.parametrize(("height", "width"), [(9, 9), (17, 33), (41, 41)])
def test_smooth_noise(height: int, width: int) -> None:
    field = smooth_field((4000, 1, height, width), seeded())[:, 0]
    # 4000 draws: the standard error of a cell's sd is 1/√8000 = 0.011; five of them over all cells.
    assert (field.std(0) - 1).abs().max() < 0.06
    assert field.mean(0).abs().max() < 0.09
    near = torch.corrcoef(torch.stack([field[:, 4, 4], field[:, 4, 5]]))[0, 1]
    far = torch.corrcoef(torch.stack([field[:, 0, 0], field[:, -1, -1]]))[0, 1]
    assert near > 0.5
    assert abs(far.item()) < 0.1


def test_strengths_of_smooth_noise() -> None:
    augment = build_augment(AugmentConfig(smooth_noise=0.5))
    assert augment is not None
    inputs, target = batch(400)
    noise = augment(inputs, target, seeded())[0]["grid"] - inputs["grid"]
    # About 30 independent numbers a field, 1200 fields: a standard error of 0.002.
    assert noise.std().item() == pytest.approx(0.5, abs=0.01)


def test_mixup_mixes_pairs() -> None:
    augment = build_augment(AugmentConfig(mixup=0.4))
    assert augment is not None
    place = torch.arange(8.0)
    inputs = {"grid": place[:, None, None, None].expand(8, 2, 3, 3), "season": place[:, None]}
    target = torch.eye(8)
    found, mixed = augment(inputs, target, seeded())
    # Rows of the mixed identity are the shares of each sample, so they explain every input.
    assert mixed.sum(1).tolist() == pytest.approx([1.0] * 8)
    assert (mixed > 0).sum(1).max() <= 2
    torch.testing.assert_close(found["season"][:, 0], mixed @ place, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found["grid"][:, 1, 2, 2], mixed @ place, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_of_mixup(alpha: float) -> None:
    augment = build_augment(AugmentConfig(mixup=alpha))
    assert augment is not None
    ones = torch.zeros(20000, 1)
    ones[:10000] = 1
    _, mixed = augment({}, ones, seeded())
    _, sure = augment({}, torch.ones(5000, 1), seeded())
    assert (sure == 1).all(), "mixing equal targets changes nothing, not even by rounding"
    # With half of the targets 1: mixed is share, 1 − share, 0 or 1. Beta(α, α) has variance 1/(4(2α + 1)), so
    # E[(mixed − ½)²] = ½·¼ + ½·1/(4(2α + 1)); the standard error over 20,000 draws is below 0.001.
    expected = 0.125 + 0.125 / (2 * alpha + 1)
    assert ((mixed - 0.5) ** 2).mean().item() == pytest.approx(expected, abs=0.005)
    assert mixed.mean().item() == pytest.approx(0.5, abs=0.01)
