"""The predict stage: finished runs and new files in; a table of probabilities and labels out, beside a report on it."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.artifact import digest8, read_json, sha256, write_json
from pipeline.core.errors import InputError, IsobarError, shorten
from pipeline.core.interrupt import Interrupt
from pipeline.core.lock import exclusive
from pipeline.core.logs import log, progress
from pipeline.predict.charts import open_charts
from pipeline.predict.config import FORMAT, PredictConfig
from pipeline.predict.ensemble import Ensemble, join
from pipeline.predict.finished import FinishedRun, grid_of
from pipeline.predict.given import Given, sort_out
from pipeline.predict.journal import Journal
from pipeline.predict.maps import open_maps
from pipeline.predict.output import ENDINGS, Table, format_of, write_table
from pipeline.predict.samples import NewData, Piece, Samples

ABOUT = ".about.json"
_NOTES = 4
"""Numbers that are kept of a sample beside its logits: broken, filled, strange and strangest (see ``Piece``)."""
_STRANGE = 6.0
"""Standard deviations of the training by which the mean of a map may miss that of the training unremarked."""
_MOST = 32
"""Samples at a time, unless a setting says otherwise: a network's layers take many times the memory of its inputs."""
_MOST_LISTED = 1000


@dataclass(frozen=True)
class Predicted:
    """What was written, and whether it was there already."""

    output: Path
    samples: int
    fresh: bool

    def told(self) -> str:
        """Return the last line of the job."""
        return f"{'fresh already' if self.fresh else 'wrote'}: {self.output} ({self.samples} samples)"


def predict(config: PredictConfig, runs: Sequence[FinishedRun], interrupt: Interrupt) -> Predicted:
    """Predict the new files with one run, or with several together.

    Beside the output a folder of work holds what is done until all is; a killed prediction goes on from it and ends
    with the same bytes.

    Raises:
        InputError: files are not what a run reads, or the runs do not fit together.
        EnvironmentFault: the disk is full or closed, another process writes this output, or the device is not there.
        Interrupted: a stop was asked for; finished months and batches are kept.
    """
    given, ensemble = sort_out(config.inputs), join(runs, config.weights)
    _check_kinds(given, runs)
    kind = format_of(config.output, config.format)
    output = _output(config, runs[0], kind)
    ticket = _ticket(config, runs, given, kind)
    about = output.with_name(output.name + ABOUT)
    done = _finished(about, output, ticket)
    if done is not None:
        return done
    work = output.with_name(f".{output.name}.work")
    if output.exists() and not about.exists() and not work.exists():
        raise InputError(f"{output}: exists already and was not written by a prediction; name another file")
    with exclusive(work):
        _begin(work, ticket)
        scored = [_score(config, run, number, given, work, interrupt) for number, run in enumerate(runs)]
        table, report = _joined(ensemble, scored)
        write_table(output, kind, table)
        described = {"file": output.name, "bytes": output.stat().st_size, "sha256": sha256(output)}
        whose = [{"run": run.path, "files": run.checksums()} for run in runs]
        write_json(about, {"ticket": ticket, "output": described, "runs": whose, "inputs": given.told(), **report})
        shutil.rmtree(work)
    return Predicted(output, len(table.samples), fresh=False)


def _check_kinds(given: Given, runs: Sequence[FinishedRun]) -> None:
    """Refuse files that no run reads, or that one of them cannot."""
    for run in runs:
        other = given.raw if run.of_images else [*given.images, *given.lists, *given.series]
        if other:
            kinds = "images; give image files" if run.of_images else "maps; give NetCDF or GRIB files"
            raise InputError(f"{other[0]}: not what {run.name} reads, which was trained on {kinds}")
    if given.series and not any("series" in run.norm["inputs"] for run in runs):
        raise InputError(f"{given.series[0]}: {runs[0].name} reads no series; leave the file out")


def _output(config: PredictConfig, run: FinishedRun, kind: str) -> Path:
    if config.output:
        return Path(config.output).expanduser().absolute()
    name = Path(config.inputs[0]).stem
    return run.path / "predict" / f"{name}-{digest8([config.inputs, config.runs, config.weights])}{ENDINGS[kind]}"


