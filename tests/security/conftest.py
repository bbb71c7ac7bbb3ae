"""The places and processes that wrong inputs share."""

from __future__ import annotations

from tests.badinput.shared import grounds

__all__ = ["grounds"]
