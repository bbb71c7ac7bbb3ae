"""CutMix, and MixUp beside it: pixels and targets agree."""

import pytest
import torch
from torch import Tensor

from pipeline.train.mixing import Box, Cutmix, Either, Mixup, inside


def seeded(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def flat(samples: int, height: int = 12, width: int = 20) -> Tensor:
    """Return images whose every pixel is the sample's number."""
    return torch.arange(float(samples))[:, None, None, None].expand(samples, 3, height, width)


def test_targets_are_the_shares_of_pixels() -> None:
    inputs = {"image": flat(40)}
    found, target = Cutmix(1.0)(inputs, torch.eye(40), seeded())
    for sample in range(40):
        pixels = found["image"][sample, 0]
        assert torch.equal(found["image"][sample], pixels.expand(3, -1, -1))
        for other in range(40):
            share = (pixels == other).float().mean().item()
            assert target[sample, other].item() == pytest.approx(share, abs=1e-6)
    assert target.sum(1).tolist() == pytest.approx([1.0] * 40)
    assert len({round(value.item(), 4) for value in target.diagonal()}) > 10, "each sample has its own box"
    assert torch.equal(inputs["image"], flat(40))


def test_what_is_pasted_is_a_box() -> None:
    found, _ = Cutmix(1.0)({"image": flat(30)}, torch.eye(30), seeded(2))
    for sample in range(30):
        foreign = found["image"][sample, 0] != sample
        rows, columns = foreign.any(1), foreign.any(0)
        assert torch.equal(foreign, rows[:, None] & columns[None])
        for line in (rows, columns):
            assert line.int().diff().abs().sum() <= 2


def test_box_by_hand() -> None:
    value = [torch.tensor([number]) for number in (0.25, 0.75, -0.3, 0.5)]
    assert inside(Box(*value), 4, 4)[0].int().tolist() == [[0] * 4, [1, 1, 0, 0], [1, 1, 0, 0], [0] * 4]


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_area_of_boxes(alpha: float) -> None:
    """Where a box does not reach over the edge its area is 1 − share; the mean of Beta(α, α) is one half."""
    _, target = Cutmix(alpha)({"image": torch.zeros(4000, 1, 64, 64)}, torch.eye(4000), seeded())
    kept = target.diagonal()
    # A box of side s is cut by the edges to s − s²/4 each way on average, so a fifth of the area is lost at most.
    assert 0.5 < kept.mean().item() < 0.75
    assert kept.min() >= 0
    assert kept.max() <= 1


def test_a_function_of_the_seed() -> None:
    given = {"image": torch.randn(8, 3, 12, 12, generator=seeded(1))}
    for mixing in (Cutmix(1.0), Either(Mixup(1.0), Cutmix(1.0))):
        first, again, other = (mixing(given, torch.eye(8), seeded(seed)) for seed in (5, 5, 6))
        assert torch.equal(first[0]["image"], again[0]["image"])
        assert torch.equal(first[1], again[1])
        assert not torch.equal(first[0]["image"], other[0]["image"])


def test_with_mixup_each_sample_gets_one_of_the_two() -> None:
    inputs = {"image": flat(400)}
    found, target = Either(Mixup(1.0), Cutmix(1.0))(inputs, torch.eye(400), seeded())
    blended = 0
    for sample in range(400):
        pixels = found["image"][sample, 0]
        expected = (target[sample] * torch.arange(400.0)).sum().item()
        assert pixels.mean().item() == pytest.approx(expected, rel=1e-4, abs=1e-3)
        blended += int((pixels == pixels[0, 0]).all() and pixels[0, 0] != sample)
    # Even odds among 400: 200 ± 10; CutMix with a box over all or nothing looks blended or plain, rarely.
    assert 150 < blended < 250
