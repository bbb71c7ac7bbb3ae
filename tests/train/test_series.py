"""The series encoder and fusion: what is masked has no say, and what is joined has."""

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from pipeline.contract.store import InputSpec
from pipeline.core.errors import InputError
from pipeline.train.config import ModelConfig
from pipeline.train.fusion import Encoded, ModalityDropout
from pipeline.train.model import Classifier, build_model
from pipeline.train.sections.model import SeriesConfig
from pipeline.train.series_encoder import SeriesEncoder, sinusoids

STEPS, FEATURES = 7, 3
IMAGE = InputSpec("image", "image.npy", "uint8", (3, 16, 16), ("red", "green", "blue"), ("1",) * 3)
SERIES = InputSpec(
    "series", "series.npy", "float32", (STEPS, FEATURES), ("a", "b", "c"), ("1",) * 3, ("a", "b", "c"), True
)
SMALL: dict[str, Any] = {
    "backbone": "simple",
    "hidden": 8,
    "head_dropout": 0,
    "dropout": 0,
    "series": {"dim": 16, "heads": 2, "feedforward": 32, "dropout": 0},
}


def windows(samples: int = 4, valid: list[int] | None = None) -> Tensor:
    """Return windows whose last ``valid[n]`` steps are valid."""
    values = torch.randn(samples, STEPS, FEATURES + 1, generator=torch.Generator().manual_seed(4))
    values[..., -1] = 1
    for sample, count in enumerate(valid or []):
        values[sample, : STEPS - count] = 0
    return values


def raw(samples: int = 4) -> Tensor:
    return torch.randint(0, 256, (samples, 3, 16, 16), generator=torch.Generator().manual_seed(1)).to(torch.uint8)


def encoder(**settings: Any) -> SeriesEncoder:
    torch.manual_seed(5)
    return SeriesEncoder(STEPS, FEATURES, SeriesConfig(**{"dim": 16, "heads": 2, "dropout": 0, **settings}))


def model(inputs: dict[str, InputSpec], **settings: Any) -> Classifier:
    torch.manual_seed(5)
    return build_model(ModelConfig.model_validate(SMALL | settings), inputs, 5)


def test_defaults_are_those_of_the_guide() -> None:
    layers = SeriesEncoder(40, 6, SeriesConfig()).layers
    first = layers.layers[0]
    assert len(layers.layers) == 2
    assert (first.self_attn.embed_dim, first.self_attn.num_heads, first.linear1.out_features) == (128, 4, 512)
    assert first.dropout.p == 0.1


def test_layers_start_from_different_weights() -> None:
    first, second = encoder().layers.layers
    assert not torch.equal(first.linear1.weight, second.linear1.weight)


def test_positional_encoding_by_hand() -> None:
    found = sinusoids(9, 6)
    for step, pair in ((0, 0), (3, 0), (3, 1), (8, 2)):
        angle = step / 10000 ** (2 * pair / 6)
        assert found[step, 2 * pair].item() == pytest.approx(math.sin(angle), abs=1e-6)
        assert found[step, 2 * pair + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)
    with pytest.raises(InputError, match="5 is odd"):
        sinusoids(4, 5)


@pytest.mark.parametrize("output", ["last", "mean"])
@pytest.mark.parametrize("training", [False, True])
def test_masked_steps_have_no_say(output: str, training: bool) -> None:
    net = encoder(output=output).train(training)
    given = windows(4, [7, 3, 1, 5])
    other = given.clone()
    other[given[..., -1] == 0, :-1] = 1e3
    expected = net(given).vector
    torch.testing.assert_close(net(other).vector, expected, rtol=0, atol=0)
    changed = given.clone()
    changed[:, -1, 0] += 1
    assert (net(changed).vector != expected).any(1).all(), "valid steps have"


@pytest.mark.parametrize("output", ["last", "mean"])
def test_the_order_of_steps_counts_and_earlier_ones_are_read(output: str) -> None:
    net = encoder(output=output).eval()
    given = windows()
    turned = given.flip(1)
    turned[:, -1] = given[:, -1]
    assert (net(turned).vector - net(given).vector).abs().amax(1).min() > 1e-4


def test_last_is_the_last_valid_step() -> None:
    net = encoder().eval()
    given = windows(2, [7, 7])
    given[1, -2:] = 0
    found = net(given)
    assert torch.equal(found.vector[0], found.tokens[0, -1])
    assert torch.equal(found.vector[1], found.tokens[1, -3])


