"""One finished analysis of series of known truth, for all who only look at it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.interrupt import Interrupt
from pipeline.importance.stage import analyse
from tests.importance.made_up_series import place, settings


@pytest.fixture(scope="session")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with the series."""
    return place(tmp_path_factory.mktemp("importance"))


@pytest.fixture(scope="session")
def done(truth: Path) -> Path:
    """The run of their analysis."""
    return analyse(settings(shap=True), truth, Interrupt()).run
