"""A place with a store of 40 days, for searches of a second or two."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.synthetic.store import blobs, write_store


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ISOBAR_HOME", str(tmp_path))
    grid, target = blobs(40, 1, 5, 2, noise=0.5)
    write_store(tmp_path / "store", grid, target)
    return tmp_path
