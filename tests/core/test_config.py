from pathlib import Path

import pytest
from pydantic import Field

from pipeline.core.config import Section, dump, load, runtime, signature
from pipeline.core.errors import InputError


class Inner(Section):
    rate: float = 0.1
    names: list[str] = Field(default=["a"])
    fast: bool = runtime(False)


class Outer(Section):
    title: str
    inner: Inner = Inner()


def write(tmp_path: Path, text: str, name: str = "c.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def message(path: Path, *overrides: str) -> str:
    with pytest.raises(InputError) as error:
        load(path, Outer, overrides)
    return str(error.value)


def test_all_errors_at_once_each_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "titel: x\ninner:\n  rate: fast\n  nams: [b]\n")
    lines = message(path).splitlines()
    assert len(lines) == 4
    assert f"{path}:1: titel: unknown key; did you mean 'title'?" in lines[3]
    assert f"{path}: title: required, but not set" in lines
    assert f"{path}:3: inner.rate: should be a valid number" in lines[1]
    assert f"{path}:4: inner.nams: unknown key; did you mean 'names'?" in lines[2]


def test_key_of_another_section_is_found(tmp_path: Path) -> None:
    assert "did you mean 'inner.rate'?" in message(write(tmp_path, "title: x\nrate: 1\n"))


def test_overrides_win_and_are_named_in_errors(tmp_path: Path) -> None:
    path = write(tmp_path, "title: x\ninner: {rate: 1}\n")
    config = load(path, Outer, ["inner.rate=1e-3", "inner.names=[N, SW]", "title='7'"]).config
    assert (config.inner.rate, config.inner.names, config.title) == (1e-3, ["N", "SW"], "7")
    assert "command line: inner.rate: should be a valid number" in message(path, "inner.rate=x")
    assert "expected key.sub=value" in message(path, "inner.rate")
    assert "'title' is a value, not a section" in message(path, "title.x=1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [1", "not valid YAML"),
        ("- 1\n- 2\n", "expected 'key: value' lines"),
        ("title: a\ntitle: b\n", "c.yaml:2: title: written twice, first in line 1"),
        ("title: 7\n", "expected text, found 7; put quotes around it"),
        ("title:\n", 'c.yaml:1: title: expected text, found nothing; empty text is written "" in a file'),
        ("title: x\ninner: 3\n", "inner: should be a valid dictionary"),
        ("!!python/object/apply:os.system [true]", "not valid YAML"),
    ],
)
def test_wrong_yaml(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in message(write(tmp_path, text))


def test_missing_file_names_the_near_one(tmp_path: Path) -> None:
    write(tmp_path, "title: x", "natlantic.yaml")
    assert "no such config; did you mean" in message(tmp_path / "natlantik.yaml")


def test_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in message(path)


def test_python_config(tmp_path: Path) -> None:
    path = write(tmp_path, "import math\n_half = 0.5\ntitle = 'x'\ninner = {'rate': _half}\n", "c.py")
    assert load(path, Outer).config.inner.rate == 0.5
    assert "c.py:2: inner: " in message(write(tmp_path, "title = 'x'\ninner = 3\n", "c.py"))
    assert "c.py:2: the config raised ZeroDivisionError" in message(write(tmp_path, "a = 1\nb = 1 / 0\n", "c.py"))
    assert "titel: unknown key; did you mean 'title'?" in message(write(tmp_path, "titel = 'x'\n", "c.py"))


def test_dump_loads_to_the_same(tmp_path: Path) -> None:
    config = Outer(title="日本", inner=Inner(rate=3, names=["N", "NO"]))
    assert load(write(tmp_path, dump(config)), Outer).config == config


def test_runtime_settings_stay_out_of_the_signature() -> None:
    slow, fast = Outer(title="x"), Outer(title="x", inner=Inner(fast=True))
    assert signature(slow) == signature(fast) == {"title": "x", "inner": {"rate": 0.1, "names": ["a"]}}
    assert signature(Outer(title="y")) != signature(slow)


def test_config_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Outer(title="x").title = "y"
