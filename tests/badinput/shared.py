"""The fixture of places and processes, for all folders of tests that use it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.badinput.ground import Grounds
from tests.faults.nursery import nursery


@pytest.fixture(scope="session")
def grounds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grounds]:
    """Places to copy, and a process that jobs are forked from."""
    root = tmp_path_factory.mktemp("grounds")
    with nursery(root / "said") as processes:
        yield Grounds(root / "places", processes)
