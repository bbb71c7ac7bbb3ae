"""The scheduled job: which days are missing, each one fetched, classified and told; the diary brought up to date."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Protocol

from pipeline.core import logs
from pipeline.core.errors import BAD_INPUT, FAILED, EnvironmentFault, Interrupted, IsobarError, disk_fault
from pipeline.core.interrupt import Interrupt
from pipeline.core.lock import exclusive
from pipeline.core.logs import log
from pipeline.daily.classify import Classifier
from pipeline.daily.config import DailySettings
from pipeline.daily.diary import DONE, PRELIMINARY, Day, Diary, change_told, failed, labels_of, now, revised
from pipeline.daily.diary import FAILED as UNDONE
from pipeline.daily.raw import Fetched, Local, Missing, source_of, today
from pipeline.daily.tell import tell
from pipeline.daily.wanted import days_between, frame_of, hours_of, wanted_by
from pipeline.download.config import DownloadConfig
from pipeline.predict.finished import Settings, open_run

RECENT = "recent.png"
_MOST_TOLD = 5


class RunSettings(Settings, Protocol):
    """The config of a run."""

    @property
    def download(self) -> DownloadConfig:
        """How its raw files were fetched."""

    def store_root(self) -> Path:
        """Return where the stores of its data set are."""


Pictures = Callable[[str], Callable[..., None]]
"""``draw_day`` (file, record, pressure field, dots per inch) and ``draw_recent`` (file, records, dots per inch)."""


class DaysFailed(IsobarError):
    """Some days could not be classified; the others are."""

    def __init__(self, text: str, exit_code: int) -> None:
        """Keep the exit code."""
        super().__init__(text)
        self.exit_code = exit_code


@dataclass
class Report:
    """What a call has come to."""

    folder: Path
    newest: date | None = None
    made: list[Day] = field(default_factory=list)
    failures: dict[date, tuple[str, int]] = field(default_factory=dict)
    """Reason and exit code."""
    troubles: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return a line for each day that was classified, and for each that could not be."""
        done = [f"{record['date']}: {_told(record)}" for record in self.made]
        return [*done, *(f"{day}: {reason}" for day, (reason, _) in self.failures.items()), *self.troubles]

    def headline(self) -> str:
        """Return all of it in a few words."""
        if not self.made:
            return f"{_count(len(self.failures))} failed" if self.failures else "raw files cannot be read"
        last = self.made[-1]
        days = last["date"] if len(self.made) == 1 else f"{_count(len(self.made))} to {last['date']}"
        return f"{days}: {labels_of(last)}" + (f"; {_count(len(self.failures))} failed" if self.failures else "")

    def told(self) -> str:
        """Return the last line of the job.

        Raises:
            DaysFailed: some days could not be classified, or files not be read.
        """
        if self.failures or self.troubles:
            reasons = dict.fromkeys([*(reason for reason, _ in self.failures.values()), *self.troubles])
            hopeless = not self.made and all(code == BAD_INPUT for _, code in self.failures.values())
            days = ", ".join(str(day) for day in list(self.failures)[:_MOST_TOLD])
            more = f" and {len(self.failures) - _MOST_TOLD} more" if len(self.failures) > _MOST_TOLD else ""
            what = f"{_count(len(self.failures))} could not be classified ({days}{more}): " if self.failures else ""
            raise DaysFailed(
                f"{what}{'; '.join(list(reasons)[:3])}; {_count(len(self.made))} done, the same command tries again",
                BAD_INPUT if hopeless and self.failures else FAILED,
            )
        if not self.made:
            return f"nothing to do: {self.folder} has every day up to {self.newest}, the newest there is"
        return f"wrote {self.folder} ({self.headline()})"


def _count(number: int) -> str:
    return f"{number} day{'s' * (number != 1)}"


def _told(record: Day) -> str:
    """Return types, the likeliest classes and the kind of data of a day."""
    likeliest = sorted(record["probability"].items(), key=lambda item: -item[1])[:3]
    shown = ", ".join(f"{name} {value:.0%}" for name, value in likeliest)
    changed = f"; {change_told(record)}" if "changed" in record else ""
    return f"{labels_of(record)} ({shown}; {record['data']}{changed})"


