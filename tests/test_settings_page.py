"""``docs/settings.md`` tells every key of the guides: what it is here, its default, and the test that shows it."""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.config import Section, Source, field_at
from pipeline.dialects import DIALECTS
from pipeline.dialects.table import UNSTATED, Dialect, Key
from pipeline.experiment import Experiment
from pipeline.tune.config import TuneConfig
from tests.conftest import ROOT, SHARED

PAGE = ROOT / "docs" / "settings.md"
GUIDES = SHARED / "reference"
KEYS = {"pochitrain: keys": DIALECTS[0], "image classifier: keys": DIALECTS[1]}
SETTINGS = "pressure patterns: settings"
SEARCH = "image classifier: keys of its search"
PROBE = "a value that nothing else has"
ROWS = {"pochitrain: the 84 rows": 84, "image classifier: the 96 rows": 96}
WORKS = ("here", "accepted", "otherwise", "splits here", "matrix here", "none by default", "`reasoning_dim` works")
STATES = (*WORKS, "later: job", "not taken over", "nothing to take over")
needs_guides = pytest.mark.skipif(not GUIDES.exists(), reason="the guides (../shared/reference) are not here")


def tables() -> dict[str, list[list[str]]]:
    """Return the cells of the table under each heading of the page, without its head."""
    found: dict[str, list[list[str]]] = {}
    heading = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("| ") and not line.startswith("|--"):
            found.setdefault(heading, []).append([cell.strip() for cell in line.strip().strip("|").split(" | ")])
    return {heading: rows[1:] for heading, rows in found.items()}


def shown(value: Any) -> str:
    """Return a default as the page writes it."""
    if isinstance(value, str):
        return f"`{value}`" if "<" in value else value or '""'
    return json.dumps(value, ensure_ascii=False)


def default_here(ours: str, model: type[Section] = Experiment) -> str:
    """Return the default of one of our settings, from its declaration."""
    info = field_at(model, ours)
    return "required" if info.is_required() else shown(info.get_default(call_default_factory=True))


def ours_of(key: Key) -> list[str]:
    return [name for name in key.ours.split(", ") if name]


def searched_as(theirs: str) -> str:
    """Return our setting of a search, found by where a value of a guide's form goes; empty if nowhere.

    Sampler, pruner and storage are known by a name, which is a setting inside them.
    """
    section, _, name = theirs.partition(".")
    base: dict[str, Any] = {"optuna": {}} if section == "optuna" else {"parameter_ranges": {}}
    written = base | {section: {name: PROBE} if name else PROBE}
    dotted = place_of_probe(TuneConfig.translated(Source(written, "guide")).values)
    return {"sampler": "sampler.name", "pruner": "pruner.name", "storage": "storage.kind"}.get(dotted, dotted)


def place_of_probe(values: dict[str, Any]) -> str:
    for name, value in values.items():
        inner = place_of_probe(value) if isinstance(value, dict) else ""
        if value == PROBE or inner:
            return f"{name}.{inner}".rstrip(".")
    return ""


def row_of(key: Key) -> list[str]:
    """Return the row that the page must have for a key of a guide."""
    if key.theirs.startswith("optuna."):
        ours = searched_as(key.theirs)
        return [f"`{key.theirs}`", f"`{ours}`", shown(key.default), default_here(ours, TuneConfig), key.meaning,
                f"`{key.test}`"]  # fmt: skip
    here = "; ".join(default_here(name) for name in ours_of(key)) or UNSTATED
    settings = ", ".join(f"`{name}`" for name in ours_of(key)) or "no effect"
    return [f"`{key.theirs}`", settings, shown(key.default), here, key.meaning, f"`{key.test}`"]


@pytest.mark.parametrize("heading", KEYS)
def test_the_page_tells_each_key_as_it_is_read(heading: str) -> None:
    written = {row[0]: row for row in tables()[heading]}
    dialect: Dialect = KEYS[heading]
    wanted = {row[0]: row for row in map(row_of, dialect.keys)}
    assert list(written) == list(wanted)
    for name, row in wanted.items():
        assert written[name] == row, name


def test_settings_of_pressure_patterns_exist_with_their_defaults() -> None:
    rows = tables()[SETTINGS]
    assert len(rows) >= 28
    for name, ours, _, here, *_ in rows:
        assert here == default_here(ours.strip("`")), name


def test_settings_of_a_search_are_those_that_it_has() -> None:
    rows = tables()[SEARCH]
    assert len(rows) == 14
    for theirs, here, _, default, meaning, test in rows:
        ours = searched_as(theirs.strip("`"))
        assert here == (f"`{ours}`" if ours else "no effect"), theirs
        assert default == (default_here(ours, TuneConfig) if ours else UNSTATED), theirs
        assert meaning, theirs
        assert "::test_" in test, theirs


