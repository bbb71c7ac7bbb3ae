"""Writing the selected columns into ``store.series.feature_columns`` of a config, and touching nothing else in it."""

from __future__ import annotations

import difflib
import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline.core.artifact import writing
from pipeline.core.errors import InputError, disk_fault

KEYS = (("store", "series", "feature_columns"), ("timeseries", "feature_columns"))
"""Ours, and that of the time-series image classifier's guide, whose configs are read as well."""
_WIDTH = 120


@dataclass(frozen=True)
class Updated:
    """What became of a config: the change as a unified diff (empty: it said so already), and the copy of before."""

    diff: str
    backup: Path | None
    values: dict[str, Any]
    """The config as it is now, as plain values."""


def update_config(path: Path, columns: Sequence[str], check: Callable[[Path], object]) -> Updated:
    """Replace the list of feature columns in a YAML config, or add it to its section; comments and layout stay.

    The new text is first written to a file beside and read: it must differ from the old one in this list only, and
    ``check`` must load it. Only then is the old file copied to ``<name>.bak`` (or ``.bak2`` …, never over another
    copy) and replaced.

    Args:
        path: the config.
        columns: what the list shall be.
        check: loads a config file and raises ``InputError`` if it is not right.

    Raises:
        InputError: there is nothing to write, the file has no section for it, or it could not be loaded afterwards.
        EnvironmentFault: it cannot be written.
    """
    path = path.resolve()
    old = _text(path)
    if not columns:
        raise InputError(f"{path}: left as it is: no column was selected, so there is nothing to write")
    key, node = _place(path, old)
    if isinstance(node, yaml.SequenceNode):
        new = old[: node.start_mark.index] + _written(old, node, columns) + old[_end(old, node) :]
    else:
        new = _added(old, node, key[-1], columns)
    values = _checked(path, old, new, key, columns, check)
    if new == old:
        return Updated("", None, values)
    backup = _backup(path)
    with writing(path) as part:
        part.write_bytes(new.encode())
        shutil.copymode(backup, part)
    before, after = (text.splitlines(keepends=True) for text in (old, new))
    return Updated("".join(difflib.unified_diff(before, after, str(path), f"{path} (updated)")), backup, values)


def _text(path: Path) -> str:
    if path.suffix not in (".yaml", ".yml"):
        raise InputError(f"{path}: only YAML configs are updated; write the columns into others by hand")
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        raise InputError(f"{path}: no such config to update") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text ({error})") from None