@pytest.mark.parametrize("output", ["last", "mean"])
@pytest.mark.parametrize("training", [False, True])
def test_a_window_without_a_valid_step_is_zero_and_finite(output: str, training: bool) -> None:
    net = encoder(output=output).train(training)
    given = windows(3, [7, 0, 2])
    found = net(given).vector
    assert torch.isfinite(found).all()
    assert (found[1] == 0).all()
    found.square().sum().backward()
    assert all(torch.isfinite(value.grad).all() for value in net.parameters() if value.grad is not None)
    # Company does not matter: alone, and among others. Batched products sum in another order.
    torch.testing.assert_close(net(given[:1]).vector, net(given).vector[:1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"dim": 15, "heads": 1}, "dim 15 is odd"), ({"dim": 16, "heads": 3}, "not divisible by heads 3")],
)
def test_sizes_are_checked(settings: dict[str, int], named: str) -> None:
    with pytest.raises(ValidationError, match=named) as caught:
        SeriesConfig(**settings)
    assert len(caught.value.errors()) == 1


def test_series_alone() -> None:
    net = model({"series": SERIES})
    assert net({"series": windows()}).shape == (4, 5)
    assert net.facts["backbone"] == ""
    net({"series": windows()}).square().sum().backward()
    assert all(value.grad is not None for value in net.parameters())


@pytest.mark.parametrize("fusion", ["concat", "cross_attention"])
def test_both_inputs_have_a_say_and_every_parameter_learns(fusion: str) -> None:
    net = model({"image": IMAGE, "series": SERIES}, fusion=fusion).eval()
    inputs = {"image": raw(), "series": windows()}
    expected = net(inputs)
    assert expected.shape == (4, 5)
    for name, other in (("image", 255 - raw()), ("series", -windows().abs())):
        changed = {**inputs, name: other}
        if name == "series":
            changed[name] = torch.cat([other[..., :-1], torch.ones_like(other[..., -1:])], -1)
        assert (net(changed) - expected).abs().amax(1).min() > 1e-5, name
    net.train()(inputs).square().sum().backward()
    for name, value in net.named_parameters():
        assert value.grad is not None, name
        assert torch.isfinite(value.grad).all()


def test_cross_attention_reads_valid_steps_only_and_none_is_no_fault() -> None:
    net = model({"image": IMAGE, "series": SERIES}, fusion="cross_attention").eval()
    given = windows(4, [7, 3, 0, 5])
    other = given.clone()
    other[given[..., -1] == 0, :-1] = 50.0
    expected = net({"image": raw(), "series": given})
    assert torch.isfinite(expected).all()
    torch.testing.assert_close(net({"image": raw(), "series": other}), expected, rtol=0, atol=0)
    net({"image": raw(), "series": given}).sum().backward()
    assert all(torch.isfinite(value.grad).all() for value in net.parameters() if value.grad is not None)


def test_cross_attention_needs_both() -> None:
    for inputs in ({"image": IMAGE}, {"series": SERIES}):
        with pytest.raises(InputError, match=r"train\.model\.fusion: cross_attention needs an image"):
            model(inputs, fusion="cross_attention")
    with pytest.raises(InputError, match="needs two inputs"):
        model({"image": IMAGE}, modality_dropout=0.5)


@pytest.mark.parametrize("gone", ["image", "series"])
def test_a_missing_input_is_named(gone: str) -> None:
    net = model({"image": IMAGE, "series": SERIES}).eval()
    inputs: dict[str, Any] = {"image": raw(), "series": windows()}
    for less in ({**inputs, gone: None}, {name: value for name, value in inputs.items() if name != gone}):
        with pytest.raises(InputError, match=f"model input {gone} is missing.*trained with image, series"):
            net(less)


def test_modality_dropout_blanks_one_input_of_a_sample() -> None:
    torch.manual_seed(2)
    layer = ModalityDropout(0.4)
    ones = torch.ones(4000, 2)
    tokens, missing = torch.ones(4000, 3, 2), torch.zeros(4000, 3, dtype=torch.bool)
    found = layer({"image": Encoded(ones, tokens), "series": Encoded(ones, tokens, missing)})
    image, series = found["image"].vector[:, 0] == 0, found["series"].vector[:, 0] == 0
    assert not (image & series).any()
    # 4000 draws: standard errors of 0.006.
    assert image.float().mean().item() == pytest.approx(0.2, abs=0.03)
    assert series.float().mean().item() == pytest.approx(0.2, abs=0.03)
    assert found["series"].missing is not None
    assert torch.equal(found["series"].missing.all(1), series)
    assert found["image"].tokens is not None
    assert torch.equal((found["image"].tokens == 0).flatten(1).all(1), image)
    assert layer.eval()({"image": Encoded(ones)})["image"].vector is ones


@pytest.mark.parametrize("fusion", ["concat", "cross_attention"])
def test_modality_dropout_changes_training_only(fusion: str) -> None:
    inputs = {"image": raw(), "series": windows()}
    net = model({"image": IMAGE, "series": SERIES}, fusion=fusion, modality_dropout=0.9)
    assert not torch.equal(net(inputs), net(inputs))
    net.eval()
    assert torch.equal(net(inputs), net(inputs))
