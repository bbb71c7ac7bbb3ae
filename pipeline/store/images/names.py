"""What the name of an image file says: ``{dataset}_{timeframe}_{YYYYMMDD}_{HHMM}_label_{k}.png``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

_NAME = re.compile(
    r"(?P<dataset>.+)_(?P<timeframe>\d+(?:min|mo|[smhdwMHDW]))_"
    r"(?P<day>\d{8})_?(?P<clock>\d{4})(?:_label_(?P<label>\d+))?"
)
_FOLDER = re.compile(r".*_winsize(?P<bars>[1-9]\d*)")
EXPECTED = "{dataset}_{timeframe}_{YYYYMMDD}_{HHMM}_label_{k}.png, for example eurusd_15m_20240101_0900_label_0.png"


@dataclass(frozen=True)
class Name:
    """The parts of a file name; ``label`` is -1 where the name has none."""

    dataset: str
    timeframe: str
    time: datetime
    """As written, without a zone."""
    label: int


def parse_name(stem: str) -> Name | None:
    """Return the parts of a file name without its extension; ``None`` if it does not follow the convention."""
    found = _NAME.fullmatch(stem)
    if found is None:
        return None
    try:
        time = datetime.strptime(found["day"] + found["clock"], "%Y%m%d%H%M")
    except ValueError:
        return None
    return Name(found["dataset"], found["timeframe"], time, int(found["label"] or -1))


def bars_of(folder: str) -> int | None:
    """Return N of a folder ``{dataset}_{timeframe}_winsize{N}``; ``None`` for other names."""
    found = _FOLDER.fullmatch(folder)
    return int(found["bars"]) if found else None