def daily(
    settings: DailySettings, run: Path, own: RunSettings, home: Path, interrupt: Interrupt, pictures: Pictures
) -> Report:
    """Bring the diary of the run's experiment up to date.

    Args:
        settings: of the scheduled job.
        run: the folder of the finished run.
        own: its config.
        home: where relative paths start.
        interrupt: asks for a stop.
        pictures: returns what draws, by name.

    Raises:
        InputError: a setting is wrong, the run is not finished, the key or a licence is missing.
        EnvironmentFault: another process is at it, the data centre does not answer, or the disk is full.
        Interrupted: a stop was asked for; finished days are kept.
    """
    folder = run.parent / "daily"
    with exclusive(folder), _logging_into(folder):
        work = _work(settings, run, own, home, interrupt, pictures)
        try:
            report = work.update()
        except Interrupted:
            raise
        except IsobarError as error:
            if settings.daily.notify:
                tell("failed", f"{run.parent.name}: daily failed", str(error))
            raise
        if settings.daily.notify and report.lines():
            wrong = bool(report.failures or report.troubles)
            title = f"{run.parent.name} {report.headline()}"
            tell("failed" if wrong else "info", title, "\n".join(report.lines()))
    return report


@contextmanager
def _logging_into(folder: Path) -> Iterator[None]:
    before = list(log.handlers)
    logs.write_to(folder, "daily")
    try:
        yield
    finally:
        for handler in [handler for handler in log.handlers if handler not in before]:
            log.removeHandler(handler)
            handler.close()


def _work(
    settings: DailySettings, run: Path, own: RunSettings, home: Path, interrupt: Interrupt, pictures: Pictures
) -> Work:
    """Put together what a call needs."""
    config, experiment = settings.daily, run.parent.name
    finished = open_run(run, own, own.store_root())
    wanted = wanted_by(finished, hours_of(config, finished, own.download))
    name = config.dataset or f"{experiment}-daily"
    source = source_of(
        settings.download,
        lambda: frame_of(settings.download, finished, own.download),
        wanted,
        home / settings.data / "raw" / name,
        home,
        timedelta(config.delay_days),
        interrupt,
    )
    work = home / settings.data / "derived" / f".{name}"
    kind = settings.download.source
    classifier = Classifier(
        finished, config, list(wanted.hours), work, kind, lambda *what: pictures("draw_day")(*what), interrupt
    )
    return Work(settings, Diary(run.parent / "daily"), source, classifier, pictures, interrupt)


