"""The raw files of the newest days: brought by the download stage, or found where somebody else puts them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from pipeline.core.artifact import MANIFEST, read_json, write_json
from pipeline.core.errors import InputError
from pipeline.core.interrupt import Interrupt
from pipeline.core.logs import log
from pipeline.daily.config import Fetch
from pipeline.daily.wanted import Wanted, covers, overlapping
from pipeline.derive.plan import expand
from pipeline.download.config import DownloadConfig
from pipeline.download.fetch import FilesLost
from pipeline.download.local import register
from pipeline.download.stage import download, last_day


class Missing(InputError):
    """The raw files of a day could not be had; the text says why."""


@dataclass(frozen=True)
class RawDay:
    """The raw files of a local day."""

    files: dict[Path, str]
    """Their SHA-256."""
    preliminary: bool
    """Whether any value may be ERA5T's."""


class Source(Protocol):
    """Where raw files come from."""

    def newest(self, today: date) -> date:
        """Return the newest local day that is there as a whole, as far as is known before it is fetched."""

    def prepare(self, days: Sequence[date]) -> None:
        """Bring several days at once, where that is quicker than one by one."""

    def bring(self, day: date) -> RawDay:
        """Have the files of a day.

        Raises:
            Missing: they could not be had.
        """

    def refresh(self, day: date) -> None:
        """Ask for the final data of a day that is preliminary.

        Raises:
            Missing: they could not be had.
        """

    def found(self, day: date) -> RawDay:
        """Return the files of a day as they are now."""

    @property
    def troubles(self) -> list[str]:
        """What concerns no day in particular."""


def _chosen(entries: Mapping[str, Mapping[str, Any]], folder: Path, wanted: Wanted, day: date) -> RawDay:
    names = overlapping(entries, wanted.by_name(day))
    files = {folder / name: str(entries[name]["sha256"]) for name in names}
    return RawDay(files, any(entries[name]["preliminary"] for name in names))


# --- fetched ---------------------------------------------------------------------------------------------------------


@dataclass
class Fetched:
    """Files of a data centre, in a folder of raw files of their own."""

    fetch: Fetch
    frame: Mapping[str, Any]
    wanted: Wanted
    folder: Path
    home: Path
    delay: timedelta
    interrupt: Interrupt
    troubles: list[str] = field(default_factory=list)
    _latest: date = date.min
    _had: dict[tuple[bool, date], str] = field(default_factory=dict)
    """By day in UTC, and whether it is for a later one's change: empty where its files are there, else why not."""

    def newest(self, today: date) -> date:
        """Ask the data centre; where it does not say, take what is usual."""
        try:
            settings = self._settings(today, today, earlier=False)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(["download", *map(str, first["loc"])])
            raise InputError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None
        told = last_day(settings, self.wanted.datasets())
        usual = today - self.delay
        if told is None:
            log.info("the data centre does not say which day is its last; %s is taken for it", usual)
        self._latest = min(told or usual, usual)
        return self.wanted.newest(self._latest)

    def prepare(self, days: Sequence[date]) -> None:
        """Fetch all days in few requests; what fails is tried day by day by :meth:`bring`."""
        for earlier in (False, True):
            dates = sorted({at for day in days for at in self.wanted.dates(day, earlier)})
            if len(dates) > 1 and (dates[-1] - dates[0]).days == len(dates) - 1:
                why = self._download(dates[0], dates[-1], earlier)
                if why:
                    log.warning("not all at once (%s); day by day now", why)
                else:
                    self._had |= dict.fromkeys(((earlier, at) for at in dates), "")

    def bring(self, day: date) -> RawDay:
        """Fetch what is missing."""
        for earlier in (False, True):
            for at in self.wanted.dates(day, earlier):
                if (earlier, at) not in self._had:
                    self._had[earlier, at] = self._download(at, at, earlier)
                if self._had[earlier, at]:
                    raise Missing(self._had[earlier, at])
        return self.found(day)

    def refresh(self, day: date) -> None:
        """Fetch the preliminary files anew."""
        for earlier in (False, True):
            for at in self.wanted.dates(day, earlier):
                why = self._download(at, at, earlier, refresh=True)
                if why:
                    raise Missing(why)

    def found(self, day: date) -> RawDay:
        """Return the files of a day as the manifest has them."""
        if not (self.folder / MANIFEST).exists():
            return RawDay({}, preliminary=False)
        raw = read_json(self.folder / MANIFEST)
        return _chosen({**raw["files"], **raw["unused"]}, self.folder, self.wanted, day)

    def _settings(self, first: date, last: date, earlier: bool, refresh: bool = False) -> DownloadConfig:
        table = self.wanted.table(earlier)
        own = self.fetch.model_dump(exclude={"area", "grid", "files"})
        hours = sorted({hour for row in table for hour in row["hours"]}) or [0]
        period = {"start": first, "end": last, "hours": hours, "requests": table, "refresh": refresh}
        return DownloadConfig.model_validate({**own, **self.frame, **period})

    def _download(self, first: date, last: date, earlier: bool, refresh: bool = False) -> str:
        """Fetch the days in UTC from ``first`` to ``last``; return why files could not be had, or nothing."""
        settings = self._settings(first, last, earlier, refresh)
        if not settings.requests:
            return ""
        try:
            download(settings, self.folder.name, self.folder, self.home, self.interrupt, self._latest)
        except FilesLost as error:
            return str(error).partition("; all others are kept")[0].partition("; change the table")[0]
        return ""


