"""An image that was built is tried with its engine: ``ISOBAR_TEST_IMAGE=isobar pytest -m slow tests/elsewhere``.

``ISOBAR_TEST_ENGINE`` names the program, ``docker`` if unset; ``podman`` takes the same words.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import Place

pytestmark = pytest.mark.slow

IMAGE = os.environ.get("ISOBAR_TEST_IMAGE", "")
ENGINE = os.environ.get("ISOBAR_TEST_ENGINE", "docker")


@pytest.fixture
def place(raw_place: Place, tmp_path: Path) -> Place:
    """A world of its own that the container's user may write to; skips where no image was built."""
    if not IMAGE:
        pytest.skip("ISOBAR_TEST_IMAGE names no image; docker build --tag isobar . && export ISOBAR_TEST_IMAGE=isobar")
    copied = raw_place.copy(tmp_path / "my home")
    copied.home.chmod(0o777)
    return copied


def words(place: Place, *more: str) -> list[str]:
    name = f"isobar-test-{os.getpid()}"
    return [ENGINE, "run", "--init", "--name", name, "--volume", f"{place.home}:/isobar", *more, IMAGE]


def engine(*words: str) -> str:
    return subprocess.run([ENGINE, *words], capture_output=True, text=True, timeout=120, check=True).stdout.strip()


def test_a_chain_stopped_in_the_middle_goes_on_and_files_have_their_owner(place: Place) -> None:
    command = ["jobs/chain.py", "/isobar/tiny.yaml", "train.epochs=60"]
    name = f"isobar-test-{os.getpid()}"
    try:
        subprocess.run([*words(place, "--detach"), *command], check=True, capture_output=True, timeout=60)
        until = time.monotonic() + 200
        while not list(place.home.glob("results/tiny/simple-*/checkpoints/last.ckpt")):
            assert time.monotonic() < until, engine("logs", name)
            time.sleep(0.2)
        engine("stop", "--time", "60", name)
        assert engine("inspect", name, "--format", "{{.State.ExitCode}}") == "75", engine("logs", name)
    finally:
        subprocess.run([ENGINE, "rm", "--force", name], capture_output=True, timeout=60)

    again = subprocess.run([*words(place, "--rm"), *command], capture_output=True, text=True, timeout=280)
    assert again.returncode == 0, again.stdout + again.stderr
    run = place.one("results/tiny/simple-*")
    record = json.loads((run / "run.json").read_text())
    assert (record["status"], record["epoch"], record["sessions"]) == ("done", 60, 2)
    owners = {path.lstat().st_uid for path in place.home.glob("results/**/*")}
    if ENGINE == "docker":  # a rootless engine maps the numbers
        assert owners == {1000}


def test_every_package_of_the_jobs_is_in_the_image(place: Place) -> None:
    code = "import lightgbm, netCDF4, optuna, tensorboard, timm, torch, torchvision; print(torch.__version__)"
    done = subprocess.run([*words(place, "--rm"), "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
