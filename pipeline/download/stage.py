"""Table of requests → raw files that passed every check, and the manifest that lists them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pipeline.core.errors import EnvironmentFault, InputError
from pipeline.core.interrupt import Interrupt
from pipeline.core.lock import holding
from pipeline.core.logs import event, log
from pipeline.core.parts import Part
from pipeline.download.arco import ArcoStore
from pipeline.download.cds import Access, Cds, find_access
from pipeline.download.check import Rejected
from pipeline.download.config import DownloadConfig
from pipeline.download.errand import Shared, Source
from pipeline.download.fetch import Crew, report_losses
from pipeline.download.local import register
from pipeline.download.manifest import Manifest, Record
from pipeline.download.outcome import Denied, Trouble
from pipeline.download.plan import CDS_DELAY, Cover, period, wanted
from pipeline.download.preview import size_note, table
from pipeline.download.request import Frame
from pipeline.download.schedule import CostOf, extend, reconcile, to_do
from pipeline.download.sources import ArcoSource, CdsSource


@dataclass(frozen=True)
class Summary:
    """What a download has come to."""

    files: int
    """Files in the manifest."""
    bytes: int
    fetched: int
    """Files that this run brought."""
    preliminary: int
    """Files with values of ERA5T."""
    complete: bool
    """Whether every wanted file is there."""
    table: str = ""
    """With ``dry_run``: the plan."""


def download(
    config: DownloadConfig, dataset: str, folder: Path, home: Path, interrupt: Interrupt, latest: date | None = None
) -> Summary:
    """Bring the raw files in ``folder`` up to date with the table of the config.

    What is there, and what was asked for already, is not asked for again: after a kill the same command takes up its
    requests on the server. ``latest``: the last day of the source, if the caller has asked for it (:func:`last_day`).

    Raises:
        InputError: a setting, the key or a licence is missing or wrong, or the data centre cannot give what is asked.
        EnvironmentFault: files could not be had now, the disk is full, or another process works in ``folder``.
        Interrupted: a stop was asked for; requests stay on the server.
    """
    if config.source == "none":
        raise InputError("download.source: is none; set it to cds, arco or local (see docs/data.md)")
    north, west, south, east = config.area
    frame = Frame((north, west, south, east), tuple(config.grid), config.format)
    manifest = Manifest(folder, dataset, config.source, frame)
    if config.source == "local":
        return _register(config, manifest, home)
    way = _arco(config) if config.source == "arco" else _cds(config)
    cells = wanted(config, *period(config, latest or way.latest))
    if config.dry_run:
        return _preview(config, manifest, cells, way)
    with holding(folder, Part.parse(config.parts)):
        return _fetch(Shared(manifest, config), way, cells, interrupt)


def last_day(config: DownloadConfig, datasets: Iterable[str]) -> date | None:
    """Ask the source for the last day (UTC) that all of ``datasets`` have; ``None`` where it does not say.

    Raises:
        InputError: no key, or it is not accepted.
        EnvironmentFault: the source does not answer.
    """
    if config.source == "arco":
        return _arco(config).latest
    try:
        cds = Cds(find_access(), config.timeout_seconds)
        found = [cds.last_day(dataset) for dataset in datasets]
    except Denied as error:
        raise InputError(str(error)) from None
    except Trouble as error:
        raise EnvironmentFault(f"the data centre cannot be asked for its last day ({error}); try again later") from None
    return min((day for day in found if day), default=None)


@dataclass(frozen=True)
class _Way:
    """How files of one source are had."""

    latest: date
    """The last day that it has."""
    cost: CostOf
    source: Callable[[Shared], Source]
    note: str
    """For the preview: how long requests are."""


def _arco(config: DownloadConfig) -> _Way:
    store = ArcoStore(config.store, timeout=config.timeout_seconds)
    try:
        latest = store.latest()
    except Rejected as error:
        raise EnvironmentFault(f"{error}; run the same command again later") from None
    return _Way(latest, _unknown, lambda _: ArcoSource(store), "a file a month")


def _cds(config: DownloadConfig) -> _Way:
    latest = datetime.now(UTC).date() - CDS_DELAY
    try:
        access = find_access()
    except InputError:
        if config.dry_run:
            return _Way(latest, _unknown, _no_source, "no key is set, so costs are not asked for: a request a year")
        raise
    cost = _cost_of(access, config.timeout_seconds)
    return _Way(latest, cost, lambda shared: CdsSource(shared, access), "requests as long as the data centre allows")


def _no_source(shared: Shared) -> Source:
    raise InputError("no key for the Climate Data Store")


def _fetch(shared: Shared, way: _Way, cells: Cover, interrupt: Interrupt) -> Summary:
    manifest, config, part = shared.manifest, shared.config, Part.parse(shared.config.parts)
    with manifest.changing() as record:
        reconcile(record, manifest.folder, cells, part, config.refresh)
        extend(record, manifest.frame, config, cells, way.cost)
    todo = to_do(record, part)
    total = sum(piece.wanted for piece in record.pieces.values())
    event(f"files in the data set: {total}; to be fetched by this job: {len(todo)}", total=total, todo=len(todo))
    crew = Crew(shared, way.source(shared), lambda name: _split(manifest, name, config))
    crew.work(todo, len(todo), interrupt)
    report_losses(crew.losses)
    return _summary(manifest.read(), crew.fetched)


def _split(manifest: Manifest, name: str, config: DownloadConfig) -> list[str]:
    with manifest.changing() as record:
        halves = record.split(name, manifest.frame, tuple(sorted(config.hours)))
    if halves:
        log.info("%s: larger than the data centre allows; split into %s", name, " and ".join(halves))
    return halves


def _cost_of(access: Access, timeout: float) -> CostOf:
    """Return the service's estimate of costs; unknown where it does not answer."""
    clients: list[Cds | None] = []

    def cost(dataset: str, sent: Mapping[str, Any]) -> tuple[float, float] | None:
        try:
            if not clients:
                clients.append(Cds(access, timeout))
            told = clients[0].cost(dataset, sent) if clients[0] else None
        except Denied as error:
            raise InputError(f"{dataset}: {error}") from None
        except Trouble as error:
            log.warning("no estimate of costs (%s); requests that are too large will be split when refused", error)
            # A service that is down is not asked for each kind of request: every question may take minutes.
            clients[:] = [None]
            return None
        return (told.cost, told.limit) if told else None

    return cost


