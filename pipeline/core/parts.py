"""Dividing one job among the tasks of a job array: ``--parts 2/8`` does the second eighth."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
PATTERN = r"^$|^\d{1,4}/\d{1,4}$"


@dataclass(frozen=True)
class Part:
    """The ``number``-th of ``of`` parts, counted from 1."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Part:
        """Read ``i/n``; empty text is the whole, 1/1.

        Raises:
            ValueError: not of this form, or i is not within 1 … n.
        """
        if not text:
            return cls(1, 1)
        if not re.match(PATTERN, text):
            raise ValueError(f"a part is written i/n, for example 2/8; found {text!r}")
        number, of = (int(word) for word in text.split("/"))
        if not 1 <= number <= of:
            raise ValueError(f"part {text!r}: i of i/n lies within 1 and n")
        return cls(number, of)

    @property
    def whole(self) -> bool:
        """Whether this is everything."""
        return self.of == 1

    def __str__(self) -> str:
        """Return ``i/n``."""
        return f"{self.number}/{self.of}"

    def mine(self, items: Sequence[T]) -> list[T]:
        """Return every ``of``-th item from the ``number``-th on, so that parts are of one size."""
        return list(items[self.number - 1 :: self.of])
