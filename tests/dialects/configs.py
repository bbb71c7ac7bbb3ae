"""Small configs in the guides' forms, written and loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.config import load
from pipeline.core.errors import InputError
from pipeline.experiment import Experiment

POCHI = """\
model_name = "resnet18"
num_classes = 4
pretrained = False
train_data_root = "data/train"
val_data_root = "data/val"
batch_size = 32
epochs = 20
learning_rate = 0.01
optimizer = "SGD"
train_transform = ["ToTensor"]
val_transform = ["ToTensor"]
"""
"""Line 1 is model_name."""

CHARTS = """\
model_mode: single
model_architecture_name: nfnet
datasets: [dataset_a]
"""


def load_text(folder: Path, text: str, name: str, *overrides: str) -> Experiment:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return load(path, Experiment, overrides).config


class Form:
    """Writes and loads configs of one guide: a beginning and more lines."""

    def __init__(self, folder: Path, beginning: str, name: str) -> None:
        self.folder, self.beginning, self.name = folder, beginning, name

    def load(self, more: str = "", *overrides: str, without: str = "") -> Experiment:
        lines = [line for line in self.beginning.splitlines() if not without or not line.startswith(without)]
        return load_text(self.folder, "\n".join([*lines, more, ""]), self.name, *overrides)

    def error(self, more: str = "", *overrides: str, without: str = "") -> str:
        with pytest.raises(InputError) as caught:
            self.load(more, *overrides, without=without)
        return str(caught.value).replace(f"{self.folder}/", "")
