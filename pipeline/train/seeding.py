"""Seeding what draws at random in a step."""

from __future__ import annotations

import torch


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed the generators that operations on ``device`` draw from: the CPU's, and on a GPU that GPU's.

    ``torch.manual_seed`` seeds every kind of device that there may be and, for those that are not in use, formats a
    traceback each time: 0.3 ms, in which two images are cropped and resized.
    """
    if device.type not in ("cpu", "cuda"):
        torch.manual_seed(seed)
        return
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
