"""A made-up folder of two hundred runs, built once, and one browser for all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.site.build import build
from tests.site.browser import CHROMIUM, Browser
from tests.site.made_up import write_many


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``results/`` with 200 runs in three experiments, and its site; treat as read-only."""
    results = tmp_path_factory.mktemp("many") / "results"
    write_many(results)
    build(results)
    return results


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser that asks for English; tests that need another ask for it."""
    if CHROMIUM is None:
        pytest.skip("no chromium here: pages are not opened (apt-get install chromium)")
    found = Browser(tmp_path_factory.mktemp("profile"), "--lang=en-GB", "--accept-lang=en-GB,en")
    yield found
    found.close()