def _unknown(dataset: str, sent: Mapping[str, Any]) -> tuple[float, float] | None:
    return None


def _preview(config: DownloadConfig, manifest: Manifest, cells: Cover, way: _Way) -> Summary:
    """Return the plan without writing anything."""
    record = manifest.read()
    reconcile(record, manifest.folder, cells, Part(1, 1), config.refresh)
    extend(record, manifest.frame, config, cells, way.cost)
    return _summary(record, 0, f"{table(record, manifest.frame)}\n{size_note(manifest.frame)}; {way.note}")


def _summary(record: Record, fetched: int, text: str = "") -> Summary:
    dropped = {name for name, piece in record.pieces.items() if not piece.wanted}
    listed = [entry for name, entry in record.files.items() if name not in dropped]
    preliminary = sum(bool(entry["preliminary"]) for entry in listed)
    return Summary(len(listed), sum(entry["bytes"] for entry in listed), fetched, preliminary, record.complete, text)


def _register(config: DownloadConfig, manifest: Manifest, home: Path) -> Summary:
    """List files that are there already, checked, in the manifest; they are neither copied nor changed."""
    with holding(manifest.folder, Part.parse(config.parts)), manifest.changing() as record:
        before = set(record.files)
        record.files = register(config.files, home, record.files)
    return _summary(record, len(set(record.files) - before))