def _ticket(config: PredictConfig, runs: Sequence[FinishedRun], given: Given, kind: str) -> str:
    """Return eight digits that stand for everything that decides the output."""
    later = set() if config.days else {"days"}  # came later: tables that were made before are still found
    settings = config.model_dump(exclude={"runs", "inputs", "output", "format", "workers", "export"} | later)
    return digest8([FORMAT, kind, settings, [run.checksums() for run in runs], given.stamp()])


def _finished(about: Path, output: Path, ticket: str) -> Predicted | None:
    """Return what is there already, if it was made from the same."""
    if not (about.exists() and output.exists()):
        return None
    try:
        report = read_json(about)
        same = report["ticket"] == ticket and report["output"]["sha256"] == sha256(output)
        return Predicted(output, int(report["samples"]), fresh=True) if same else None
    except (InputError, KeyError, TypeError, ValueError) as error:
        log.warning("%s cannot be used (%s); predicting again", about, error)
        return None


def _begin(work: Path, ticket: str) -> None:
    """Empty the folder of work unless it is of this very prediction."""
    note = work / "ticket.json"
    try:
        if note.exists() and read_json(note).get("ticket") == ticket:
            log.info("going on with %s", work)
            return
    except InputError as error:
        log.warning("%s; beginning anew", error)
    for entry in [entry for entry in work.iterdir() if entry.name != ".lock"]:
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    write_json(note, {"ticket": ticket})


# --- one run ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scored:
    """What one run says of the new samples."""

    samples: Samples
    logits: NDArray[np.float32]
    """N × K."""
    notes: NDArray[np.float32]
    """N × :data:`_NOTES`."""
    channels: tuple[str, ...]


