"""Sampler and pruner: a name, and the options that this one has."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from pipeline.core.choose import near
from pipeline.core.config import Section

SAMPLERS: dict[str, tuple[str, ...]] = {
    "TPE": ("n_startup_trials", "n_ei_candidates", "multivariate", "group", "constant_liar"),
    "Random": (),
    "CmaEs": (
        "n_startup_trials", "sigma0", "popsize", "consider_pruned_trials", "use_separable_cma", "with_margin",
        "lr_adapt",
    ),
    "Grid": (),
    "GP": ("n_startup_trials", "deterministic_objective"),
    "QMC": ("qmc_type", "scramble"),
}  # fmt: skip
PRUNERS: dict[str, tuple[str, ...]] = {
    "Median": ("n_startup_trials", "n_warmup_steps", "interval_steps", "n_min_trials"),
    "Percentile": ("percentile", "n_startup_trials", "n_warmup_steps", "interval_steps", "n_min_trials"),
    "SuccessiveHalving": ("min_resource", "reduction_factor", "min_early_stopping_rate", "bootstrap_count"),
    "Hyperband": ("min_resource", "max_resource", "reduction_factor", "bootstrap_count"),
    "Nop": (),
    "none": (),
}


def _named(value: Any, ending: str) -> Any:
    """Read ``TPE`` or ``TPESampler`` as ``{name: TPE}``, and null as ``{name: none}``."""
    if value is None:
        return {"name": "none"}
    if isinstance(value, str):
        value = {"name": value}
    if isinstance(value, dict) and "name" in value:
        name = value["name"]
        name = "none" if name is None or name in ("None", "none") else name
        return value | {"name": name.removesuffix(ending) if isinstance(name, str) else name}
    return value


class _Chosen(Section):
    def options(self) -> dict[str, Any]:
        """Return the options that are written."""
        return {name: value for name in self.model_fields_set - {"name"} if (value := getattr(self, name)) is not None}

    def _check_options(self, table: dict[str, tuple[str, ...]], name: str) -> None:
        for option in sorted(self.options()):
            if option not in table[name]:
                allowed = ", ".join(table[name]) or "it has none"
                raise ValueError(f"{option}: no option of {name}{near(option, table[name])} Options: {allowed}")


class SamplerConfig(_Chosen):
    """How the parameters of the next trial are chosen; a name alone, or with options. Empty: Optuna's default."""

    name: Literal["TPE", "Random", "CmaEs", "Grid", "GP", "QMC"] = "TPE"
    n_startup_trials: int | None = Field(None, ge=0)
    """TPE, CmaEs, GP: trials at random before the method begins."""
    n_ei_candidates: int | None = Field(None, ge=1)
    multivariate: bool | None = None
    group: bool | None = None
    constant_liar: bool | None = None
    """TPE: count running trials, so that workers do not try the same."""
    sigma0: float | None = Field(None, gt=0)
    popsize: int | None = Field(None, ge=2)
    consider_pruned_trials: bool | None = None
    use_separable_cma: bool | None = None
    with_margin: bool | None = None
    lr_adapt: bool | None = None
    deterministic_objective: bool | None = None
    qmc_type: Literal["sobol", "halton"] | None = None
    scramble: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return _named(value, "Sampler")

    @model_validator(mode="after")
    def _own_options(self) -> SamplerConfig:
        self._check_options(SAMPLERS, self.name)
        if self.group and self.multivariate is False:
            raise ValueError("group: of TPE with multivariate: true")
        return self


class PrunerConfig(_Chosen):
    """Which trials are stopped early; ``Nop``, ``none`` and null: none at all."""

    name: Literal["Median", "Percentile", "SuccessiveHalving", "Hyperband", "Nop", "none"] = "Median"
    n_startup_trials: int | None = Field(None, ge=0)
    """Median, Percentile: trials that must be complete before one is stopped."""
    n_warmup_steps: int | None = Field(None, ge=0)
    """Median, Percentile: epochs of a trial before it may be stopped."""
    interval_steps: int | None = Field(None, ge=1)
    n_min_trials: int | None = Field(None, ge=1)
    percentile: float | None = Field(None, ge=0, le=100)
    """Percentile: the best share that goes on; 25 where not written."""
    min_resource: int | None = Field(None, ge=1)
    """SuccessiveHalving, Hyperband: epochs before the first decision."""
    max_resource: int | None = Field(None, ge=1)
    """Hyperband: the epochs of a trial where not written."""
    reduction_factor: int | None = Field(None, ge=2)
    min_early_stopping_rate: int | None = Field(None, ge=0)
    bootstrap_count: int | None = Field(None, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return _named(value, "Pruner")

    @model_validator(mode="after")
    def _own_options(self) -> PrunerConfig:
        self._check_options(PRUNERS, self.name)
        if self.name == "SuccessiveHalving" and self.bootstrap_count and self.min_resource is None:
            raise ValueError("bootstrap_count: needs min_resource as well")
        return self
