"""The files of the site: templates filled, scripts and styles beside them, every file whole or absent."""

from __future__ import annotations

import json
import os
import zlib
from base64 import b64encode
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.core.artifact import digest8, make_folder
from pipeline.core.errors import disk_fault
from pipeline.site.finder import SITE
from pipeline.site.relations import differences

RUNS = "runs"
_SCRIPTS = ("texts", "dom", "charts", "state", "board", "others", "run", "compare", "daily", "start")
_STYLES = ("look", "parts", "print")
_LONGEST_NAME = 200
_UNSAFE = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def write_pages(results: Path, content: dict[str, Any]) -> None:
    """Write what changed of the site, and take away pages of runs that are gone.

    Raises:
        EnvironmentFault: a file cannot be written.
    """
    site, templates = results / SITE, _templates()
    for name, parts, ending in (("site.js", _SCRIPTS, "js"), ("site.css", _STYLES, "css")):
        _write(site / name, "\n".join(_static(f"{part}.{ending}") for part in parts))
    _write(site / "data.js", f"window.ISOBAR = {as_json(_data(content))};\n")
    frame = {"as_of": content["as_of"], "quote": quote, "site": f"{SITE}/"}
    page = templates.get_template("run.html")
    kept = set()
    for run, told in zip(content["runs"], content["pages"], strict=True):
        path = site / RUNS / page_of(run.id)
        kept.add(path)
        value = {**told, "row": _head(run.row), "diff": differences(run)}
        _write(path, page.render(**frame, root="../../../", run=run, told=told, data=packed(value)))
    _sweep_out(site / RUNS, kept)
    _write(site / "compare.html", templates.get_template("compare.html").render(**frame, root="../"))
    lines = [(run.row, f"{SITE}/{RUNS}/{page_of(run.id)}") for run in content["runs"]]
    _write(results / "index.html", templates.get_template("index.html").render(**frame, root="", lines=lines))


def _data(content: dict[str, Any]) -> dict[str, Any]:
    """Return what the first page and the comparison show; names of classes once, however many runs share them."""
    labels: list[list[str]] = []
    rows = []
    for run in content["runs"]:
        row = dict(run.row)
        if "labels" in row:
            if row["labels"] not in labels:
                labels.append(row["labels"])
            row["labels"] = labels.index(row["labels"])
        if len(page_of(run.id)) != len(run.id) + 5:
            row["page"] = page_of(run.id)
        rows.append({name: value for name, value in row.items() if value not in (None, "", [])})
    others = {name: value for name, value in content.items() if name not in ("runs", "pages")}
    return {**others, "labels": labels, "runs": rows}


def _head(row: dict[str, Any]) -> dict[str, Any]:
    """Return what the page of a run does not tell at length elsewhere."""
    left_out = {"val", "test", "f1", "support", "weak", "spark", "set", "family", "warnings", "faults", "group"}
    return {name: value for name, value in row.items() if name not in left_out and value not in (None, "", [])}


def page_of(identity: str) -> str:
    """Return the path of a run's page below the folder of such pages."""
    experiment, name = identity.split("/")
    if len(name.encode()) > _LONGEST_NAME:
        name = f"{name[:20]}-{digest8(name)}"
    return f"{experiment}/{name}.html"


def as_json(value: Any) -> Markup:
    """Return JSON that may stand in a script: nothing in it ends the script or begins a comment."""
    return Markup(_json(value).decode("utf-8").translate(_UNSAFE))  # noqa: S704 (escaped here)


def packed(value: Any) -> str:
    """Return JSON through deflate and Base64, half its size: browsers unpack it by themselves (since 2023 all do)."""
    return b64encode(zlib.compress(_json(value), 9)).decode("ascii")


def _json(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "replace")


def _write(path: Path, text: str) -> None:
    """Write a page beside and rename it, unless it holds the text already.

    Nothing is flushed to the disk: a page that a power cut left broken differs from what it should be, and is written
    anew by the next build, while two hundred flushes would make up most of the time of a build.

    Raises:
        EnvironmentFault: the disk is full or closed to the user.
    """
    content = text.encode()
    part = path.with_name(f".{path.name[:_LONGEST_NAME]}.part")
    try:
        if path.is_file() and path.read_bytes() == content:
            return
        make_folder(path.parent)
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        raise disk_fault(error, path) or error from error


def _sweep_out(folder: Path, kept: set[Path]) -> None:
    for path in folder.glob("*/*.html"):
        if path not in kept:
            path.unlink(missing_ok=True)


def _static(name: str) -> str:
    return files("pipeline.site").joinpath("static", name).read_text(encoding="utf-8")


def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("pipeline.site"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
