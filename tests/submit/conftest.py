"""A folder with data, and, where the one-machine cluster is up, that cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Place, run_job
from tests.submit.interruptions import Bench, cluster_is_up


@pytest.fixture(scope="session")
def stored_place(raw_place: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A copy of ``raw_place`` with its store; treat as read-only."""
    place = raw_place.copy(tmp_path_factory.mktemp("stored_place"))
    for job in ("derive", "store"):
        ended = run_job(job, place.config)
        assert ended.code == 0, ended.text
    return place


@pytest.fixture
def bench(stored_place: Place, tmp_path: Path) -> Bench:
    return Bench(stored_place.copy(tmp_path / "home").home)


@pytest.fixture(scope="session")
def cluster() -> None:
    """Skip where the one-machine cluster is not up."""
    if not cluster_is_up():
        pytest.skip("no cluster; as root: slurm/dev_cluster.sh up && .venv/bin/python -m pytest -m slurm tests/submit")
