"""Settings of a sweep: which backbones, folds and seeds, and how many runs at a time."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from pipeline.core.config import Section, runtime
from pipeline.core.parts import Part

OWN = ("simple", "resnet_small", "deformable", "convnext_tiny", "positional")
"""Our own backbones: what a sweep tries unless told otherwise. A test holds the list equal to what train offers."""

ALL = "all"
Metric = Literal["macro_f1", "macro_f1_cross_fit", "macro_f1_excluding", "weighted_f1", "map", "val_loss"]
_PATH = r"^[^\s=,]+$"


def _listed(value: Any) -> Any:
    """Read ``a,b`` (as on a command line) as a list; a single value is a list of one."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value if isinstance(value, list | tuple) else [value]


Name = Annotated[str, Field(coerce_numbers_to_str=True, pattern=_PATH)]
Names = Annotated[list[Name], BeforeValidator(_listed)]
Seeds = Annotated[list[Annotated[int, Field(ge=0, lt=2**63)]], BeforeValidator(_listed)]


class SweepConfig(Section):
    """Every backbone with every fold and every seed is one run."""

    backbones: Names = Field(list(OWN), min_length=1)
    """Own names or timm names, with commas; ``all``: every own one."""
    folds: Names = Field(default_factory=list)
    """Divisions of the store, with commas; ``all``: every fold of a cross-validation; empty: train.fold."""
    seeds: Seeds = Field(default_factory=list)
    """With commas; empty: train.seed."""
    jobs: int = runtime(1, ge=1, le=1024)
    """Runs at a time; the cores and ``train.memory_gb`` are divided among them."""
    by: Metric = "macro_f1"
    """Score on validation days that orders the backbones."""
    parts: str = runtime("")
    """``i/n``: only every n-th run, for the tasks of a job array; the summary is left to the command without it."""
    dry_run: bool = runtime(False)
    """Show the runs and how each of them stands, and start nothing."""

    @field_validator("backbones", "folds", "seeds")
    @classmethod
    def _once(cls, values: list[Any]) -> list[Any]:
        repeated = sorted({str(value) for value in values if values.count(value) > 1})
        if repeated:
            raise ValueError(f"{', '.join(repeated)} written twice; keep one")
        return values

    @field_validator("folds")
    @classmethod
    def _all_stands_alone(cls, values: list[str]) -> list[str]:
        if ALL in values and len(values) > 1:
            raise ValueError("'all' stands alone or not at all; write all, or a list of folds")
        return values

    @field_validator("backbones")
    @classmethod
    def _all_own(cls, values: list[str]) -> list[str]:
        """Take ``all`` as all of our own, also beside names of timm."""
        own = [*OWN] if ALL in values else []
        return [*own, *(name for name in values if name not in (ALL, *own))]

    @field_validator("parts")
    @classmethod
    def _part(cls, value: str) -> str:
        Part.parse(value)
        return value


FLAGS = {f"--{name.replace('_', '-')}": f"sweep.{name}" for name in SweepConfig.model_fields}
"""Each setting of a sweep has an option of its own."""