def _score(
    config: PredictConfig, run: FinishedRun, number: int, given: Given, work: Path, interrupt: Interrupt
) -> Scored:
    """Return the logits of one run for all new samples; batches that are in the folder of work are not done again."""
    from pipeline.train.inference import Network  # torch: only now that every setting is known to be right

    train = run.settings.train.model_copy(update={"device": config.device, "threads": config.threads})
    network = Network(run.path, train, run.fold_scale(), run.stored_scale())
    if network.classes != run.decisions.classes:
        raise InputError(f"{run.path}: model.pt is of other classes than thresholds.json; run the thresholds job again")
    data = _opened(config, run, network, given, work, interrupt)
    size = config.batch_size or min(_MOST, train.batch_size // train.accumulate)
    held = sum(4 * int(np.prod(spec.shape)) * (1 + spec.masked) for spec in network.specs.values())
    batch = max(1, min(size, int(config.memory_gb * 1e9 / (3 * held))))
    samples = data.samples
    journal = Journal(work / f"run{number}.f32", len(samples), len(network.classes) + _NOTES, batch)
    todo = list(journal.todo())
    for first, piece in progress(_read_ahead(data, todo), f"predict: {run.name}", len(todo)):
        journal.add(first, _rows(network.logits(piece.arrays), piece, samples.ids[first : first + batch]))
        interrupt.check(f"{min(first + batch, len(samples))} of {len(samples)} samples of {run.name} are done")
    rows = journal.read()
    channels = network.specs["grid"].channels if "grid" in network.specs else ()
    return Scored(samples, rows[:, :-_NOTES], rows[:, -_NOTES:], channels)


def _opened(
    config: PredictConfig, run: FinishedRun, network: Any, given: Given, work: Path, interrupt: Interrupt
) -> NewData:
    if run.of_images:
        return open_charts(run, network.specs, given, config)
    shape = network.specs["grid"].shape if "grid" in network.specs else ()
    grid = grid_of(run, shape, run.stores / network.store) if shape else None
    return open_maps(run, network.specs, grid, given.raw, work, config, interrupt)


def _read_ahead(data: NewData, todo: Sequence[tuple[int, int]]) -> Iterator[tuple[int, Piece]]:
    """Yield the first row and the inputs of each batch; the next one is read while one is computed."""
    with ThreadPoolExecutor(1, "predict-read") as reader:
        waiting = [reader.submit(data.piece, *rows) for rows in todo[:1]]
        for place, (first, _) in enumerate(todo):
            piece = waiting.pop().result()
            waiting += [reader.submit(data.piece, *rows) for rows in todo[place + 1 : place + 2]]
            yield first, piece


def _rows(logits: NDArray[np.float32], piece: Piece, ids: NDArray[np.str_]) -> NDArray[np.float32]:
    """Return the logits with the notes of each sample behind them, n × (K + notes)."""
    wrong = ~np.isfinite(logits).all(axis=1) & ~piece.broken
    if wrong.any():
        raise IsobarError(
            f"the network's answer is not a number for {int(wrong.sum())} samples ({shorten(ids[wrong])}); their "
            "inputs may lie far outside the training, or its precision is too low: look at the files"
        )
    notes = np.stack([piece.broken, piece.filled, piece.strange, piece.strangest], axis=1)
    return np.concatenate([logits, notes], axis=1).astype(np.float32)


# --- all runs --------------------------------------------------------------------------------------------------------


def _joined(ensemble: Ensemble, scored: Sequence[Scored]) -> tuple[Table, dict[str, Any]]:
    """Return the table of what the runs say together, and a report."""
    first = scored[0].samples
    for run, one in zip(ensemble.runs, scored, strict=True):
        if not np.array_equal(one.samples.ids, first.ids):
            raise InputError(
                f"{run.name}: finds other samples in the new files than {ensemble.runs[0].name} ({len(one.samples)} and"
                f" {len(first)}); runs of an ensemble need the same derive.timezone, derive.hours and names of images"
            )
    broken = np.any([one.notes[:, 0] > 0 for one in scored], axis=0)
    if broken.all():
        raise InputError(f"new files: none of the {len(first)} can be read")
    answer = ensemble.answer([one.logits[~broken] for one in scored])
    filled = np.max([one.notes[~broken, 1] for one in scored], axis=0).astype(np.int64)
    maps = any(one.channels for one in scored)
    composite = ensemble.runs[0].settings.store.target.composite[:1] or "+"
    title = f"Predictions of {', '.join(run.name for run in ensemble.runs)}"
    table = Table(
        samples=first.take(~broken),
        answer=answer,
        filled=filled if maps else np.zeros(0, np.int64),
        classes=ensemble.classes,
        thresholds=ensemble.thresholds,
        joiner=composite,
        title=title,
    )
    report = {
        "samples": len(table.samples),
        "left_out": first.ids[broken][:_MOST_LISTED],
        "filled": int((filled > 0).sum()),
        "strange": _strange(scored, broken, first.ids),
        "classes": ensemble.classes,
        "thresholds": ensemble.thresholds,
        "weights": ensemble.weights,
        "chosen": ensemble.chosen,
        "said": dict(zip(ensemble.classes, answer.predicted.sum(axis=0).tolist(), strict=True)),
    }
    if report["filled"]:
        log.warning(
            "%d samples have gaps in channels that had none in the training; the training mean stands there",
            report["filled"],
        )
    return table, report


def _strange(scored: Sequence[Scored], broken: NDArray[np.bool_], ids: NDArray[np.str_]) -> dict[str, int]:
    """Count, by channel, and tell of maps that are far from anything in the training."""
    found: Counter[str] = Counter()
    for one in scored:
        rows = np.flatnonzero((one.notes[:, 2] > _STRANGE) & ~broken)
        found.update(one.channels[int(place)] for place in one.notes[rows, 3])
        if len(rows):
            log.warning(
                "%d maps lie more than %g standard deviations from the training mean (%s; most often %s): other "
                "units, another season or another kind of variable? What is said of them is a guess",
                len(rows), _STRANGE, shorten(ids[rows], 3), found.most_common(1)[0][0],
            )  # fmt: skip
    return dict(found)
