"""The house holds its own rules: import arrows, fences around libraries, budgets, one word a stage."""

import ast
import re
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STAGES = ("download", "derive", "store", "train", "thresholds", "evaluate", "report")
AROUND = {"sweep": "run_backbones", "tune": "tune", "importance": "importance", "notify": "notify_run",
          "predict": "predict", "submit": "submit", "daily": "daily", "explain": "evaluate",
          "site": "report"}  # fmt: skip
"""Rooms around the stages, each with the job that opens it."""
TOP = ("experiment", "testing", "synthetic")
SHARED = {
    "core": {"core"},
    "dialects": {"core", "dialects"},
    "contract": {"core", "contract"},
    "raw": {"core", "contract", "raw"},
}
"""Rooms below the stages, and whom each may import."""
READS_RAW = ("download", "derive", "predict", "daily", "evaluate")
REUSES = {
    "tune": {"train": ("stage.train", "stage.open_shared")},
    "predict": {
        "derive": ("config", "stage"),
        "store": ("config", "channels", "days", "moments", "window"),
        "store.images": ("names", "pictures", "pixels", "series", "table", "windows"),
        "thresholds": ("config", "fit"),
        "train": ("config", "inference"),
    },
    "explain": {
        "train": ("config", "inference", "attribution"),
        "report": ("attribution", "cells", "features", "style"),
    },
    "daily": {
        "download": ("config", "fetch", "local", "request", "stage"),
        "derive": ("ingredient", "plan", "recipe"),
        "predict": ("config", "finished", "stage"),
    },
}
"""What rooms around the stages may import of them: the modules that made a run have to make what it is asked later."""
FILES = sorted([*(ROOT / "pipeline").rglob("*.py"), *(ROOT / "jobs").glob("*.py")])
FENCES = {
    "torch": ("train",),
    "torchvision": ("train",),
    "timm": ("train",),
    "lightning_fabric": ("train",),
    "safetensors": ("train",),
    "tensorboard": ("train",),
    "jinja2": ("site",),
    "markupsafe": ("site",),
    "optuna": ("tune", "importance"),
    "lightgbm": ("importance",),
    "matplotlib": ("report",),
    "plotly": ("report", "tune"),
    "cartopy": ("report",),
    "cdsapi": ("download",),
    "ecmwf": ("download",),
    "requests": ("download",),
    "zarr": ("download", "synthetic"),
    "eccodes": ("raw", "synthetic"),
    "pyproj": ("raw",),
    "PIL": ("store", "synthetic"),
    "scipy": ("raw", "thresholds", "evaluate"),
    "h5py": ("raw", "download", "derive", "store", "synthetic"),
    "xarray": ("raw", "download", "derive", "store", "predict", "testing", "synthetic"),
    "submitit": ("submit",),
    "apprise": ("notify",),
    "onnxruntime": ("predict",),
    "metpy": (),
}
CORE_MAY = {"pydantic", "pydantic_core", "yaml", "rich"}


def room(path: Path) -> str:
    """Return the stage, ``core``, ``contract``, a top-level module's name, or ``jobs``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return "jobs" if parts[0] == "jobs" else parts[1]


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function without its docstring, which is documentation and has no budget."""
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node) is not None and len(node.body) > 1:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def code_lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def allowed_rooms(path: Path) -> set[str]:
    here = room(path)
    if here == "jobs" or here in ("testing", "synthetic"):
        return {*STAGES, *AROUND, *TOP, *SHARED}
    if here in SHARED:
        return SHARED[here]
    more = [*(["raw"] if here in READS_RAW else []), *(["dialects"] if here == "tune" else [])]
    return {"core", "contract", here, *more}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_arrows(path: Path) -> None:
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "pipeline" or len(parts) < 2 or parts[1] == "__version__":
            continue
        places = REUSES.get(room(path), {})
        reused = tuple(f"pipeline.{place}.{module}." for place in places for module in places[place])
        if f"{name}.".startswith(reused) or (reused and any(one.startswith(f"{name}.") for one in reused)):
            continue
        if room(path) == "experiment" and parts[1] in (*STAGES, "explain"):
            assert parts[2] == "config", f"experiment imports {name}: only <stage>/config.py, so that jobs start fast"
        else:
            more = {*STAGES, "dialects"} if room(path) == "experiment" else set()
            assert parts[1] in allowed_rooms(path) | more, name


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_fences(path: Path) -> None:
    for name in imports(path):
        library = name.split(".")[0]
        if library in FENCES:
            assert room(path) in FENCES[library], f"{library} may be imported in {FENCES[library]} only"
        if room(path) == "core":
            import sys

            assert library in sys.stdlib_module_names | CORE_MAY | {"pipeline"}, f"core imports {name}"


def test_budgets() -> None:
    sizes = sorted(length(node) for path in FILES for node in functions(path))
    assert statistics.median(sizes) <= 12
    assert sizes[int(0.9 * len(sizes))] <= 35
    longest = max(((length(node), path, node.name) for path in FILES for node in functions(path)), key=lambda t: t[0])
    assert longest[0] <= 80, longest
    lines = [code_lines(path) for path in FILES]
    assert statistics.median(lines) <= 150
    too_long = [(path, code_lines(path)) for path in FILES if code_lines(path) > 400]
    assert not too_long
    assert not [path for path in FILES if room(path) == "jobs" and code_lines(path) > 40]


def test_everything_annotated() -> None:
    for path in FILES:
        for node in functions(path):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            bare = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
            assert not bare, f"{path}:{node.lineno} {node.name}: {bare}"
            assert node.returns is not None, f"{path}:{node.lineno} {node.name}: no return type"


def test_names() -> None:
    for path in FILES:
        assert not re.search(r"util|helper|common|(^|_)misc($|_)|_v\d", path.stem), path


def test_one_word_a_stage() -> None:
    for stage in STAGES:
        assert (ROOT / "jobs" / f"{stage}.py").exists(), stage
        assert (ROOT / "pipeline" / stage / "config.py").exists(), stage
        assert (ROOT / "tests" / stage).is_dir(), stage
    for room_around, job in AROUND.items():
        assert (ROOT / "jobs" / f"{job}.py").exists(), job
        assert (ROOT / "tests" / room_around).is_dir(), room_around


def test_jobs_are_a_docstring_with_their_command_and_a_main() -> None:
    for path in (ROOT / "jobs").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        doc = ast.get_docstring(tree) or ""
        assert f"python jobs/{path.name}" in doc, path
        assert all(word in doc for word in ("Reads", "Writes", "Takes")), path
        assert [node.name for node in functions(path)] == ["main"], path


def test_the_loop_knows_no_modality() -> None:
    text = (ROOT / "pipeline/train/engine.py").read_text(encoding="utf-8")
    code = re.sub(r'""".*?"""|#.*', "", text, flags=re.DOTALL)
    assert not re.search(r"\b(grid|image|series|raster|multi_label|single_label)\b", code)


def test_nothing_is_swallowed() -> None:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ExceptHandler):
                only_pass = len(node.body) == 1 and isinstance(node.body[0], ast.Pass)
                assert node.type is not None, f"{path}:{node.lineno}"
                assert not only_pass, f"{path}:{node.lineno}"
