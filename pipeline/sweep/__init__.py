"""Sweeps: the same training with several backbones, folds and seeds, as ordinary runs, compared on validation."""