def _plain(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def test_defaults_that_differ_are_explained() -> None:
    explained = {row[0] for row in tables()["Where defaults differ"]}
    for dialect in DIALECTS:
        for key in dialect.keys:
            searched = key.theirs.startswith("optuna.")
            (ours, *more) = [searched_as(key.theirs)] if searched else ours_of(key) or [""]
            if not ours or more or key.default is UNSTATED:
                continue
            if _plain(shown(key.default)) != _plain(default_here(ours, TuneConfig if searched else Experiment)):
                assert f"`{key.theirs}`" in explained, key.theirs
    for name, *_ in tables()["Where defaults differ"]:
        assert any(f"`{key.theirs}`" == name for dialect in DIALECTS for key in dialect.keys), name


@cache
def functions_in(file: Path) -> frozenset[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_every_named_test_exists() -> None:
    named = set(re.findall(r"`([a-z_/]+\.py)::(\w+)`", PAGE.read_text(encoding="utf-8")))
    assert len(named) > 100
    for file, test in sorted(named):
        assert (ROOT / "tests" / file).exists(), file
        assert test in functions_in(ROOT / "tests" / file), f"{file}::{test}"


@pytest.mark.parametrize(("heading", "count"), ROWS.items())
def test_every_row_has_a_state_and_what_works_a_test(heading: str, count: int) -> None:
    rows = tables()[heading]
    assert len({row[0] for row in rows}) == len(rows) == count
    for number, what, state, test in rows:
        assert what, number
        assert state.startswith(STATES), number
        if state.startswith(WORKS):
            assert "::test_" in test, number


def test_keys_stand_in_the_guides_order_of_meaning() -> None:
    """A key that is read by a rule sets at least one of our settings, or says why it has no effect."""
    for dialect in DIALECTS:
        paths = [key.theirs for key in dialect.keys]
        assert len(set(paths)) == len(paths)
        for key in dialect.keys:
            assert key.meaning, key.theirs
            assert "|" not in key.meaning, key.theirs


# --- the guides themselves -----------------------------------------------------------------------------------


def blocks(text: str, language: str) -> str:
    return "\n".join(re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL))


def keys_of_pochitrain(text: str) -> set[str]:
    """Return what the guide calls by name: first cells of tables, assignments, keys of dicts, bullets."""
    code = blocks(text, "python")
    named = set(re.findall(r"^\| `(?:optuna\[\")?(\w+)(?:\"\])?` \|", text, flags=re.MULTILINE))
    named |= set(re.findall(r"^(?:optuna\[\")?(\w+)(?:\"\])? = ", code, flags=re.MULTILINE))
    named |= set(re.findall(r"^- [`*]+(?:graph_config\.)?(\w+)[`*]+: ", text, flags=re.MULTILINE))
    named |= set(re.findall(r"^ {4,8}\"(\w+)\": ", code, flags=re.MULTILINE))
    named -= {name for name in named if re.fullmatch(r"(conv|bn|layer)\d|fc", name)}
    names_of_searched_settings = {"scheduler_gamma", "scheduler_step_size"}
    kinds = {"TPESampler", "RandomSampler", "CmaEsSampler", "GridSampler", "MedianPruner", "PercentilePruner"}
    kinds |= {"SuccessiveHalvingPruner", "HyperbandPruner", "NopPruner", "None", "float", "int", "categorical"}
    return named - names_of_searched_settings - kinds


def keys_of_the_image_classifier(text: str) -> set[str]:
    code = blocks(text, "yaml")
    named = set(re.findall(r"^ *([a-z_]\w*):", code, flags=re.MULTILINE))
    bullets = re.findall(r"^ *[-*] ((?:\*{0,2}`\w+`\*{0,2}(?:, )?)+)", text, flags=re.MULTILINE)
    named |= {name for bullet in bullets for name in re.findall(r"`(\w+)`", bullet)}
    metrics = {"train_loss", "val_loss", "train_f1", "val_f1"}  # of the bullet about TensorBoard
    return {re.sub(r"^dataset_[abc]_dir$", "<name>_dir", name) for name in named} - metrics - {"learning_rate"}


@needs_guides
def test_every_key_of_pochitrains_guide_is_on_the_page() -> None:
    names = keys_of_pochitrain((GUIDES / "pochitrain_configuration_ja.txt").read_text(encoding="utf-8"))
    assert len(names) > 60
    told = " ".join(row[0] + row[4] for row in tables()["pochitrain: keys"])
    assert not [name for name in sorted(names) if not re.search(rf"\b{name}\b", told)]


@needs_guides
def test_every_key_of_the_image_classifiers_guides_is_on_the_page() -> None:
    headings = ("image classifier: keys", SEARCH)
    told = " ".join(row[0] + " ".join(row[1:]) for heading in headings for row in tables()[heading])
    for language in ("readme_ja", "readme_en", "tuning_ja"):
        names = keys_of_the_image_classifier((GUIDES / f"image_classifier_{language}.txt").read_text(encoding="utf-8"))
        assert len(names) > 12
        assert not [name for name in sorted(names) if not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", told)], language


@needs_guides
def test_every_setting_of_the_pressure_patterns_guide_is_on_the_page() -> None:
    text = (GUIDES / "pressure_pattern_readme_ja.txt").read_text(encoding="utf-8")
    names = set(re.findall(r"`([A-Z][A-Z_]{4,}[A-Z])(?: = .*?|=.*?)?`", text))
    assert len(names) >= 9
    told = " ".join(row[0] for row in tables()[SETTINGS])
    assert not [name for name in sorted(names) if not re.search(rf"\b{name}\b", told)]
