"""What the documentation says is true: its commands exist, its configs load, both languages say the same."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.core.config import Section, load
from pipeline.daily.config import DailySettings
from pipeline.experiment import Experiment
from pipeline.importance.config import ImportanceConfig
from pipeline.tune.config import TuneConfig
from tests.conftest import run_job

ROOT = Path(__file__).parents[1]
READMES = [ROOT / "README.md", ROOT / "README.ja.md"]
CONFIGS = sorted(path for path in (ROOT / "configs").glob("*.yaml") if path.name != "daily.yaml")
JOBS = sorted((ROOT / "jobs").glob("*.py"))


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), flags=re.DOTALL)


def commands(path: Path) -> list[str]:
    lines = "\n".join(blocks(path, "bash")).splitlines()
    return [re.sub(r"\s+#.*", "", line).strip() for line in lines if line.strip() and not line.startswith("#")]


def test_both_readmes_give_the_same_commands_and_configs() -> None:
    assert commands(READMES[0]) == commands(READMES[1])
    assert blocks(READMES[0], "yaml") == blocks(READMES[1], "yaml")


def test_both_readmes_have_the_same_sections_and_links() -> None:
    def skeleton(path: Path) -> tuple[list[int], list[str], int]:
        text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("README")]
        return [len(level) for level in re.findall(r"^(#+) ", text, flags=re.MULTILINE)], links, text.count("\n| ")

    assert skeleton(READMES[0]) == skeleton(READMES[1])


@pytest.mark.parametrize("path", [*READMES, *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"], ids=str)
def test_links_and_named_files_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (path.parent / link).exists(), link
    for name in re.findall(r"\b(jobs/[a-z_]+\.py|configs/(?!mine)[a-z_/]+\.yaml|tests/[a-z_/]+\.py)\b", text):
        assert (ROOT / name).exists(), name


def test_make_targets_of_the_documentation_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for path in [*READMES, ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"^make ([a-z-]+)", "\n".join(blocks(path, "bash")), flags=re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_the_config_of_the_readme_is_valid(tmp_path: Path) -> None:
    for number, block in enumerate(blocks(READMES[0], "yaml")):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block)
        assert load(path, Experiment).config.name


def test_overrides_of_the_readme_are_valid() -> None:
    found = set(
        re.findall(
            r"\b((?:derive|store|train|thresholds|evaluate|report)(?:\.[a-z_]+)+=[^\s`]+)", READMES[0].read_text()
        )
    )
    assert len(found) >= 4
    load(ROOT / "configs/demo.yaml", Experiment, sorted(found))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_config_loads_and_names_its_schema(path: Path) -> None:
    load(path, Experiment)
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=schema.json\n")
    assert re.search(rf"python jobs/[a-z_]+\.py configs/{re.escape(path.name)}", text)


SEARCHES = [
    *((path, TuneConfig) for path in sorted((ROOT / "configs/tune").glob("*.yaml"))),
    *((path, ImportanceConfig) for path in sorted((ROOT / "configs/importance").glob("*.yaml"))),
    (ROOT / "configs/daily.yaml", DailySettings),
]


@pytest.mark.parametrize(("path", "kind"), SEARCHES, ids=[str(path.relative_to(ROOT)) for path, _ in SEARCHES])
def test_every_config_of_a_search_loads_and_says_its_command(path: Path, kind: type[Section]) -> None:
    load(path, kind)
    command = rf"python jobs/[a-z_]+\.py {re.escape(str(path.relative_to(ROOT)))}"
    assert re.search(command, path.read_text(encoding="utf-8"))


def test_schema_is_up_to_date() -> None:
    ended = subprocess.run(
        [sys.executable, "jobs/chain.py", "--schema"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ended.stdout == (ROOT / "configs/schema.json").read_text(encoding="utf-8"), "run `make schema`"


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.name)
def test_help_shows_an_example_and_loads_nothing_heavy(path: Path) -> None:
    ended = run_job(path.stem, "--help")
    assert ended.code == 0
    assert f"python jobs/{path.name} " in ended.text
    code = (
        "import sys, runpy; sys.argv = [sys.argv[1], '--help']\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'xarray', 'matplotlib', 'sklearn', 'pandas', 'timm'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert shown.stdout.strip().endswith("[]")


def test_print_config_is_a_config_again(tmp_path: Path) -> None:
    ended = run_job("train", "configs/demo.yaml", "train.epochs=7", "--print-config")
    assert ended.code == 0
    assert yaml.safe_load(ended.text)["train"]["epochs"] == 7
    path = tmp_path / "again.yaml"
    path.write_text(ended.text, encoding="utf-8")
    assert load(path, Experiment).config == load(ROOT / "configs/demo.yaml", Experiment, ["train.epochs=7"]).config


def test_every_setting_is_described() -> None:
    """Each section and each name that does not explain itself has a text for the schema (and so for editors)."""
    schema = Experiment.model_json_schema()
    for name, section in schema["$defs"].items():
        if "properties" in section:
            assert section.get("description"), name


def test_no_private_paths() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    hosts = ("/work/", "/root/", ".library")
    for name in tracked.stdout.splitlines():
        path = ROOT / name
        if path.suffix in (".py", ".md", ".yaml", ".toml", ".sbatch", ".sh") and path != Path(__file__):
            text = path.read_text(encoding="utf-8")
            assert not [word for word in hosts if word in text], name