@dataclass(frozen=True)
class Work:
    """One call of the job."""

    settings: DailySettings
    diary: Diary
    source: Fetched | Local
    classifier: Classifier
    pictures: Pictures
    interrupt: Interrupt

    def update(self) -> Report:
        """Classify what is missing, ask for final data of what is preliminary, and bring table and picture in line."""
        report = Report(self.diary.folder, self.source.newest(today()))
        days = self._missing(report.newest or today())
        if days:
            log.info("newest day: %s; to be classified: %s", report.newest, _listed(days))
            self.source.prepare(days)
        for day in days:
            self._one(day, report)
        for day in self._preliminary():
            self._refreshed(day, report)
        report.troubles += self.source.troubles
        self._finish(report)
        return report

    def _missing(self, newest: date) -> list[date]:
        """Return the days without a classification, in order, as far back as the settings say."""
        config, known = self.settings.daily, self.diary.days()
        first = config.start or min([*known, newest])
        oldest = max(first, newest - timedelta(config.catch_up_days - 1))
        left = [day for day in days_between(first, oldest - timedelta(1)) if not self._is_done(day)]
        if left:
            log.info(
                "%s from %s to %s are not classified and older than daily.catch_up_days=%d",
                _count(len(left)), left[0], left[-1], config.catch_up_days,
            )  # fmt: skip
        candidates = [day for day in days_between(oldest, newest) if self.source.wanted.times(day)]
        return [day for day in candidates if not self._is_done(day)]

    def _is_done(self, day: date) -> bool:
        return bool(self.diary.read(day).get("status") == DONE)

    def _preliminary(self) -> list[date]:
        return [day for day in self.diary.days() if self.diary.read(day).get("data") == PRELIMINARY]

    def _one(self, day: date, report: Report) -> None:
        """Classify a day; one that cannot be is noted with the reason, and does not stop the others."""
        self.interrupt.check(f"{_count(len(report.made))} done")
        before = self.diary.read(day)
        wanted = self.source.wanted
        try:
            raw = self.source.bring(day)
            record = self.classifier.classify(day, wanted.times(day), raw, self.diary.picture(day))
        except (EnvironmentFault, Interrupted):
            raise
        except Missing as error:
            self._failed(day, before, str(error), FAILED, report)
        except IsobarError as error:
            self._failed(day, before, str(error), error.exit_code, report)
        except Exception as error:  # whatever a strange file does must not keep the next day from being classified
            fault = disk_fault(error, error.filename or self.diary.folder) if isinstance(error, OSError) else None
            if fault:
                raise fault from error
            log.error("%s: this is a fault of the program, please report it:\n%s", day, traceback.format_exc())
            self._failed(day, before, f"{type(error).__name__}: {error}".splitlines()[0], FAILED, report)
        else:
            record = revised(before, record)
            self.diary.write(day, record)
            report.made.append(record)
            log.info("%s: %s", day, _told(record))

    def _failed(self, day: date, before: Day, reason: str, code: int, report: Report) -> None:
        log.error("%s: not classified: %s", day, reason)
        self.diary.write(day, failed(before, day, reason, code))
        report.failures[day] = reason, code

    def _refreshed(self, day: date, report: Report) -> None:
        """Ask for the final data of a preliminary day where that is due, and classify it anew when they are there."""
        record = self.diary.read(day)
        if not self._final_is_there(day):
            if not self._is_due(record, day):
                return
            self.interrupt.check(f"{_count(len(report.made))} done")
            log.info("%s: asking for final data in place of ERA5T", day)
            try:
                self.source.refresh(day)
            except Missing as error:
                self._failed(day, record, f"final data: {error}", FAILED, report)
                return
        if self._final_is_there(day):
            self._one(day, report)
        else:
            record.pop("trouble", None)
            self.diary.write(day, {**record, "asked_for_final": now()})
            log.info("%s: still preliminary; asked again in %d days", day, self.settings.daily.refresh_every_days)

    def _final_is_there(self, day: date) -> bool:
        raw = self.source.found(day)
        return bool(raw.files) and not raw.preliminary

    def _is_due(self, record: Day, day: date) -> bool:
        config = self.settings.daily
        last = date.fromisoformat(max(record["made_at"], record.get("asked_for_final", ""))[:10])
        old_enough = (today() - day).days >= config.refresh_after_days
        waited = (today() - last).days >= config.refresh_every_days
        return isinstance(self.source, Fetched) and old_enough and (waited or "trouble" in record)

    def _finish(self, report: Report) -> None:
        records = self.diary.all()
        self.diary.write_table(records)
        recent = self.diary.folder / RECENT
        shown = [record for record in records if record["status"] in (DONE, UNDONE)][-self.settings.daily.table_days :]
        changed = report.made or report.failures or not recent.exists()
        if self.settings.daily.table_days and changed and any(record["status"] == DONE for record in shown):
            self.pictures("draw_recent")(recent, shown, self.settings.daily.dpi)
        self.classifier.clean()


def _listed(days: Sequence[date]) -> str:
    whole = len(days) > _MOST_TOLD and (days[-1] - days[0]).days == len(days) - 1
    if whole:
        return f"{_count(len(days))} from {days[0]} to {days[-1]}"
    return ", ".join(map(str, days[:_MOST_TOLD])) + (f" and {len(days) - _MOST_TOLD} more" * (len(days) > _MOST_TOLD))
