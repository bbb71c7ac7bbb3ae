"""The head: layers by settings, and the reasoning layer with its auxiliary classifier."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from pipeline.train.config import LossConfig, ModelConfig
from pipeline.train.heads import Outputs, ReasoningHead, build_head
from pipeline.train.losses import build_loss


def head(**settings: Any) -> nn.Module:
    torch.manual_seed(3)
    return build_head(6, 3, ModelConfig.model_validate({"hidden": 8, "head_dropout": 0} | settings))


def features() -> Tensor:
    return torch.randn(5, 6, generator=torch.Generator().manual_seed(1))


def test_the_guides_classifier() -> None:
    layers = build_head(6, 3, ModelConfig(hidden=[256, 128], activation="silu", head_dropout=[0.3, 0.2]))
    assert [str(layer).split("(")[0] for layer in layers] == [
        *("Linear", "SiLU", "Dropout", "Linear", "SiLU", "Dropout", "Linear")
    ]
    assert [layer.out_features for layer in layers if isinstance(layer, nn.Linear)] == [256, 128, 3]
    assert [layer.p for layer in layers if isinstance(layer, nn.Dropout)] == [0.3, 0.2]


def test_dropout_changes_training_only() -> None:
    layers = head(hidden=[64, 64], head_dropout=[0.0, 0.5])
    assert not torch.equal(layers(features()), layers(features()))
    layers.eval()
    assert torch.equal(layers(features()), layers(features()))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"aux_loss_weight": 0.2}, "set reasoning_dim"),
        ({"reasoning_dim": 4, "members": 2}, "members: 1"),
        ({"hidden": [8, 8], "head_dropout": [0.1]}, "1 values for 2 hidden layers"),
        ({"hidden": -1}, "a width of 0 or more, or a list.*found -1"),
        ({"hidden": [8, 0]}, r"found \[8, 0\]"),
        ({"head_dropout": 1.0}, "below 1.*found 1.0"),
        ({"normalize": "imgenet"}, "model, imagenet, dataset.*found 'imgenet'"),
        ({"normalize": [[0, 0, 0], [1, 0, 1]]}, "std above 0"),
    ],
    ids=str,
)
def test_settings_that_do_not_go_together(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named) as caught:
        ModelConfig(**settings)
    assert len(caught.value.errors()) == 1


def test_off_by_default() -> None:
    assert isinstance(head(), nn.Sequential)


def test_the_classifier_reads_features_and_reasoning() -> None:
    net = head(reasoning_dim=4, hidden=0)
    assert isinstance(net, ReasoningHead)
    assert net.auxiliary is None
    found = net(features())
    both = torch.cat([features(), torch.relu(net.reasoning[0](features()))], dim=1)
    torch.testing.assert_close(found, net.classifier(both))
    assert net.classifier[0].in_features == 10


def test_the_auxiliary_loss_shapes_the_reasoning_and_nothing_else() -> None:
    target = torch.eye(3)[torch.tensor([0, 1, 2, 0, 1])]
    loss = build_loss(LossConfig(), target.sum(0), 5, "single_label")
    slopes: dict[float, dict[str, Tensor]] = {}
    for weight in (0.0, 0.5):
        net = head(reasoning_dim=4, aux_loss_weight=weight)
        output = net(features())
        assert isinstance(output, Outputs) is (weight > 0)
        loss(output, target).sum().backward()
        slopes[weight] = {name: value.grad for name, value in net.named_parameters() if value.grad is not None}
        assert len(slopes[weight]) == len(list(net.parameters())), "every parameter learns"
    assert not torch.allclose(slopes[0.0]["reasoning.0.weight"], slopes[0.5]["reasoning.0.weight"])
    torch.testing.assert_close(slopes[0.0]["classifier.0.weight"], slopes[0.5]["classifier.0.weight"])
    assert (slopes[0.5]["auxiliary.weight"] != 0).any()


def test_value_of_the_auxiliary_loss() -> None:
    net = head(reasoning_dim=4, aux_loss_weight=0.25)
    target = torch.eye(3)[torch.tensor([0, 1, 2, 0, 1])]
    loss = build_loss(LossConfig(class_weights="uniform"), target.sum(0), 5, "single_label")
    output = net(features())
    expected = loss(output.logits, target) + 0.25 * loss(output.auxiliary, target)
    torch.testing.assert_close(loss(output, target), expected)
    assert isinstance(net.eval()(features()), Tensor), "predictions come from the classifier alone"
