"""Configs written after the guides of other programs, read as they are: their keys in our sections."""

from pipeline.dialects.translate import DIALECTS, may_be_object, translated

__all__ = ["DIALECTS", "may_be_object", "translated"]
