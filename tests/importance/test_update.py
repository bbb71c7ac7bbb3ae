"""Writing the selected columns into a config: that list and nothing else."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from pipeline.core.config import load
from pipeline.core.errors import InputError
from pipeline.experiment import Experiment
from pipeline.importance.update import advice, update_config
from tests.conftest import ROOT

HEAD = "# A comment above\nname: charts  # the name\n\nstore:\n  images:\n    datasets: [a]   # images\n  series:\n"
TAIL = "    window_size: 40   # rows\n\n# the end\ntrain:\n    epochs: 3\n"


def experiment(path: Path) -> object:
    return load(path, Experiment)


def updated(folder: Path, middle: str, *columns: str) -> str:
    path = folder / "x.yaml"
    path.write_bytes((HEAD + "    files: [s.csv]\n" + middle + TAIL).encode())
    before = path.read_bytes()
    path.chmod(0o640)
    done = update_config(path, columns, experiment)
    assert done.backup == folder / "x.yaml.bak"
    assert done.backup.read_bytes() == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert sorted(p.name for p in folder.iterdir()) == ["x.yaml", "x.yaml.bak"]
    text = path.read_bytes().decode()
    assert text.startswith(HEAD)
    assert text.endswith(TAIL)
    config = load(path, Experiment).config
    assert config.store.series is not None
    assert config.store.series.feature_columns == list(columns)
    assert [line for line in done.diff.splitlines() if line[:1] in "-+" and line[:3] not in ("---", "+++")]
    return text[len(HEAD + "    files: [s.csv]\n") : -len(TAIL)]


def test_a_flow_list_keeps_what_is_around_it(tmp_path: Path) -> None:
    text = updated(tmp_path, "    feature_columns: [open, close]   # in this order\n", "rsi_14", "close")
    assert text == "    feature_columns: [rsi_14, close]   # in this order\n"


def test_an_empty_list_is_filled(tmp_path: Path) -> None:
    assert updated(tmp_path, "    feature_columns: []\n", "a") == "    feature_columns: [a]\n"


def test_a_block_list_keeps_its_comments(tmp_path: Path) -> None:
    middle = (
        "    feature_columns:   # ours\n      # prices\n      - open  # first\n      - close # last\n      # more\n"
    )
    assert updated(tmp_path, middle, "close", "rsi_14") == (
        "    feature_columns:   # ours\n      # prices\n      - close # last\n      - rsi_14\n      # more\n"
    )


def test_a_block_list_without_indent(tmp_path: Path) -> None:
    middle = "    feature_columns:\n    - open\n    - close\n"
    assert updated(tmp_path, middle, "a", "b", "c") == "    feature_columns:\n    - a\n    - b\n    - c\n"


def test_a_flow_list_of_many_lines_keeps_lines_and_comments(tmp_path: Path) -> None:
    middle = "    feature_columns: [\n      open,   # first\n      close,  # last\n    ]\n"
    assert updated(tmp_path, middle, "close", "atr_14") == (
        "    feature_columns: [\n      close,  # last\n      atr_14,\n    ]\n"
    )


def test_a_long_flow_list_is_wrapped_and_quotes_are_kept(tmp_path: Path) -> None:
    names = [f"a_rather_long_column_{number}" for number in range(12)]
    text = updated(tmp_path, '    feature_columns: ["open", "close"]\n', *names)
    assert max(map(len, text.splitlines())) <= 120
    assert text.count('"') == 24


def test_names_that_yaml_would_misread_are_quoted(tmp_path: Path) -> None:
    text = updated(tmp_path, "    feature_columns: [open]\n", "no", "12", "a: b", "x#y", "気圧")
    assert text == '    feature_columns: ["no", "12", "a: b", "x#y", "気圧"]\n'


def test_line_ends_of_windows_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    middle = "    files: [s.csv]\n    feature_columns:\n      - open\n      - close\n"
    path.write_bytes((HEAD + middle + TAIL).replace("\n", "\r\n").encode())
    update_config(path, ["a", "b", "c"], experiment)
    expected = HEAD + middle.replace("- open\n      - close", "- a\n      - b\n      - c") + TAIL
    assert path.read_bytes() == expected.replace("\n", "\r\n").encode()


def test_a_second_update_keeps_the_first_backup_and_the_same_columns_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(HEAD + "    files: [s.csv]\n    feature_columns: [open]\n" + TAIL)
    original = path.read_text()
    update_config(path, ["a"], experiment)
    again = update_config(path, ["b"], experiment)
    assert again.backup == tmp_path / "x.yaml.bak2"
    assert (tmp_path / "x.yaml.bak").read_text() == original
    same = update_config(path, ["b"], experiment)
    assert (same.diff, same.backup) == ("", None)
    assert len(list(tmp_path.iterdir())) == 3


def test_the_guides_key_is_known(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("timeseries:\n  feature_columns: ['open']  # six\n")
    update_config(path, ["close"], lambda _: None)
    assert path.read_text() == "timeseries:\n  feature_columns: ['close']  # six\n"


@pytest.mark.parametrize(
    ("middle", "columns", "message"),
    [
        ("    feature_columns: close\n", ["a"], "x.yaml:9: store.series.feature_columns is not a list"),
        ("    feature_columns: [open]\n", [], "no column was selected"),
        ("    feature_columns: [open]\n", ["a", "a"], "could not be loaded with the new columns: x.yaml:9: .*twice"),
        ("    feature_columns: [open\n", ["a"], "not valid YAML"),
    ],
)
def test_refusals_leave_the_file(tmp_path: Path, middle: str, columns: list[str], message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(HEAD + "    files: [s.csv]\n" + middle + TAIL)
    before = path.read_text()
    with pytest.raises(InputError, match=message):
        update_config(path, columns, experiment)
    assert path.read_text() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.yaml"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_section_without_the_list_gets_it(tmp_path: Path, end: str) -> None:
    path = tmp_path / "x.yaml"
    text = HEAD + "    # Ours.\n    files:\n      - s.csv   # one\n" + TAIL
    path.write_bytes(text.replace("\n", end).encode())
    done = update_config(path, ["a", "b"], experiment)
    expected = text.replace("40   # rows\n", "40   # rows\n    feature_columns: [a, b]\n")
    assert path.read_bytes() == expected.replace("\n", end).encode()
    added = [line.rstrip("\r\n") for line in done.diff.splitlines() if line[:1] in "-+"][2:]
    assert added == ["+    feature_columns: [a, b]"]


def test_the_list_is_added_last_in_a_section_that_ends_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    for section, expected in (
        ("\n  window: 3\n  files:\n    - a.csv\n    - b.csv  # two", "\n  feature_columns: [a]"),
        (" {window: 3}", None),
    ):
        text = f"timeseries:{section}"
        path.write_text(text)
        update_config(path, ["a"], lambda _: None)
        assert path.read_text() == (text + expected if expected else "timeseries: {feature_columns: [a], window: 3}")


def test_a_config_without_the_section_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    for text in ("name: x\n", "store: {series: }\n", "a: &s {b: 1}\nstore:\n  series: *s\n"):
        path.write_text(text)
        with pytest.raises(InputError, match=r"has no section store\.series"):
            update_config(path, ["a"], lambda _: None)
        assert path.read_text() == text


def test_the_shipped_config_with_images_and_series_can_be_updated(tmp_path: Path) -> None:
    path = tmp_path / "charts_multi.yaml"
    path.write_bytes((ROOT / "configs" / "charts_multi.yaml").read_bytes())
    update_config(path, ["feature_2", "feature_5"], experiment)
    config = load(path, Experiment).config
    assert config.store.series is not None
    assert config.store.series.feature_columns == ["feature_2", "feature_5"]
    assert path.read_text().count("#") == (ROOT / "configs" / "charts_multi.yaml").read_text().count("#")


def test_an_anchored_list_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: &c [x]\nstore:\n  series:\n    feature_columns: *c\n")
    with pytest.raises(InputError, match="not a list written here"):
        update_config(path, ["y"], lambda _: None)
    path.write_text("store:\n  series:\n    feature_columns: &c [x]\nb: *c\n")
    with pytest.raises(InputError, match="left as it is"):
        update_config(path, ["y"], lambda _: None)
    assert "[x]" in path.read_text()


def test_advice_says_what_a_store_needs_beside() -> None:
    values = {"store": {"series": {"files": ["s.csv"], "window_size": 40}}}
    features = Path("results/n/importance-1/features.csv")
    found = advice(values, features, ["rsi_14"], -1, 10)
    assert found[0].startswith("not in the data files: rsi_14; set store.series.files")
    assert found[1].startswith("samples knew rows up to offset -1: set")
    assert str(features) in found[0]
    assert "window_size" in found[2]
    values["store"]["series"] |= {"files": [str(features)], "offset": -1, "window_size": 10}
    assert advice(values, features, ["rsi_14"], -1, 10) == []
