from pathlib import Path

import pytest

from tests.dialects.configs import CHARTS, POCHI, Form


@pytest.fixture
def pochi(tmp_path: Path) -> Form:
    """Configs after pochitrain's guide."""
    return Form(tmp_path, POCHI, "mine.py")


@pytest.fixture
def charts(tmp_path: Path) -> Form:
    """Configs after the image classifier's guide."""
    return Form(tmp_path, CHARTS, "mine.yaml")
