"""Label texts to base types: ``2A+4B`` holds both at once (composite), ``2A-1`` one after the other (transition)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.choose import near
from pipeline.core.errors import InputError, shorten
from pipeline.store.config import TargetConfig

KINDS = ("single", "composite", "transition")


@dataclass(frozen=True)
class Label:
    """The distinct base types of a label in order of appearance, and how they are joined."""

    types: tuple[str, ...]
    kind: str
    """``transition`` if a transition character occurs, else ``composite`` with two or more types, else ``single``."""
    repeated: bool
    """Whether a type was written more than once (it counts once)."""


@dataclass(frozen=True)
class Labels:
    """The targets of N days: ``target`` N × K (0 or 1), ``kinds`` N of :data:`KINDS`."""

    classes: tuple[str, ...]
    target: NDArray[np.uint8]
    kinds: NDArray[np.str_]
    repeated: int


def parse(text: str, config: TargetConfig) -> Label:
    """Split a label text into its base types; white space around a type does not count.

    A type is any text: ``NA`` is one. With ``kind: single_label`` the whole text is the type.
    """
    transition = "" if config.kind == "single_label" else config.transition
    joiners = "" if config.kind == "single_label" else re.escape(config.composite + transition)
    tokens = [token.strip() for token in (re.split(f"[{joiners}]", text) if joiners else [text])]
    types = tuple(dict.fromkeys(tokens))
    if any(character in text for character in transition):
        kind = "transition"
    else:
        kind = "composite" if len(types) > 1 else "single"
    return Label(types, kind, len(types) < len(tokens))


def encode(texts: Sequence[str], dates: Sequence[str], config: TargetConfig) -> Labels:
    """Turn the label texts of N days into targets.

    Raises:
        InputError: a base type is empty or outside ``store.target.classes``; lists them with their dates.
    """
    labels = [parse(text, config) for text in texts]
    found = sorted({name for label in labels for name in label.types} - {""})
    classes = tuple(config.classes or found)
    place = {name: position for position, name in enumerate(classes)}
    _refuse_unknown(labels, dates, place, bool(config.classes))
    target = np.zeros((len(labels), len(classes)), np.uint8)
    for row, label in enumerate(labels):
        target[row, [place[name] for name in label.types]] = 1
    kinds = np.array([label.kind for label in labels], dtype=np.str_)
    return Labels(classes, target, kinds, sum(label.repeated for label in labels))


def refuse_other_number(classes: Sequence[str], config: TargetConfig) -> None:
    """Check the number of classes against ``store.target.num_classes``, if that is set.

    Raises:
        InputError: they differ.
    """
    if config.num_classes is not None and config.num_classes != len(classes):
        raise InputError(
            f"store.target.num_classes: {config.num_classes}, but the labels have {len(classes)} classes: "
            f"{shorten(classes, 30)}"
        )


def _refuse_unknown(labels: Sequence[Label], dates: Sequence[str], known: dict[str, int], listed: bool) -> None:
    unknown: dict[str, list[str]] = {}
    for label, date in zip(labels, dates, strict=True):
        for name in label.types:
            if name not in known:
                unknown.setdefault(name, []).append(date)
    if not unknown:
        return
    found = shorten(f"{name!r} ({shorten(days, 3)})" for name, days in sorted(unknown.items()))
    hint = near(next(iter(unknown)), known) if len(unknown) == 1 else ""
    allowed = f"allowed by store.target.classes: {shorten(known, 30)}" if listed else "a base type cannot be empty"
    raise InputError(
        f"labels: unknown base type {found}{hint or ';'} {allowed}; mend the label file or store.target and run derive"
    )