def _place(path: Path, text: str) -> tuple[tuple[str, ...], yaml.SequenceNode | yaml.MappingNode]:
    """Return the key of the list of feature columns, and the list; or the section that lacks it."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise InputError(f"{path}:{mark.line + 1 if mark else 1}: not valid YAML; nothing was changed") from None
    for key in KEYS:
        name, value = _child(root, key)
        if value is None or name is None:
            continue
        if not isinstance(value, yaml.SequenceNode) or value.start_mark.index < name.end_mark.index:
            raise InputError(
                f"{path}:{name.start_mark.line + 1}: {'.'.join(key)} is not a list written here; write one"
            )
        return key, value
    for key in KEYS:
        name, section = _child(root, key[:-1])
        written_here = name is not None and section is not None and section.start_mark.index > name.end_mark.index
        if written_here and isinstance(section, yaml.MappingNode) and section.value:
            return key, section
    raise InputError(f"{path}: has no section store.series whose feature_columns could be set; write one first")


def _added(text: str, section: yaml.MappingNode, key: str, columns: Sequence[str]) -> str:
    """Write the list as the last entry of a section in block style, or as the first one within braces."""
    newline = "\r\n" if "\r\n" in text else "\n"
    items = [_scalar(name, None) for name in columns]
    if section.flow_style:
        place = section.start_mark.index + 1
        return f"{text[:place]}{key}: {_wrapped(items, 0, ' ')}, {text[place:]}"
    leaf: yaml.Node = section
    while isinstance(leaf, yaml.CollectionNode) and leaf.value and not leaf.flow_style:
        leaf = leaf.value[-1][1] if isinstance(leaf, yaml.MappingNode) else leaf.value[-1]
    end = text.find("\n", leaf.end_mark.index)
    end = len(text) if end < 0 else end - (newline == "\r\n")
    column = section.start_mark.column
    entry = f"{newline}{' ' * column}{key}: {_wrapped(items, column + len(key) + 2, newline)}"
    return text[:end] + entry + text[end:]


def _child(node: yaml.Node | None, key: Sequence[str]) -> tuple[yaml.Node | None, yaml.Node | None]:
    name: yaml.Node | None = None
    for word in key:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        name, node = next(((k, v) for k, v in pairs if k.value == word), (None, None))
    return name, node


def _end(text: str, node: yaml.SequenceNode) -> int:
    """Return where a list ends: that of a block style (dashes) with its last item and the comment behind it."""
    if node.flow_style:
        return int(node.end_mark.index)
    end = text.find("\n", node.value[-1].end_mark.index)
    return len(text) if end < 0 else end


def _written(text: str, node: yaml.SequenceNode, columns: Sequence[str]) -> str:
    style = node.value[0].style if node.value and isinstance(node.value[0], yaml.ScalarNode) else None
    items = [_scalar(name, style) for name in columns]
    body = text[node.start_mark.index : _end(text, node)]
    newline = "\r\n" if "\r\n" in text else "\n"
    if not node.flow_style:
        written = newline.join(_lines(body, node, columns, items, "- ", ""))
        return written + ("\r" if body.endswith("\r") else "")
    rows = [item.start_mark.line for item in node.value]
    if body.count("\n") and len(set(rows)) == len(rows):
        return _flow_lines(body, node, columns, items, newline)
    start = text.rfind("\n", 0, node.start_mark.index) + 1
    return _wrapped(items, node.start_mark.index - start, newline)


def _lines(
    body: str, node: yaml.SequenceNode, columns: Sequence[str], items: list[str], dash: str, comma: str
) -> list[str]:
    """Return one line an item; comments stay with the item whose line or next line they were on.

    Whole-line comments above an item that goes are kept above the first item that stays.
    """
    indent = " " * (node.start_mark.column if dash else node.value[0].start_mark.column)
    above: dict[str, list[str]] = {}
    behind: dict[str, str] = {}
    waiting: list[str] = []
    lines = body.splitlines()
    first = node.start_mark.line
    by_line = {item.start_mark.line - first: str(item.value) for item in node.value}
    for number, line in enumerate(lines):
        name = by_line.get(number)
        if name is None:
            waiting += [f"{indent}{line.strip()}"] if line.strip().startswith("#") else []
            continue
        above.setdefault(name, []).extend(waiting)
        waiting = []
        comment = re.search(r"\s+#.*$", line)
        behind[name] = comment.group() if comment else ""
    orphans = [line for name, kept in above.items() if name not in columns for line in kept]
    result = orphans
    for name, item in zip(columns, items, strict=True):
        result = [*result, *above.get(name, []), f"{indent}{dash}{item}{comma}{behind.get(name, '')}"]
    result += waiting
    # The text begins where the list does, not at the start of its line.
    result[0] = result[0].lstrip()
    return result


def _flow_lines(body: str, node: yaml.SequenceNode, columns: Sequence[str], items: list[str], newline: str) -> str:
    """Return ``[``, one line an item, ``]``."""
    inner = _lines(body, node, columns, items, "", ",")
    if node.value[0].start_mark.line == node.start_mark.line:
        closing = body.splitlines()[-1].strip() == "]"
        inner[-1] = re.sub(r",(\s+#.*)?$", r"\1", inner[-1])
        commented = "#" in inner[-1]
        return "[" + newline.join(inner) + (newline if closing or commented else "") + "]"
    indent = " " * node.value[0].start_mark.column
    last = re.match(r"\s*", body.splitlines()[-1])
    return (
        "[" + newline + newline.join([indent + inner[0], *inner[1:]]) + newline + (last.group() if last else "") + "]"
    )


def _wrapped(items: list[str], column: int, newline: str) -> str:
    lines, width = [""], column + 1
    for number, item in enumerate(items):
        piece = item + (", " if number < len(items) - 1 else "")
        if lines[-1] and width + len(piece) > _WIDTH:
            lines.append("")
            width = column + 1
        lines[-1] += piece
        width += len(piece)
    return "[" + f"{newline}{' ' * (column + 1)}".join(line.rstrip() for line in lines) + "]"


def _scalar(name: str, style: str | None) -> str:
    """Return a name as YAML, in the quotes that the list has already, and in double ones where it needs some."""
    if style == "'" and "'" not in name and "\n" not in name:
        return f"'{name}'"
    plain = re.fullmatch(r"[A-Za-z_][\w.%-]*", name) is not None and yaml.safe_load(name) == name
    return name if plain and style != '"' else json.dumps(name, ensure_ascii=False)


def _checked(
    path: Path, old: str, new: str, key: tuple[str, ...], columns: Sequence[str], check: Callable[[Path], object]
) -> dict[str, Any]:
    """Load the new text from a file beside; return its values."""
    expected = yaml.safe_load(old)
    here = expected
    for word in key[:-1]:
        here = here[word]
    here[key[-1]] = list(columns)
    candidate = path.with_name(f".{path.stem}.update.yaml")
    try:
        candidate.write_bytes(new.encode())
        check(candidate)
        values: dict[str, Any] = yaml.safe_load(new)
        if values != expected:
            raise InputError("the list could not be replaced alone")
    except InputError as error:
        reason = str(error).replace(str(candidate), path.name).splitlines()[0]
        raise InputError(f"{path}: left as it is, as it could not be loaded with the new columns: {reason}") from None
    except yaml.YAMLError:
        raise InputError(f"{path}: left as it is: its list is written in a way that cannot be edited as text") from None
    except OSError as error:
        raise disk_fault(error, path) or error from error
    finally:
        candidate.unlink(missing_ok=True)
    return values


def _backup(path: Path) -> Path:
    names = (f"{path.name}.bak{'' if number == 1 else number}" for number in range(1, 10_000))
    backup = next(path.with_name(name) for name in names if not path.with_name(name).exists())
    with writing(backup) as part:
        part.write_bytes(path.read_bytes())
        shutil.copymode(path, part)
    return backup


def advice(values: dict[str, Any], features: Path, derived: Sequence[str], offset: int, window: int) -> list[str]:
    """Return what else the config needs for a store to see what LightGBM saw; empty if nothing."""
    series = (values.get("store") or {}).get("series") or {}
    found = []
    files = series.get("files") or []
    if derived and not any(os.path.basename(str(name)) == features.name for name in files):
        found.append(
            f"not in the data files: {', '.join(derived)}; set store.series.files to [{features}], which has them"
        )
    if int(series.get("offset") or 0) != offset:
        found.append(f"samples knew rows up to offset {offset}: set store.series.offset to {offset}")
    if int(series.get("window_size") or 40) != window:
        found.append(f"windows were of {window} rows: store.series.window_size may be set to {window}")
    return found
