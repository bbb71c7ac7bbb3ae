"""Typed configuration: YAML (or a Python file) holds differences, code holds defaults, nothing unknown passes.

Every error is found in one go and reads ``file.yaml:12: train.lr: what is wrong; what is allowed``.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from pipeline.core.choose import near
from pipeline.core.errors import InputError, shorten

COMMAND_LINE = "command line"
_MOST_BYTES, _MOST_VALUES = 10**6, 10**5
"""Far beyond any config, and little for a program: what a hostile or mistaken file may cost."""


class Section(BaseModel):
    """A part of the configuration: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, use_attribute_docstrings=True)

    @classmethod
    def reads(cls, name: str) -> bool:
        """Tell whether a name of a ``.py`` config is a setting whatever its value; others are if that is plain data."""
        return name in cls.model_fields

    @classmethod
    def translated(cls, source: Source) -> Source:
        """Return a configuration written in another program's keys in those of this section; here, as it is."""
        return source


def runtime(default: Any, **constraints: Any) -> Any:
    """Declare a setting that is about where and how fast (a device, threads, a time limit): it stays out of signatures.

    Results agree within rounding when it changes, and bit for bit when it does not.
    """
    return Field(default, json_schema_extra={"runtime": True}, **constraints)


def one_of(forms: str) -> WrapValidator:
    """Return a validator that answers a wrong value with one message, in place of one for each form it may have."""

    def check(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise ValueError(f"expected {forms}, found {value!r}") from None

    return WrapValidator(check)


C = TypeVar("C", bound=Section)


@dataclass(frozen=True)
class Source:
    """A raw configuration and where each of its keys was written."""

    values: dict[str, Any]
    origin: str
    lines: dict[str, int | str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    """Of a translated configuration: dotted path → the path that the user wrote."""

    def written(self, dotted: str) -> str:
        """Return a path as the user wrote it."""
        parts = dotted.split(".")
        for length in range(len(parts), 0, -1):
            name = self.names.get(".".join(parts[:length]))
            if name is not None:
                return ".".join([name, *parts[length:]])
        return dotted

    def place(self, dotted: str) -> str:
        """Return ``file:line`` (or ``command line``) of a key, of its nearest written parent if it has none."""
        parts = dotted.split(".")
        for length in range(len(parts), 0, -1):
            line = self.lines.get(".".join(parts[:length]))
            if line is not None:
                return line if isinstance(line, str) else f"{self.origin}:{line}"
        return self.origin


@dataclass(frozen=True)
class Loaded(Generic[C]):
    """A checked configuration with the file it came from and the overrides on top."""

    config: C
    path: Path
    overrides: tuple[str, ...]


def load(path: Path, model: type[C], overrides: Sequence[str] = ()) -> Loaded[C]:
    """Read ``path`` (``.yaml`` or ``.py``), put ``key.sub=value`` overrides on top and check it all.

    Raises:
        InputError: with one line for each mistake.
    """
    source = _read_python(path, model) if path.suffix == ".py" else _read_yaml(path)
    ours = [text.partition("=")[0].partition(".")[0] in model.model_fields for text in overrides]
    for text in [text for text, own in zip(overrides, ours, strict=True) if not own]:
        _override(source, text)
    source = model.translated(source)
    for text in [text for text, own in zip(overrides, ours, strict=True) if own]:
        _override(source, text)
    _drop_empty_sections(source.values, model)
    try:
        return Loaded(model.model_validate(source.values), path, tuple(overrides))
    except ValidationError as error:
        details = error.errors(include_url=False)
        lines = dict.fromkeys(_explain(detail, source, model) for detail in details)
        raise InputError("\n".join(lines)) from None


def _drop_empty_sections(values: dict[str, Any], model: type[BaseModel]) -> None:
    """Take a section whose keys are all commented out (YAML reads it as null) for one without differences."""
    for name, info in model.model_fields.items():
        inner = _inner(info.annotation)
        if inner is None or name not in values or not isinstance(info.default, BaseModel):
            continue
        if values[name] is None:
            del values[name]
        elif isinstance(values[name], dict):
            _drop_empty_sections(values[name], inner)


def dump(config: BaseModel) -> str:
    """Return the resolved configuration as YAML text."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110)


def signature(config: BaseModel) -> dict[str, Any]:
    """Return the settings that decide the outcome (all but those declared :func:`runtime`), as JSON values.

    A setting that came later (``json_schema_extra={"later": True}``) is left out while it has its default, which never
    changes: what was made before it existed is still found.
    """
    chosen: dict[str, Any] = {}
    for name, info in type(config).model_fields.items():
        extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
        value = getattr(config, name)
        default = info.get_default(call_default_factory=True)
        if isinstance(value, BaseModel):
            mine = signature(value)
            same = isinstance(default, BaseModel) and mine == signature(default)
        else:
            mine, same = config.model_dump(mode="json")[name], value == default
        if not extra.get("runtime") and not (extra.get("later") and same):
            chosen[name] = mine
    return chosen


# --- reading -------------------------------------------------------------------------------------------------


def _read_yaml(path: Path) -> Source:
    text = _text(path)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        _refuse_explosive(node, path)
        values = yaml.safe_load(text)
    except RecursionError:
        raise InputError(f"{path}: lists or sections within each other without end; no config is so deep") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InputError(f"{place}: not valid YAML: {reason}") from None
    except (ValueError, OverflowError) as error:
        what = "a number has too many digits" if "digits" in str(error) else "a value that looks like a date is none"
        raise InputError(f"{path}: {what} ({error}); put quotes around it") from None
    if values is None:
        return Source({}, str(path))
    if not isinstance(values, dict):
        raise InputError(f"{path}:1: expected 'key: value' lines, found a {type(values).__name__}")
    lines: dict[str, int | str] = {}
    for dotted, line in _key_lines(node, ""):
        if dotted in lines:
            raise InputError(f"{path}:{line}: {dotted}: written twice, first in line {lines[dotted]}; keep one")
        lines[dotted] = line
    return Source(values, str(path), lines)


def _refuse_explosive(root: yaml.Node | None, path: Path) -> None:
    """Raise ``InputError`` where aliases (``*name``) stand for too much, or for what they are in.

    Written out, nine lines of nine aliases each are 9⁹ values: any program that walks through them never ends.
    """
    sizes: dict[int, int] = {}
    within: set[int] = set()

    def size(node: yaml.Node) -> int:
        if id(node) in within:
            raise InputError(f"{path}:{node.start_mark.line + 1}: an anchor (&name) that holds itself; write it out")
        if id(node) not in sizes:
            within.add(id(node))
            pairs = node.value if isinstance(node.value, list) else []
            inner = [part for pair in pairs for part in (pair if isinstance(pair, tuple) else (pair,))]
            sizes[id(node)] = 1 + sum(size(part) for part in inner)
            within.discard(id(node))
        return sizes[id(node)]

    if root is not None and size(root) > _MOST_VALUES:
        raise InputError(f"{path}: {sizes[id(root)]} values, aliases written out; a config has at most {_MOST_VALUES}")


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"{path}: {path.stat().st_size} bytes; a config has at most {_MOST_BYTES}")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        missing, pattern = ("config", "*.yaml") if path.suffix else ("config or run folder", "*")
        siblings = [str(other) for other in sorted(path.parent.glob(pattern))] if path.parent.is_dir() else []
        raise InputError(f"{path}: no such {missing}{near(str(path), siblings)}") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder without config.yaml; give a config file or a run folder") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text; a config is a .yaml or .py file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def _key_lines(node: yaml.Node | None, prefix: str) -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            dotted = f"{prefix}{key.value}"
            yield dotted, key.start_mark.line + 1
            yield from _key_lines(value, f"{dotted}.")
    elif isinstance(node, yaml.SequenceNode):
        for position, value in enumerate(node.value):
            yield f"{prefix}{position}", value.start_mark.line + 1
            yield from _key_lines(value, f"{prefix}{position}.")


def _read_python(path: Path, model: type[Section]) -> Source:
    """Run a ``.py`` config; its public plain module-level values are the keys."""
    import ast
    import runpy

    text = _text(path)
    try:
        tree = ast.parse(text, str(path))
        names = runpy.run_path(str(path))
    except SyntaxError as error:
        raise InputError(f"{path}:{error.lineno}: not valid Python: {error.msg}") from None
    except (Exception, SystemExit) as error:
        trace, line = error.__traceback__, 1
        while trace is not None:
            line = trace.tb_lineno if trace.tb_frame.f_code.co_filename == str(path) else line
            trace = trace.tb_next
        raise InputError(f"{path}:{line}: the config raised {type(error).__name__}: {error}") from None
    plain = (str, int, float, bool, list, tuple, dict, type(None))
    values = {
        name: value
        for name, value in names.items()
        if not name.startswith("_") and (model.reads(name) or isinstance(value, plain))
    }
    lines: dict[str, int | str] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for target in [target.id for target in targets if isinstance(target, ast.Name)]:
                lines[target] = statement.lineno
                lines.update(_literal_lines(statement.value, f"{target}."))
    return Source(values, str(path), lines)


def _literal_lines(node: Any, prefix: str) -> Iterator[tuple[str, int]]:
    """Yield the line of each key written in a dict of a ``.py`` config (of a node of :mod:`ast`)."""
    for key, value in zip(getattr(node, "keys", []), getattr(node, "values", []), strict=False):
        name = getattr(key, "value", None)
        if isinstance(name, str):
            yield f"{prefix}{name}", key.lineno
            yield from _literal_lines(value, f"{prefix}{name}.")


def _override(source: Source, text: str) -> None:
    key, equals, raw = text.partition("=")
    if not equals or not key:
        raise InputError(f"{COMMAND_LINE}: {text!r}: expected key.sub=value, for example train.epochs=10")
    try:
        _refuse_explosive(yaml.compose(raw, Loader=yaml.SafeLoader), Path(COMMAND_LINE))
        value = yaml.safe_load(raw)
    except RecursionError:
        raise InputError(f"{COMMAND_LINE}: {key}: lists within lists without end") from None
    except (yaml.YAMLError, ValueError, OverflowError):
        value = raw
    here = source.values
    *parents, last = key.split(".")
    for parent in parents:
        inner = here.setdefault(parent, {})
        if inner is None:
            inner = here[parent] = {}
        if not isinstance(inner, dict):
            raise InputError(f"{COMMAND_LINE}: {key}: {parent!r} is a value, not a section")
        here = inner
    here[last] = value
    for dotted in [name for name in source.lines if name == key or name.startswith(f"{key}.")]:
        del source.lines[dotted]
    for dotted in [name for name in source.names if name == key or name.startswith(f"{key}.")]:
        del source.names[dotted]
    source.lines[key] = COMMAND_LINE


# --- explaining ----------------------------------------------------------------------------------------------


def _explain(detail: ErrorDetails, source: Source, model: type[BaseModel]) -> str:
    dotted = ".".join(str(part) for part in detail["loc"] if not str(part).startswith("function-"))
    place = source.place(dotted) if dotted else source.origin
    name = source.written(dotted)
    return f"{place}: {name}: {_reason(detail, model)}" if dotted else f"{place}: {_reason(detail, model)}"


def _reason(detail: ErrorDetails, model: type[BaseModel]) -> str:
    kind, value = detail["type"], detail.get("input")
    if kind == "extra_forbidden":
        return _unknown_key([str(part) for part in detail["loc"]], model)
    if kind == "missing":
        return "required, but not set"
    if kind == "value_error":
        return detail["msg"].removeprefix("Value error, ")
    if kind == "string_type" and isinstance(value, bool | int | float):
        return f"expected text, found {value!r}; put quotes around it"
    if kind == "string_type" and value is None:
        return """expected text, found nothing; empty text is written "" in a file and '""' on the command line"""
    if kind == "literal_error":
        allowed = [part.strip(" '") for part in str(detail["ctx"]["expected"]).replace(" or ", ",").split(",")]
        return f"unknown name {value!r}{near(str(value), allowed)} Allowed: {shorten(allowed, 40)}"
    message = detail["msg"][0].lower() + detail["msg"][1:]
    return f"{message.replace('input should', 'should')}, found {value!r}"


def _unknown_key(loc: list[str], model: type[BaseModel]) -> str:
    section = _section_at(loc[:-1], model)
    names = list(section.model_fields) if section else []
    hint = near(loc[-1], names)
    if hint == ".":
        elsewhere = {dotted.rsplit(".", 1)[-1]: dotted for dotted in dotted_names(model)}
        found = difflib.get_close_matches(loc[-1], list(elsewhere), n=1, cutoff=0.8)
        hint = f"; did you mean {elsewhere[found[0]]!r}?" if found else "."
    return f"unknown key{hint} Allowed here: {shorten(names, 40)}"


def _section_at(loc: list[str], model: type[BaseModel]) -> type[BaseModel] | None:
    here: type[BaseModel] | None = model
    for name in loc:
        info = here.model_fields.get(name) if here else None
        if info is not None:
            here = _inner(info.annotation)
    return here


def _inner(annotation: Any) -> type[BaseModel] | None:
    """Return the section inside ``X``, ``X | None``, ``list[X]`` or ``dict[str, X]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in typing.get_args(annotation):
        found = _inner(argument)
        if found is not None:
            return found
    return None


def field_at(model: type[BaseModel], dotted: str) -> FieldInfo:
    """Return the declaration of the setting at a dotted path.

    Raises:
        KeyError: there is none; a fault of the program.
    """
    *parents, last = dotted.split(".")
    section = _section_at(parents, model)
    if section is None:
        raise KeyError(dotted)
    return section.model_fields[last]


def dotted_names(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted path of every setting of ``model``, sections before their keys."""
    for name, info in model.model_fields.items():
        yield prefix + name
        inner = _inner(info.annotation)
        if inner is not None:
            yield from dotted_names(inner, f"{prefix}{name}.")
