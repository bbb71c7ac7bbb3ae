"""The notebook for Google Colab is whole and clean, asks for what exists, and its cells run on any machine.

Cells tagged ``colab-only`` (Drive, installation, TensorBoard) are read but not run here.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbclient import NotebookClient
from nbformat import NotebookNode

from pipeline.core.config import load
from pipeline.experiment import Experiment
from tests.conftest import Place

ROOT = Path(__file__).parents[2]
PATH = ROOT / "notebooks" / "colab.ipynb"
BOOK: NotebookNode = nbformat.read(PATH, as_version=4)
CODE = [cell for cell in BOOK.cells if cell.cell_type == "code"]


def tags(cell: NotebookNode) -> list[str]:
    return list(cell.metadata.get("tags", []))


def commands(cell: NotebookNode) -> list[str]:
    """Return the shell lines of a cell."""
    return [found.strip() for found in re.findall(r"^\s*!(.+)$", cell.source, flags=re.MULTILINE)]


def defaults() -> dict[str, str]:
    (cell,) = [cell for cell in CODE if "parameters" in tags(cell)]
    return {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(cell.source).body}  # type: ignore[attr-defined]


def test_it_is_a_valid_notebook_without_outputs() -> None:
    nbformat.validate(BOOK)
    for cell in CODE:
        assert cell.outputs == [], cell.id
        assert cell.execution_count is None, cell.id
    assert {tag for cell in CODE for tag in tags(cell)} == {"parameters", "colab-only"}


@pytest.mark.parametrize("cell", CODE, ids=lambda cell: cell.id)
def test_every_cell_is_python_and_every_command_is_shell(cell: NotebookNode) -> None:
    ast.parse(TransformerManager().transform_cell(cell.source))
    for line in commands(cell):
        assert subprocess.run(["bash", "-n", "-c", line], capture_output=True, text=True).stderr == ""


def test_jobs_and_modules_exist_and_the_config_is_valid() -> None:
    lines = [shlex.split(line) for cell in CODE for line in commands(cell) if line.startswith("python ")]
    jobs = {words[1] for words in lines if words[1] != "-m"}
    assert {"jobs/chain.py", "jobs/report.py"} <= jobs
    modules = {words[2] for words in lines if words[1] == "-m"} - {"pip"}
    named = jobs | {f"{module.replace('.', '/')}.py" for module in modules}
    text = "\n".join(cell.source for cell in BOOK.cells)
    named |= set(re.findall(r"\b(?:jobs|configs|docs)/[\w/]+\.(?:py|yaml|md)\b", text))
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
    load(ROOT / defaults()["CONFIG"], Experiment, defaults()["SETTINGS"].split())


def test_every_command_is_followed_by_a_look_at_its_exit_code() -> None:
    """``!`` goes on after a failure; "Run all" must not."""
    for cell in CODE:
        for line in commands(cell):
            if line.startswith(("python jobs/", "python -m pipeline")):
                assert re.search(rf"!{re.escape(line)}\n\s*check\(_exit_code\)", cell.source), line


def test_one_variable_says_where_everything_is() -> None:
    drive = "/content/drive/"
    for cell in CODE:
        if "parameters" not in tags(cell):
            assert drive not in cell.source, cell.id
    assert defaults()["ISOBAR_HOME"].startswith(drive)
    assert any('os.environ["ISOBAR_HOME"] = ISOBAR_HOME' in cell.source for cell in CODE)


def run_here(home: Path, settings: str, to: Path) -> list[NotebookNode]:
    """Run the cells that are not for Colab only, with other settings, as a notebook of its own; return them."""
    kept = [cell for cell in BOOK.cells if cell.cell_type == "code" and "colab-only" not in tags(cell)]
    book = nbformat.v4.new_notebook(cells=[NotebookNode(cell) for cell in json_copy(kept)], metadata=BOOK.metadata)
    at = next(number for number, cell in enumerate(book.cells) if "parameters" in tags(cell))
    book.cells.insert(at + 1, nbformat.v4.new_code_cell(f"ISOBAR_HOME = {str(home)!r}\nSETTINGS = {settings!r}"))
    client = NotebookClient(book, timeout=1200, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}})
    try:
        client.execute(env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"})
    finally:
        nbformat.write(book, to)
    return list(book.cells)


def json_copy(cells: list[NotebookNode]) -> list[Any]:
    return [nbformat.from_dict(json.loads(json.dumps(cell))) for cell in cells]


def printed(cells: list[NotebookNode], name: str) -> str:
    (cell,) = [cell for cell in cells if cell.id == name]
    return "".join(output.get("text", "") for output in cell.outputs)


@pytest.fixture
def home(raw_place: Place, tmp_path: Path) -> Path:
    """A folder as on Drive, with a small world under the names of the demo's."""
    folder = tmp_path / "My Drive" / "isobar"
    shutil.copytree(raw_place.raw, folder / "data" / "raw" / "demo")
    return folder


SETTINGS = (
    "store.split.train=[1995] store.split.val=[1996] store.split.test=[1994] "
    "train.epochs=60 train.threads=1 evaluate.bootstrap=50"
)


@pytest.mark.slow
def test_after_a_disconnect_the_notebook_goes_on(home: Path, tmp_path: Path) -> None:
    """What the first machine left behind is a training killed in the middle; the notebook is then run from the top."""
    environment = {**os.environ, "ISOBAR_HOME": str(home), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "jobs/chain.py", defaults()["CONFIG"], *SETTINGS.split()]
    lost = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 600
    while not list(home.glob("results/demo/simple-*/checkpoints/last.ckpt")):
        assert lost.poll() is None, "ended before it was killed"
        assert time.monotonic() < until
        time.sleep(0.05)
    os.killpg(lost.pid, signal.SIGKILL)
    lost.wait()
    (run,) = (path for path in home.glob("results/demo/simple-*") if not path.is_symlink())
    assert json.loads((run / "run.json").read_text())["status"] == "running"

    cells = run_here(home, SETTINGS, tmp_path / "executed.ipynb")

    assert "is there already" in printed(cells, "data")
    record = json.loads((run / "run.json").read_text())
    assert (record["status"], record["epoch"], record["sessions"]) == ("done", 60, 2)
    assert f"demo/{run.name} · train, done, epoch 60, 2 sessions" in printed(cells, "runs")
    assert "macro" in printed(cells, "report").lower()
    (pictures,) = [cell for cell in cells if cell.id == "pictures"]
    shown = [output for output in pictures.outputs if "image/png" in output.get("data", {})]
    assert len(shown) == len(list((run / "figures").glob("*.png"))) >= 5
    assert sorted(path.name for path in home.iterdir()) == ["data", "results"]


@pytest.mark.slow
def test_a_job_that_fails_stops_the_notebook(home: Path, tmp_path: Path) -> None:
    to = tmp_path / "executed.ipynb"
    with pytest.raises(Exception, match="the command above ended with exit code 2"):
        run_here(home, "train.epoch=3", to)
    cells = list(nbformat.read(to, as_version=4).cells)
    assert "train.epoch: unknown key" in printed(cells, "train")
    assert printed(cells, "runs") == ""
