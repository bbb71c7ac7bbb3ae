"""From a config in a guide's form to our sections; errors name the key and the line that the user wrote."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from pipeline.core.choose import near
from pipeline.core.config import Source
from pipeline.core.errors import InputError, shorten
from pipeline.dialects.image_classifier import IMAGE_CLASSIFIER
from pipeline.dialects.pochitrain import POCHITRAIN
from pipeline.dialects.table import UNSTATED, Dialect, Key, Schedule, Setting, Written, Wrong

DIALECTS = (POCHITRAIN, IMAGE_CLASSIFIER)


def may_be_object(name: str) -> bool:
    """Tell whether a module-level name of a ``.py`` config is a key whose value need not be plain data."""
    return any(key.theirs == name and not key.free for key in POCHITRAIN.keys)


def translated(source: Source, sections: Collection[str], schedule: Schedule) -> Source:
    """Return ``source`` in our sections, if its other top-level keys are those of a guide; else as it is.

    Our own sections may stand beside a guide's keys: they win over its defaults, and setting the same thing twice is an
    error.

    Args:
        source: what the user wrote.
        sections: names of our sections.
        schedule: reads a scheduler by torch's name.

    Raises:
        InputError: with one line for each mistake.
    """
    theirs = {name: value for name, value in source.values.items() if name not in sections}
    dialect = _recognised(theirs, source)
    if dialect is None:
        return source
    written = Written(theirs, Path(source.origin).stem, schedule)
    problems = list(_unknown(theirs, "", dialect, written, source))
    settings = list(_settings(dialect, written, source, problems))
    ours = copy.deepcopy({name: value for name, value in source.values.items() if name in sections})
    result = Source(ours, source.origin, dict(source.lines))
    # What is asked for comes before defaults, which fill what neither the guide's keys nor our sections say.
    for setting in sorted(settings, key=lambda setting: not setting.theirs):
        problems += _put(result, setting, source)
    if problems:
        raise InputError("\n".join(dict.fromkeys(problems)))
    return result


def _recognised(theirs: dict[str, Any], source: Source) -> Dialect | None:
    found = {marker: dialect for dialect in DIALECTS for marker in dialect.markers if marker in theirs}
    if len({dialect.guide for dialect in found.values()}) > 1:
        names = " and ".join(f"{marker} ({dialect.guide})" for marker, dialect in found.items())
        raise InputError(f"{source.origin}: mixes the keys of two guides: {names}; keep to one of them")
    return next(iter(found.values()), None)


def _unknown(values: dict[str, Any], prefix: str, dialect: Dialect, written: Written, source: Source) -> Iterator[str]:
    """Yield a line for each key that the guide does not have."""
    paths = dialect.paths()
    known = list(dict.fromkeys(path[len(prefix) :].split(".")[0] for path in paths if path.startswith(prefix)))
    for name, value in values.items():
        dotted = f"{prefix}{name}"
        if name not in known:
            if prefix or not dialect.pattern(str(name), written):
                hint = near(str(name), known)
                own = " A variable of your own begins with _." if source.origin.endswith(".py") and not prefix else ""
                yield f"{source.place(dotted)}: {dotted}: unknown key{hint}{own} Allowed here: {shorten(known, 80)}"
        elif any(path.startswith(f"{dotted}.") for path in paths):
            if isinstance(value, dict):
                yield from _unknown(value, f"{dotted}.", dialect, written, source)
            elif value is not None:
                yield f"{source.place(dotted)}: {dotted}: expected keys and values, found {value!r}"


def _settings(dialect: Dialect, written: Written, source: Source, problems: list[str]) -> Iterator[Setting]:
    """Yield what all keys and rules come to; what is wrong goes to ``problems``."""
    steps: list[Callable[[], list[Setting]]] = [
        *(lambda key=key: _one_to_one(key, written) for key in dialect.keys if key.ours and not key.rule),
        *(lambda rule=rule: list(rule(written)) for rule in dialect.rules),
    ]
    for step in steps:
        try:
            yield from step()
        except Wrong as wrong:
            problems.append(f"{source.place(wrong.theirs)}: {wrong.theirs}: {wrong}")
        except InputError as error:
            problems.append(str(error))


def _one_to_one(key: Key, written: Written) -> list[Setting]:
    """Return what a key comes to that is one of our settings under another name."""
    if not written.has(key.theirs):
        return [] if key.default is UNSTATED else [Setting(key.ours, _converted(key, key.default))]
    return [Setting(key.ours, _converted(key, written.get(key.theirs)), key.theirs)]


def _converted(key: Key, value: Any) -> Any:
    try:
        return value if key.convert is None else key.convert(value)
    except ValueError as error:
        raise Wrong(key.theirs, str(error)) from None


def _put(result: Source, setting: Setting, source: Source) -> Iterator[str]:
    """Set one of our settings, unless it is there already; yield a line if both were asked for."""
    here = result.values
    *parents, last = setting.ours.split(".")
    for parent in parents:
        if here.get(parent) is None:
            here[parent] = {}
        inner = here[parent]
        if not isinstance(inner, dict):
            return  # a value where a section belongs: an error of its own
        here = inner
    if last in here:
        if setting.theirs and here[last] != setting.value:
            first = result.names.get(setting.ours, setting.ours)
            place, other = source.place(setting.theirs), result.place(setting.ours)
            yield f"{place}: {setting.theirs}: is set by {first} as well ({other}); keep one"
        return
    here[last] = copy.deepcopy(setting.value) if isinstance(setting.value, dict | list) else setting.value
    if setting.theirs:
        result.names[setting.ours] = setting.theirs
        for dotted, line in source.lines.items():
            if dotted == setting.theirs or dotted.startswith(f"{setting.theirs}."):
                result.lines[setting.ours + dotted[len(setting.theirs) :]] = line
