"""The presets: their tables bring what their fields are made of, and nothing else."""

from __future__ import annotations

from datetime import date

import pytest

from pipeline.core.config import load
from pipeline.derive.recipe import FIELDS, raw_needs
from pipeline.download.plan import period, wanted
from pipeline.experiment import Experiment
from tests.conftest import ROOT

NOT_A_CHANNEL = {("cape", None), ("cin", None)}
"""The guide downloads them and makes no channel of them."""


@pytest.mark.parametrize(("name", "requests"), [("era5_japan", 10 * 7), ("era5_europe", 30 * 7)])
def test_the_table_brings_what_the_fields_need(name: str, requests: int) -> None:
    config = load(ROOT / f"configs/{name}.yaml", Experiment).config
    table = {cell[:2] for cell in wanted(config.download, *period(config.download, date(2026, 1, 1)))}
    needed = {
        (need.variable, None if need.level is None else int(need.level))
        for field in config.derive.fields
        for need in raw_needs(FIELDS[field])
    }
    assert needed == table - NOT_A_CHANNEL
    assert len(config.download.requests) == 23
    assert len(config.derive.fields) == 41
    assert config.derive_section().raw == [f"data/raw/{name}/manifest.json"]


def test_the_preset_of_japan_uses_each_year_once() -> None:
    split = load(ROOT / "configs/era5_japan.yaml", Experiment).config.store.split
    assert sorted([*split.train, *split.val, *split.test]) == list(range(1991, 2001))
