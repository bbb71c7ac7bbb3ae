"""What evaluate wrote into a run's folder on request: comparisons with other runs, and the worst samples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.site.reading import Faults, load, number, numbers, text

FOLDER = "against"
_MOST = 40


def read_pairs(folder: Path, faults: Faults) -> list[dict[str, Any]]:
    """Return the comparisons in a run's folder: for each split the differences of scores with their intervals."""
    found = []
    for path in sorted((folder / FOLDER).glob("*.json"))[:_MOST]:
        told = load(path.parent, path.name, faults)
        if "splits" not in told:
            continue
        with faults.noting(f"{FOLDER}/{path.name}"):
            experiment = path.name.removesuffix(f".{told['against']}.json")
            found.append({
                "run": f"{folder.parent.name}/{folder.name}",
                "against": f"{text(experiment, 80)}/{text(told['against'], 120)}",
                "splits": [_split(name, one) for name, one in told["splits"].items()],
            })  # fmt: skip
    return found


def _split(name: str, one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "split": text(name, 10),
        "n": number(one["samples"]),
        "confidence": number(one["method"]["confidence"]),
        "differences": [
            [text(of["name"], 40), number(of["value"]), *numbers(of["interval"]), int(bool(of["beyond_chance"]))]
            for of in one["differences"].values()
        ],
        "notes": [text(line) for line in one["notes"][:5]],
        "caution": text(one["caution"]),
    }


_WORST, _MOST_WORST = "misclassified", 8


def read_worst(folder: Path, faults: Faults) -> dict[str, Any] | None:
    """Return the samples that a run got most wrong, where they were asked for; those of test days, if there are."""
    paths = [path for split in ("test", "val") if (path := folder / _WORST / f"{split}.json").exists()]
    if not paths:
        return None
    told = load(paths[0].parent, paths[0].name, faults)
    with faults.noting(f"{_WORST}/{paths[0].name}"):
        return {
            "split": text(told["split"], 10),
            "wrong": [number(told["wrong"]), number(told["samples"])],
            "shown": [_sample(one) for one in told["shown"][:_MOST_WORST]],
            "confusions": [
                [text(one["missed"], 60), text(one["said"], 60), number(one["samples"])]
                for one in told["confusions"][:_MOST_WORST]
            ],
        }
    return None


def _sample(one: Mapping[str, Any]) -> list[Any]:
    names = ["+".join(text(name, 40) for name in one[key]) for key in ("truth", "said")]
    return [text(one["date"] or one["id"], 120), *names, number(one["probability_of_label"], 6)]
