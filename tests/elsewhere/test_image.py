"""The recipes of images can be followed: what they copy exists, versions are named, nothing private goes in.

Where there is a linter (hadolint) it judges the Dockerfile as well; what needs an engine is in ``test_engine.py``.
"""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"
DEFINITION = ROOT / "slurm" / "isobar.def"
SECTIONS = {"labels", "files", "post", "environment", "runscript", "test", "help"}
INSTRUCTIONS = {
    *("ARG", "FROM", "RUN", "CMD", "LABEL", "EXPOSE", "ENV", "COPY", "ENTRYPOINT", "VOLUME", "USER", "WORKDIR"),
    *("STOPSIGNAL", "HEALTHCHECK", "SHELL"),
}


def instructions() -> list[tuple[str, str]]:
    """Return the (instruction, rest) of the Dockerfile, continued lines joined, comments left out."""
    lines = [line for line in DOCKERFILE.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def stages() -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    for word, rest in instructions():
        if word == "FROM":
            found.append([])
        if found:
            found[-1].append((word, rest))
    return found


def copied_from_here() -> list[str]:
    """Return what the Dockerfile copies from the checkout."""
    copies = [shlex.split(rest) for word, rest in instructions() if word == "COPY"]
    return [source for words in copies if not words[0].startswith("--from") for source in words[:-1]]


def sections() -> dict[str, str]:
    parts = re.split(r"^%(\w+)\n", DEFINITION.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def in_context(name: str) -> bool:
    """Tell whether .dockerignore lets a file of the checkout into the build; the last line that fits decides."""
    allowed = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.lstrip("!").removeprefix("**/")
        if not line or line.startswith("#"):
            continue
        whole = fnmatch.fnmatch(name, pattern) or name.startswith(f"{pattern}/")
        if whole or (line.startswith("**/") and any(fnmatch.fnmatch(part, pattern) for part in name.split("/"))):
            allowed = line.startswith("!")
    return allowed


def git(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)


def test_every_line_is_an_instruction() -> None:
    assert {word for word, _ in instructions()} <= INSTRUCTIONS
    assert len(stages()) == 2


@pytest.mark.parametrize("name", copied_from_here())
def test_what_is_copied_exists_and_reaches_the_build(name: str) -> None:
    assert (ROOT / name).exists()
    assert in_context(name)
    assert git("check-ignore", "--quiet", name).returncode != 0, f"git ignores {name}"


def test_private_files_stay_outside() -> None:
    private = [".env", "data/raw/a.nc", "results/demo/run.json", ".git/config", ".venv/bin/python", "slurm/sync.conf"]
    assert [name for name in [*private, "configs/.env", "jobs/__pycache__/train.pyc"] if in_context(name)] == []
    text = DOCKERFILE.read_text(encoding="utf-8") + DEFINITION.read_text(encoding="utf-8")
    assert not re.search(r"(?i)(token|password|secret|api_?key)\s*=", text)


def test_packages_come_before_code_so_that_code_does_not_install_them_again() -> None:
    first, last = stages()
    before = [rest for word, rest in first if word == "COPY"]
    assert before == ["pyproject.toml uv.lock ./"]
    assert "uv sync --locked --no-dev --no-install-project" in " ".join(rest for word, rest in first if word == "RUN")
    copies = [rest for word, rest in last if word == "COPY"]
    assert copies[0] == "--from=packages /opt/venv /opt/venv"
    assert copies[-1].startswith("pipeline")


def test_the_image_runs_a_job_as_nobody_in_particular() -> None:
    last = dict(stages()[-1])
    assert json.loads(last["ENTRYPOINT"]) == ["python"]
    job, *more = json.loads(last["CMD"])
    assert (ROOT / job).exists()
    assert more == ["--help"]
    user, group = last["USER"].split(":")
    assert int(user) > 0
    assert int(group) > 0
    assert json.loads(last["VOLUME"]) == re.findall(r"ISOBAR_HOME=(\S+)", last["ENV"])


def test_both_recipes_use_the_same_base_and_the_same_uv() -> None:
    docker, apptainer = DOCKERFILE.read_text(encoding="utf-8"), DEFINITION.read_text(encoding="utf-8")
    bases = {re.findall(r"PYTHON_IMAGE=\S*?(python:\S+)", docker)[0], re.findall(r"^From: (\S+)", apptainer, re.M)[0]}
    (base,) = bases
    major, minor = map(int, re.findall(r"python:(\d+)\.(\d+)", base)[0])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lowest = tuple(map(int, project["requires-python"].removeprefix(">=").split(".")))
    assert (major, minor) >= lowest
    versions = {version for text in (docker, apptainer) for version in re.findall(r"\buv==([\d.]+)", text)}
    assert len(versions) == 1
    assert len(re.findall(r"install .*\buv\b", docker + apptainer)) == 2


def test_hadolint() -> None:
    if shutil.which("hadolint") is None:
        pytest.skip("hadolint is not on PATH (uv run --group checks pytest tests/elsewhere)")
    done = subprocess.run(["hadolint", str(DOCKERFILE)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_definition_has_known_sections_and_a_base() -> None:
    found = sections()
    assert set(found) - {""} == SECTIONS
    head = [line for line in found[""].splitlines() if line and not line.startswith("#")]
    assert [line.partition(":")[0] for line in head] == ["Bootstrap", "From"]


def test_the_definition_takes_the_files_of_the_dockerfile() -> None:
    pairs = [line.split() for line in sections()["files"].splitlines() if line.strip()]
    for source, target in pairs:
        assert (ROOT / source).exists(), source
        assert target == f"/opt/isobar/{source}"
    assert {source for source, _ in pairs} == set(copied_from_here())


@pytest.mark.parametrize("section", ["post", "environment", "runscript", "test"])
def test_the_definitions_shell_is_shell(section: str) -> None:
    text = sections()[section]
    assert subprocess.run(["sh", "-n"], input=text, capture_output=True, text=True).stderr == ""
    if shutil.which("shellcheck"):
        done = subprocess.run(["shellcheck", "--shell=sh", "-"], input=text, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def run_script(here: Path, *words: str) -> list[str]:
    """Run the definition's ``%runscript`` in a folder, with a Python that shows what it is asked for."""
    image = here.parent / "image"
    text = sections()["runscript"].replace("/opt/isobar", str(image))
    shown = 'python() { printf "%s\\n" "${PYTHONPATH-}" "$@"; exit 0; }\n'
    command = ["sh", "-c", shown + text.replace("exec python", "python"), "run", *words]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"})
    return done.stdout.splitlines()


def test_code_of_a_checkout_comes_first_elsewhere_that_of_the_image(tmp_path: Path) -> None:
    image, checkout, other = (tmp_path / name for name in ("image", "check out", "other"))
    for place in (image, checkout):
        (place / "pipeline").mkdir(parents=True)
        (place / "jobs").mkdir()
        (place / "jobs" / "train.py").touch()
    other.mkdir()
    (other / "mine.yaml").touch()
    words = ("jobs/train.py", "mine.yaml", "", "train.seed=1 2")
    assert run_script(checkout, *words) == [str(checkout), *words]
    assert run_script(other, *words) == ["", f"{image}/jobs/train.py", *words[1:]]
