"""Validation logits to calibration and decision thresholds, without torch."""
