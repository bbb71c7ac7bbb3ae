import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.core.errors import InputError
from pipeline.store.config import TargetConfig
from pipeline.store.labels import encode, parse

TARGET = TargetConfig()
DAYS = ["2001-01-01", "2001-01-02", "2001-01-03", "2001-01-04"]
names = st.text(st.characters(exclude_characters="+|-", exclude_categories=["Z", "C"]), min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("text", "types", "kind"),
    [
        ("2A", ("2A",), "single"),
        ("NA", ("NA",), "single"),
        ("2A+4B", ("2A", "4B"), "composite"),
        ("C|SW", ("C", "SW"), "composite"),
        ("2C-1", ("2C", "1"), "transition"),
        ("2C-1+4B", ("2C", "1", "4B"), "transition"),
        (" 2A + 4B ", ("2A", "4B"), "composite"),
        ("2A+2A", ("2A",), "single"),
    ],
)
def test_a_label_is_split_into_base_types(text: str, types: tuple[str, ...], kind: str) -> None:
    label = parse(text, TARGET)
    assert (label.types, label.kind) == (types, kind)


@given(st.lists(names, min_size=1, max_size=4, unique=True), st.data())
def test_parsing_gives_back_what_was_joined(types: list[str], data: st.DataObject) -> None:
    joints = data.draw(st.lists(st.sampled_from(["+", "|", "-", " + "]), min_size=len(types), max_size=len(types)))
    text = types[0] + "".join(joint + name for joint, name in zip(joints, types[1:], strict=False))
    label = parse(text, TARGET)
    used = joints[: len(types) - 1]
    assert label.types == tuple(types)
    assert not label.repeated
    assert label.kind == ("transition" if "-" in used else "composite" if used else "single")


def test_without_a_transition_character_it_is_part_of_a_name() -> None:
    target = TargetConfig(transition="", classes=["blocked-west", "zonal"])
    assert parse("blocked-west+zonal", target).types == ("blocked-west", "zonal")
    encoded = encode(["blocked-west", "zonal"], DAYS[:2], target)
    assert encoded.target.tolist() == [[1, 0], [0, 1]]


def test_targets_are_the_union_of_types_in_the_order_of_the_classes() -> None:
    labels = encode(["4B+2A", "2A+4B", "1-2A", "1+1"], DAYS, TARGET)
    assert labels.classes == ("1", "2A", "4B")
    assert labels.target.tolist() == [[0, 1, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]]
    assert labels.target.dtype == np.uint8
    assert labels.kinds.tolist() == ["composite", "composite", "transition", "single"]
    assert labels.repeated == 1
    listed = encode(["1"], DAYS[:1], TargetConfig(classes=["4B", "1"]))
    assert (listed.classes, listed.target.tolist()) == (("4B", "1"), [[0, 1]])


def test_an_unknown_type_is_an_error_with_its_dates() -> None:
    with pytest.raises(InputError) as error:
        encode(["2A", "2a", "1+2a", "1"], DAYS, TargetConfig(classes=["1", "2A"]))
    message = str(error.value)
    assert "'2a' (2001-01-02, 2001-01-03)" in message
    assert "did you mean '2A'?" in message
    assert "1, 2A" in message


@pytest.mark.parametrize("text", ["2A+", "+", "1--2A"])
def test_an_empty_type_is_an_error(text: str) -> None:
    with pytest.raises(InputError, match=r"'' \(2001-01-01\).*cannot be empty"):
        encode([text], DAYS[:1], TARGET)


@pytest.mark.parametrize(
    "settings",
    [
        {"composite": "+-"},
        {"classes": ["a-b"]},
        {"classes": ["a", "a"]},
    ],
)
def test_contradictory_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TargetConfig.model_validate(settings)
