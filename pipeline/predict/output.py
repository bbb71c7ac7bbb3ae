"""Predictions as a table: CSV for people and spreadsheets, JSON and NetCDF for programs."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.artifact import plain, writing
from pipeline.core.errors import InputError
from pipeline.predict.ensemble import Answer
from pipeline.predict.samples import Samples

ENDINGS = {"csv": ".csv", "json": ".json", "netcdf": ".nc"}


@dataclass(frozen=True)
class Table:
    """What is written: N samples, K classes."""

    samples: Samples
    answer: Answer
    filled: NDArray[np.int64]
    """N: channels with gaps that had none in the training; empty where the question does not arise."""
    classes: tuple[str, ...]
    thresholds: NDArray[np.float64]
    joiner: str
    """Between the labels of a sample."""
    title: str

    def labels(self, row: int) -> str:
        """Return the labels that are said of a sample, joined."""
        return self.joiner.join(self.classes[k] for k in np.flatnonzero(self.answer.predicted[row]))

    def columns(self) -> dict[str, NDArray[np.str_]]:
        """Return the columns that say which sample it is; those that are empty throughout are left out."""
        names = {"id": "ids", "time": "times", "date": "dates", "group": "groups"}
        found = {name: getattr(self.samples, attribute) for name, attribute in names.items()}
        return {name: column for name, column in found.items() if name == "id" or (column != "").any()}


def format_of(output: str, wanted: str) -> str:
    """Return ``csv``, ``json`` or ``netcdf`` for an output file and the setting.

    Raises:
        InputError: the ending of the file is none of these formats', or another one's.
    """
    ending = Path(output).suffix.lower()
    by_ending = next((name for name, other in ENDINGS.items() if other == ending), None)
    if output and by_ending is None and wanted == "auto":
        raise InputError(f"predict.output: {output}: end it in {', '.join(ENDINGS.values())}, or set predict.format")
    if by_ending is not None and wanted not in ("auto", by_ending):
        raise InputError(f"predict.output: {output} is no name of a {wanted} file; leave predict.format out")
    return by_ending or ("csv" if wanted == "auto" else wanted)


def write_table(path: Path, kind: str, table: Table) -> None:
    """Write the table to ``path``, whole or not at all; equal tables give equal bytes.

    Raises:
        EnvironmentFault: the disk is full or closed.
    """
    with writing(path) as part:
        _WRITERS[kind](part, table)


def _write_csv(path: Path, table: Table) -> None:
    columns, answer = table.columns(), table.answer
    extra = {"filled": table.filled} if len(table.filled) else {}
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        names = [f"{kind}_{name}" for kind in ("p", "raw") for name in table.classes]
        writer.writerow([*columns, "labels", *names, *extra])
        for row in range(len(table.samples)):
            numbers = [f"{value:.6g}" for value in (*answer.probability[row], *answer.raw[row])]
            known = [column[row] for column in columns.values()]
            writer.writerow([*known, table.labels(row), *numbers, *(column[row] for column in extra.values())])


def _write_json(path: Path, table: Table) -> None:
    head = {"title": table.title, "classes": table.classes, "thresholds": table.thresholds}
    with path.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps(plain(head), ensure_ascii=False)[:-1] + ', "samples": [')
        for row, sample in enumerate(_objects(table)):
            stream.write((",\n" if row else "\n") + json.dumps(sample, ensure_ascii=False))
        stream.write("\n]}\n")


def _objects(table: Table) -> Iterator[dict[str, Any]]:
    columns, answer = table.columns(), table.answer
    for row in range(len(table.samples)):
        said = np.flatnonzero(answer.predicted[row])
        yield {
            **{name: str(column[row]) for name, column in columns.items()},
            "labels": [table.classes[k] for k in said],
            "probability": dict(zip(table.classes, answer.probability[row].tolist(), strict=True)),
            "raw": dict(zip(table.classes, answer.raw[row].tolist(), strict=True)),
            **({"filled": int(table.filled[row])} if len(table.filled) else {}),
        }


def _write_netcdf(path: Path, table: Table) -> None:
    import xarray as xr  # takes a third of a second

    answer, columns, size = table.answer, table.columns(), ("sample", "class")
    about = {"long_name": "calibrated probability of the class", "units": "1"}
    raw = {"long_name": "probability as the network gives it", "units": "1"}
    said = {"long_name": "whether the class is said to occur", "flag_values": [0, 1], "flag_meanings": "no yes"}
    variables: dict[str, Any] = {
        "probability": (size, answer.probability, about),
        "raw_probability": (size, answer.raw, raw),
        "predicted": (size, answer.predicted.astype(np.int8), said),
        "threshold": ("class", table.thresholds, {"long_name": "probability from which a class is said to occur"}),
    }
    if len(table.filled):
        variables["filled"] = ("sample", table.filled.astype(np.int32), {"long_name": "channels with unusual gaps"})
    coordinates: dict[str, Any] = {"class": np.array(table.classes, object)}
    for name, column in columns.items():
        coordinates[name] = ("sample", column.astype(object))
    if "time" in columns and (columns["time"] != "").all():
        seconds = np.char.rstrip(columns["time"], "Z").astype("datetime64[s]").astype(np.int64)
        attributes = {"standard_name": "time", "units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian"}
        coordinates["time"] = ("sample", seconds, attributes)
    data = xr.Dataset(variables, coordinates, {"Conventions": "CF-1.12", "title": table.title})
    data.to_netcdf(path, engine="h5netcdf", encoding={name: {"_FillValue": None} for name in variables})


_WRITERS: dict[str, Callable[[Path, Table], None]] = {"csv": _write_csv, "json": _write_json, "netcdf": _write_netcdf}
