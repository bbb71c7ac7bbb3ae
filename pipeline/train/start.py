"""Where a training begins: at a checkpoint of its own or of another run, with the weights of one, or with none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pipeline.core.errors import InputError, shorten
from pipeline.core.logs import event
from pipeline.train.checkpoint import load_raw, load_tensors
from pipeline.train.config import TrainConfig
from pipeline.train.sections.start import CHECKPOINTS, LAST, resume_file, start_file

_HEAD = "head."


@dataclass(frozen=True)
class Beginning:
    """What a training begins with."""

    path: Path = Path()
    """The checkpoint."""
    states: dict[str, Any] | None = None
    """Its contents; ``None`` where there is none."""
    named: str = LAST
    foreign: bool = False
    """Whether it is of another run."""
    weights: Path | None = None
    """First weights, where there is no checkpoint."""

    @property
    def facts(self) -> dict[str, Any] | None:
        """What the model was when the checkpoint was written."""
        return None if self.states is None else self.states.get("facts")

    def place(self) -> str:
        """Return where it is, in words."""
        if self.states is None:
            return "before its first step"
        progress = self.states["progress"]
        return f"at epoch {progress['epoch'] + 1}, step {progress['step'] + 1}"

    def told(self) -> dict[str, str]:
        """Return what ``run.json`` tells of it."""
        found = {"start_from": str(self.weights)} if self.weights is not None else {}
        return found | ({"resumed_from": str(self.path)} if self.foreign or self.named != LAST else {})


def where_to_begin(config: TrainConfig, run: Path, home: Path) -> Beginning:
    """Find and read what the run begins with.

    Args:
        config: ``resume`` and ``start_from``.
        run: its folder.
        home: where relative paths start.

    Raises:
        InputError: a file that is named does not exist, or is none of ours.
    """
    weights = None if config.start_from is None else start_file(config.start_from, home)
    last = run / CHECKPOINTS / LAST
    if last.exists():
        states = load_raw(last)
        # Having gone back to the checkpoint that is named once, the run goes on from there, whenever it is stopped.
        if "/" in config.resume or config.resume in (LAST, states["progress"].get("resumed")):
            return Beginning(last, states, weights=weights)
    elif config.resume == LAST:
        return Beginning(weights=weights)
    path = resume_file(config.resume, run, home)
    return Beginning(path, load_raw(path), config.resume, "/" in config.resume, weights)


def take_weights(module: nn.Module, path: Path, identity: dict[str, Any], head: str) -> None:
    """Put the weights of ``path`` into ``module``.

    Averaged weights are taken where a checkpoint holds them, since it was by them that it was judged.

    Args:
        module: on its device, as drawn.
        path: ``model.pt`` of a run, one of its checkpoints, or a table of the same tensors.
        identity: channels and classes of this run.
        head: ``keep``, or ``new`` to leave the head as it was drawn.

    Raises:
        InputError: not weights; of other channels or classes; or tensors missing, left over or of another shape.
    """
    raw = load_tensors(path)
    weights: dict[str, Tensor] = {**raw.get("model", raw), **raw.get("ema", {})}
    _check_identity(raw.get("identity", {}), identity, path, head)
    own = module.state_dict()
    if head == "new":
        weights = {name: value for name, value in weights.items() if not name.startswith(_HEAD)}
        weights |= {name: value for name, value in own.items() if name.startswith(_HEAD)}
    check_tensors(weights, own, path, "train.start_from")
    module.load_state_dict(weights)
    event(f"starting from {path}, head {'drawn anew' if head == 'new' else 'as it is there'}")


def _check_identity(theirs: dict[str, Any], ours: dict[str, Any], path: Path, head: str) -> None:
    """Compare what the file tells of itself; one without identity is judged by its tensors alone."""
    for name in ("channels", *(["classes"] if head == "keep" else [])):
        if name in theirs and theirs[name] != ours[name]:
            advice = "; use train.start_head=new to keep all but the head" if name == "classes" else ""
            raise InputError(f"train.start_from: {path} has {name} {theirs[name]}, this run {ours[name]}{advice}")


def check_tensors(weights: dict[str, Any], own: dict[str, Tensor], path: Path, setting: str) -> None:
    """Compare names and shapes with those of the model.

    Raises:
        InputError: they differ.
    """
    shapes = {name: tuple(getattr(value, "shape", ())) for name, value in weights.items()}
    wrong = [
        f"{name} {shapes[name]} for {tuple(value.shape)}"
        for name, value in own.items()
        if name in shapes and shapes[name] != tuple(value.shape)
    ]
    faults = {
        "missing": [name for name in own if name not in shapes],
        "left over": [name for name in shapes if name not in own],
        "of another shape": wrong,
    }
    told = [f"{len(names)} {label} ({shorten(names, 3)})" for label, names in faults.items() if names]
    if told:
        hint = ""
        if setting == "train.start_from" and all(name.startswith(_HEAD) for names in faults.values() for name in names):
            hint = "; they are all of the head: train.start_head=new draws it anew"
        raise InputError(f"{setting}: {path} does not fit train.model: tensors {'; '.join(told)}{hint}")
