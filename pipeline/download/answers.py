"""The words of the Climate Data Store: what they mean, and how they are told to people. Knows nothing of the client."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from pipeline.download.outcome import Busy, Denied, Invalid, Refused, Trouble

# The words are the server's; one status code serves several meanings (403: cost, licence), so the words come first.
_MEANINGS: tuple[tuple[type[Trouble], str], ...] = (
    (Refused, r"cost limit|too large|exceeds the (cost )?limit|reduce your selection"),
    (Denied, r"licen[cs]e|site policies"),
    (Busy, r"temporarily limited|queued requests|number of daily requests|rate limit|too many requests"),
    (Invalid, r"invalid ?request|none of the data|not a valid|parametererror|invalid parameter"),
)
_NO_DATA = re.compile(r"no ?data|not found any data", re.IGNORECASE)
_EARLY = re.compile(r"IncompleteRead\((\d+) bytes read, (\d+) more")
_DUMPED = "[{"
"""Begins of lines that repeat the request."""
_BARE = re.compile(r"(\d{3}) (?:Client|Server) Error: (.*?) for url")
_CROWDED = re.compile(r"queued requests|temporarily limited", re.IGNORECASE)
_URL = re.compile(r"https?://[^\s'\"]+[^\s'\".,;)]")


def words_of(text: str) -> str:
    """Return what the server said, without the line about status and address that the client puts first."""
    lines = [line.strip(" .:") for line in text.splitlines() if line.strip() and line[0] not in _DUMPED]
    bare = _BARE.match(lines[0]) if lines else None
    if bare:
        lines = lines[1:] or [f"the server answered {bare.group(1)} {bare.group(2)}"]
    if len(lines) > 1 and lines[1].lower().startswith(lines[0].lower()):
        lines = lines[1:]
    return "; ".join(dict.fromkeys(lines))


def meaning_of(words: str, wait: float = 0.0) -> Trouble | None:
    """Return what the server's words mean; ``None``: nothing that is known."""
    for kind, pattern in _MEANINGS:
        if re.search(pattern, words, re.IGNORECASE):
            return Busy(words, wait, is_crowded(words)) if kind is Busy else kind(words)
    return None


def is_crowded(words: str) -> bool:
    """Tell whether the limit is on requests that wait."""
    return bool(_CROWDED.search(words))


def has_no_data(words: str) -> bool:
    """Tell whether the request selected nothing, or the archive could not be reached: the service says the same."""
    return bool(_NO_DATA.search(words))


def licence_address(words: str, dataset: str) -> str:
    """Return where the licence of a data set is accepted."""
    found = _URL.search(words)
    return found.group() if found else f"https://cds.climate.copernicus.eu/datasets/{dataset}?tab=download"


def seconds_asked(header: str, words: str) -> float:
    """Return the seconds that the server asks to wait, at most an hour; 0: none.

    ``header``: its ``Retry-After`` (RFC 9110, 10.2.3); without one its words count.
    """
    if header.isdigit():
        return min(float(header), 3600.0)
    if header:
        try:
            return min(max((parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds(), 0.0), 3600.0)
        except (TypeError, ValueError):
            return 0.0
    told = re.search(r"wait (\d+) seconds", words)
    return min(float(told.group(1)), 3600.0) if told else 0.0


def same_request(sent: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    """Compare a request with the service's copy, which may order, pad and complete it."""
    compared = {*sent, *({"area", "grid"} & asked.keys())}
    return all(_values(asked.get(name)) == _values(sent.get(name)) for name in compared)


def _values(value: Any) -> list[str]:
    items = value if isinstance(value, list | tuple) else [value]
    return sorted(_number_or_text(item) for item in items)


def _number_or_text(item: Any) -> str:
    try:
        return repr(float(item))
    except (TypeError, ValueError):
        return str(item)


def created(job: Mapping[str, Any]) -> datetime:
    """Return when a job of the service's list was made; it writes UTC without a zone."""
    moment = datetime.fromisoformat(str(job["created"]))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def plainly(error: BaseException) -> str:
    """Return the innermost reason of a chain of library errors."""
    inner: object = error
    while inner is not None:
        error = inner if isinstance(inner, BaseException) else error
        wrapped = [*error.args, getattr(error, "reason", None), error.__cause__]
        inner = next((item for item in wrapped if isinstance(item, BaseException)), None)
    early = _EARLY.search(str(error))
    if early:
        return f"the connection closed early: {early.group(1)} bytes arrived, {early.group(2)} are missing"
    return str(getattr(error, "strerror", None) or error) or type(error).__name__
