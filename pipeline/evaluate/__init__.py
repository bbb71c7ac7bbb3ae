"""Predictions and thresholds to honest reports, without torch."""