# --- local -----------------------------------------------------------------------------------------------------------


@dataclass
class Local:
    """Files that somebody else puts there; they are neither copied nor changed."""

    patterns: Sequence[str]
    wanted: Wanted
    folder: Path
    home: Path
    interrupt: Interrupt
    troubles: list[str] = field(default_factory=list)

    @cached_property
    def _entries(self) -> dict[str, dict[str, Any]]:
        """What each file holds, checked to the last value; one that was checked before is not read again."""
        note = self.folder / "local.json"
        known = read_json(note)["files"] if note.exists() else {}
        files: dict[str, dict[str, Any]] = {}
        for path in expand(self.patterns, self.home, "download.files"):
            self.interrupt.check("no day is begun")
            stamp = [path.stat().st_size, path.stat().st_mtime_ns]
            if known.get(str(path), {}).get("stamp") == stamp:
                files[str(path)] = known[str(path)]
                continue
            try:
                entry = register([str(path)], self.home)[str(path)]
            except InputError as error:
                log.error("%s", error)
                self.troubles.append(str(error))
                continue
            files[str(path)] = {**entry, "stamp": stamp}
        write_json(note, {"files": files})
        return files

    def newest(self, today: date) -> date:
        """Return the last local day that the files reach over.

        Raises:
            InputError: none is.
        """
        ends = [[datetime.fromisoformat(entry[end]).date() for end in ("first", "last")] for entry in self._all()]
        first, day = min((at for at, _ in ends), default=today), max((at for _, at in ends), default=today)
        day += timedelta(1)  # a local day may begin before the one in UTC
        while day >= first:
            if covers(self._entries, self.wanted.by_name(day)):
                return day
            day -= timedelta(1)
        needs = ", ".join(sorted(self.wanted.by_name(day)))
        raise InputError(f"download.files: no day is there as a whole; this run reads {needs}, with the hours before")

    def _all(self) -> Collection[Mapping[str, Any]]:
        return self._entries.values()

    def prepare(self, days: Sequence[date]) -> None:
        """There is nothing to be fetched."""

    def bring(self, day: date) -> RawDay:
        """Find the files."""
        if not covers(self._entries, self.wanted.by_name(day)):
            raise Missing(f"download.files: not all files of {day} are there, or not all can be read")
        return self.found(day)

    def refresh(self, day: date) -> None:
        """Whoever puts the files there replaces them."""

    def found(self, day: date) -> RawDay:
        """Return the files of a day."""
        return _chosen(self._entries, Path(), self.wanted, day)


def source_of(
    fetch: Fetch, frame: Callable[[], dict[str, Any]], wanted: Wanted, folder: Path, home: Path, delay: timedelta,
    interrupt: Interrupt,
) -> Fetched | Local:  # fmt: skip
    """Return where raw files come from.

    Raises:
        InputError: settings are missing.
    """
    if fetch.source == "local":
        if not fetch.files:
            raise InputError("download.files: source local needs files; name files or globs")
        return Local(fetch.files, wanted, folder, home, interrupt)
    return Fetched(fetch, frame(), wanted, folder, home, delay, interrupt)


def today() -> date:
    """Return the day in UTC."""
    return datetime.now(UTC).date()
