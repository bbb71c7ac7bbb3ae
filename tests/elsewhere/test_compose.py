"""compose.yaml says what it should: known keys, the one variable for roots, TensorBoard for this machine only."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SERVICE_KEYS = {
    *("image", "build", "user", "init", "stop_grace_period", "volumes", "profiles", "environment", "entrypoint"),
    *("command", "ports", "deploy"),
}
JOBS = ("job", "train")


def read(name: str = "compose.yaml") -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / name).read_text(encoding="utf-8")))


def service(name: str) -> dict[str, Any]:
    return dict(read()["services"][name])


def compose() -> list[str] | None:
    """Return the command of Compose, if it is here: as a plugin of docker, or by itself."""
    if (
        shutil.which("docker")
        and subprocess.run(["docker", "compose", "version"], capture_output=True, timeout=60).returncode == 0
    ):
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


def test_services_and_their_keys() -> None:
    whole = read()
    assert {key for key in whole if not key.startswith("x-")} == {"services"}
    assert set(whole["services"]) == {*JOBS, "tensorboard"}
    for name, settings in whole["services"].items():
        assert set(settings) <= SERVICE_KEYS, name
        assert settings["init"] is True, "children of a job would not be collected"
        assert ":" in settings["user"]


@pytest.mark.parametrize("name", [*JOBS, "tensorboard"])
def test_data_and_results_are_where_isobar_home_says_else_in_the_checkout(name: str) -> None:
    inside = re.findall(r"ISOBAR_HOME=(\S+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    assert service(name)["volumes"][0].split(":")[:3] == ["${ISOBAR_HOME", "-.}", inside[0]]


def test_train_takes_a_config_as_its_only_word() -> None:
    python, script = service("train")["entrypoint"]
    assert python == "python"
    assert (ROOT / script).exists()
    assert service("train")["profiles"] == service("job")["profiles"] == ["job"]


def test_settings_of_messages_pass_without_their_values() -> None:
    passed = service("train")["environment"]
    assert {value for value in passed.values()} == {None}
    assert {"NTFY_TOPIC", "NTFY_TOKEN", "NTFY_SERVER", "APPRISE_URLS", "CDSAPI_KEY"} <= set(passed)
    known = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "pipeline").glob("[nd]o*/*.py")))
    for name in set(passed) - {"OMP_NUM_THREADS", "CDSAPI_URL"}:
        assert f'"{name}"' in known, f"nothing reads {name}"


def test_tensorboard_shows_results_to_this_machine_only_and_writes_nothing() -> None:
    settings = service("tensorboard")
    program, *words = settings["entrypoint"]
    assert program == "tensorboard"
    options = dict(zip(words[::2], words[1::2], strict=True))
    assert options["--logdir"] == "/isobar/results"
    (port,) = settings["ports"]
    assert port.startswith("127.0.0.1:")
    assert port.endswith(f":{options['--port']}")
    assert all(volume.endswith(":ro") for volume in settings["volumes"])
    assert "profiles" not in settings


def test_a_gpu_is_optional() -> None:
    assert "deploy" not in (ROOT / "compose.yaml").read_text(encoding="utf-8")
    services = read("compose.gpu.yaml")["services"]
    assert set(services) == set(JOBS)
    for settings in services.values():
        (device,) = settings["deploy"]["resources"]["reservations"]["devices"]
        assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}


@pytest.mark.parametrize("files", [("compose.yaml",), ("compose.yaml", "compose.gpu.yaml")], ids=len)
def test_compose_understands_it(files: tuple[str, ...], tmp_path: Path) -> None:
    command = compose()
    if command is None:
        pytest.skip("neither `docker compose` nor docker-compose is on PATH")
    words = [*command, *(word for name in files for word in ("-f", name)), "--profile", "job", "config"]
    environment = {**os.environ, "ISOBAR_HOME": str(tmp_path), "NTFY_TOPIC": "topic-of-a-test"}
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    resolved = yaml.safe_load(done.stdout)["services"]
    assert set(resolved) == {*JOBS, "tensorboard"}
    assert str(tmp_path) in str(resolved["train"]["volumes"])
    assert ("nvidia" in str(resolved["train"])) is (len(files) == 2)
