"""Where the data of a run came from, noted in its folder while the data is at hand: versions and checksums."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.artifact import MANIFEST, digest8, read_json, write_json
from pipeline.site.reading import WRONG, text

PROVENANCE = "provenance.json"
_MOST_FILES = 20


def note_origin(run: Path, data: Path) -> bool:
    """Write ``provenance.json`` into a finished run's folder, unless it is there or its store is not; tell whether.

    Args:
        run: the folder of a run.
        data: the folder of raw, derived and stored arrays.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    if (run / PROVENANCE).exists():
        return False
    try:
        found = _origin(run, data)
    except (*WRONG, zipfile.BadZipFile, EOFError):
        return False  # The page then says that the origin is not known here.
    if found is None:
        return False
    write_json(run / PROVENANCE, found)
    return True


def _origin(run: Path, data: Path) -> dict[str, Any] | None:
    predictions = run / "predictions_val.npz"
    if not predictions.exists():
        return None
    with np.load(predictions, allow_pickle=False) as arrays:
        version = str(arrays["store"])
    if not version or "/" in version:
        return None
    folders = sorted((data / "store").glob(f"*/{version}/store.json"))
    if not folders:
        return None
    store = read_json(folders[0])
    upstream = dict(store["upstream"])
    upstream.pop("settings", None)
    found = {
        "store": {
            "version": version,
            "dataset": store["dataset"],
            "samples": store["samples"],
            "files": {name: one["sha256"] for name, one in list(store["files"].items())[:_MOST_FILES]},
            "warnings": store["preflight"].get("warnings", []),
        },
        "upstream": upstream,
    }
    return found | _derived(data, str(store["dataset"]), upstream.get("derived"))


def _derived(data: Path, dataset: str, version: Any) -> dict[str, Any]:
    """Return what is known of the derived files of this version, and of the raw files below them."""
    for path in sorted((data / "derived").glob(f"*/{MANIFEST}")):
        manifest = read_json(path)
        if version is None or manifest.get("version") != version:
            continue
        pieces = manifest["pieces"]
        return {
            "derived": {
                "version": version,
                "timezone": manifest["timezone"],
                "fields": list(manifest["fields"]),
                "sources": manifest["sources"][:_MOST_FILES],
                "files": len(pieces),
                "first": pieces[0]["first"],
                "last": pieces[-1]["last"],
                "sha256_of_all": digest8([piece["sha256"] for piece in pieces]),
            }
        } | _raw(data / "raw" / dataset / MANIFEST)
    return {}


def _raw(path: Path) -> dict[str, Any]:
    """Return what a download noted of the raw files; nothing where they were not downloaded."""
    if not path.exists():
        return {}
    manifest = read_json(path)
    files = {name: one for name, one in manifest.get("files", {}).items() if "sha256" in one}
    return {
        "raw": {
            "source": text(manifest.get("source"), 80),
            "files": len(files),
            "bytes": sum(int(one.get("bytes", 0)) for one in files.values()),
            "sha256": {name: files[name]["sha256"] for name in sorted(files)[:_MOST_FILES]},
        }
    }
