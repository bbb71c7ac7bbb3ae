"""Figures that the documentation promises, each measured against the naive way in the same run."""
