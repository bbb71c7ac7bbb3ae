"""The Climate Data Store through its own client: the only module that knows the client.

Every outcome becomes a result or one of the few kinds of :mod:`pipeline.download.outcome`. The client is told to try
once: waiting is the caller's business, so that it can be interrupted and follows one rule.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import multiurl
import requests
from cdsapi.api import get_url_key_verify  # type: ignore[import-untyped]
from ecmwf import datastores
from ecmwf.datastores.processing import LinkError
from multiurl.base import NoBar

from pipeline.core.errors import InputError
from pipeline.core.logs import log
from pipeline.download.answers import (
    created,
    has_no_data,
    is_crowded,
    licence_address,
    meaning_of,
    plainly,
    same_request,
    seconds_asked,
    words_of,
)
from pipeline.download.outcome import Busy, Denied, Failed, Forgotten, Hiccup, Invalid, Stopped, Trouble

PROFILE = "https://cds.climate.copernicus.eu/profile"
SERVICE = "https://cds.climate.copernicus.eu/api"
_MOST_PAGES = 10
_OUTAGES = (502, 503, 504)
_NO_ADDRESS = (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema)
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Access:
    """Where the service is, and the key, which is never shown."""

    url: str
    key: str = field(repr=False)
    verify: bool = True
    sums: set[str] = field(default_factory=lambda: {"md5"}, repr=False, compare=False)
    """Kinds of checksums that this service has not been seen to tell wrongly; shared by all threads."""


@dataclass(frozen=True)
class Cost:
    """What a request costs in the service's own count, and the most that it allows."""

    cost: float
    limit: float


def find_access() -> Access:
    """Return the address and key that the client's own reader finds (environment, ``~/.cdsapirc``).

    Raises:
        InputError: there is no key.
    """
    path = Path(os.environ.get("CDSAPI_RC", Path.home() / ".cdsapirc"))
    try:
        url, key, verify = get_url_key_verify(None, None, None)
    except Exception as error:  # the reader raises nothing more precise
        raise InputError(
            f"no key for the Climate Data Store ({path} is missing or lacks url or key); get yours at "
            f"{PROFILE} and write two lines into ~/.cdsapirc: 'url: {SERVICE}' and 'key: …'"
        ) from error
    if not str(key).strip():
        raise InputError(f"the key for the Climate Data Store (CDSAPI_KEY or {path}) is empty; get yours at {PROFILE}")
    if "CDSAPI_KEY" not in os.environ and path.exists() and path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        log.warning("%s holds your key and can be read by others; run: chmod 600 %s", path, path)
    return Access(str(url).rstrip("/"), str(key), bool(verify))


class Cds:
    """A conversation with the service, for one thread."""

    def __init__(self, access: Access, timeout: float, stopped: Callable[[], bool] = lambda: False) -> None:
        """Connect; ``stopped`` is asked while a file arrives."""
        self._access, self._timeout, self._stopped = access, timeout, stopped
        self._remotes: dict[str, datastores.Remote] = {}
        self._differing: dict[str, str] = {}
        _quiet_libraries()
        with warnings.catch_warnings(), self._translated():
            # It warns when the page of news cannot be read, which is no matter.
            warnings.simplefilter("ignore")
            self._client = datastores.Client(
                url=access.url,
                key=access.key,
                verify=access.verify,
                timeout=timeout,
                progress=False,
                maximum_tries=1,
                retry_after=0,
                log_callback=self._to_debug,
            )

    def cost(self, dataset: str, sent: Mapping[str, Any]) -> Cost | None:
        """Return what the service says that a request costs; ``None`` where it does not say."""
        with self._translated(dataset):
            answer = self._client.estimate_costs(dataset, dict(sent))
        try:
            return Cost(float(answer["cost"]), float(answer["limit"]))
        except (KeyError, TypeError, ValueError):
            return None

    def last_day(self, dataset: str) -> date | None:
        """Return the last day (UTC) that the catalogue gives for a data set; ``None`` where it does not say."""
        with self._translated(dataset):
            told = self._client.get_collection(dataset).end_datetime
        return told.date() if told else None

    def submit(self, dataset: str, sent: Mapping[str, Any]) -> str:
        """Send a request and return the id that the service gives it."""
        with self._translated(dataset):
            remote = self._client.submit(dataset, dict(sent))
        self._remotes[remote.request_id] = remote
        return str(remote.request_id)

    def find(self, dataset: str, sent: Mapping[str, Any], known: set[str], since: datetime) -> str | None:
        """Return the id of a request of ours that was sent but whose answer never arrived; recent ones first."""
        with self._translated():
            page: datastores.Jobs | None = self._client.get_jobs(limit=50, sortby="-created")
            for _ in range(_MOST_PAGES):
                if page is None:
                    return None
                for job in page.json["jobs"]:
                    if created(job) < since - timedelta(hours=1):
                        return None
                    alive = job.get("status") in ("accepted", "running", "successful")
                    if alive and job.get("processID") == dataset and job["jobID"] not in known:
                        asked = self._asked(job)
                        if same_request(sent, asked):
                            return str(job["jobID"])
                page = page.next
        return None

    def _asked(self, job: Mapping[str, Any]) -> Mapping[str, Any]:
        told = job.get("metadata", {}).get("request", {}).get("ids") or job.get("request")
        return told or self._client.get_remote(job["jobID"]).request

    def look(self, request_id: str) -> Literal["queued", "running", "ready"]:
        """Return where a request stands.

        Raises:
            Forgotten: the service knows it no more.
            Failed, Busy, Refused, Invalid, Denied: it has ended without a result, for the reason given.
        """
        with self._translated():
            remote = self._remotes.get(request_id) or self._client.get_remote(request_id)
            self._remotes[request_id] = remote
            status = remote.status
            if status in ("accepted", "running"):
                return "queued" if status == "accepted" else "running"
            if status == "successful":
                return "ready"
            if status not in ("failed", "rejected"):
                raise Forgotten(f"the request was {status} on the server")
        raise self._why(remote, status)

    def _why(self, remote: datastores.Remote, status: str) -> Trouble:
        """Return why the service gave a request up."""
        try:
            remote.results_ready  # noqa: B018 - it raises what the server tells
        except (requests.HTTPError, RuntimeError) as error:
            if isinstance(error, requests.HTTPError) and getattr(error.response, "status_code", 400) != 400:
                return self._trouble(error, "")
            text = self._words(error)
            meaning = meaning_of(text) or Failed(text, has_no_data(text))
            if isinstance(meaning, Busy):
                meaning.lost = True
            return meaning
        except requests.RequestException as error:
            return Hiccup(self._scrubbed(plainly(error)), outage=True)
        return Failed(f"the request was {status}")

    def fetch(self, request_id: str, target: Path) -> None:
        """Bring the result of a request that is ready; what is there of ``target`` is taken up again.

        Raises:
            Forgotten: the result has expired.
            Hiccup: it did not arrive whole; what arrived stays.
        """
        with self._translated():
            remote = self._remotes.get(request_id) or self._client.get_remote(request_id)
            results = remote.get_results()
            size = results.content_length
            if target.exists() and target.stat().st_size > size:
                target.unlink()
            if not target.exists() or target.stat().st_size < size:
                self._transfer(results.location, target)
            told = str(results.asset.get("file:checksum", ""))
        self._compare(target, size, told)

    def _transfer(self, address: str, target: Path) -> None:
        try:
            multiurl.download(
                address,
                target=str(target),
                timeout=self._timeout,
                verify=self._access.verify,
                maximum_retries=0,
                resume_transfers=True,
                progress_bar=NoBar,
                observer=self._observe,
            )
        except requests.HTTPError as error:
            if error.response is None or error.response.status_code >= 500 or error.response.status_code in (408, 429):
                raise
            # An object store answers 403 or 404 for what it has no more; with the key it has nothing to do.
            raise Forgotten(f"the result is gone: {self._words(error)}") from None
        except AssertionError as error:  # its way to say that something else than the file has come
            target.unlink(missing_ok=True)
            raise Hiccup(str(error) or "what arrived is not the file") from None

    def _compare(self, target: Path, size: int, told: str) -> None:
        arrived = target.stat().st_size
        if arrived != size:
            # Not the start of the right file: do not build on it.
            target.unlink()
            raise Hiccup(f"{arrived} bytes arrived, {size} were announced")
        if not self._access.sums or not _MD5.fullmatch(told):
            return
        found = _md5(target)
        if found == told:
            return
        if self._differing.get(told) == found:
            # The same bytes twice: what this service calls a checksum is not the MD5 of the bytes.
            self._access.sums.clear()
            return
        self._differing[told] = found
        target.unlink()
        raise Hiccup("what arrived has another checksum than was announced")

    def _observe(self) -> None:
        if self._stopped():
            raise Stopped

    @contextmanager
    def _translated(self, dataset: str = "") -> Iterator[None]:
        try:
            yield
        except requests.HTTPError as error:
            raise self._trouble(error, dataset) from None
        except _NO_ADDRESS as error:
            raise Denied(f"not an address of a data centre: {self._scrubbed(str(error))}") from None
        except (requests.ConnectionError, requests.Timeout, ConnectionError, TimeoutError) as error:
            raise Hiccup(self._scrubbed(plainly(error)), outage=True) from None
        except requests.exceptions.InvalidJSONError:
            raise Hiccup("the server answered with something else than JSON") from None
        except requests.RequestException as error:
            raise Hiccup(self._scrubbed(plainly(error))) from None
        except (KeyError, TypeError, ValueError, LinkError) as error:
            what = self._scrubbed(f"{type(error).__name__}: {error}")
            raise Hiccup(f"the server's answer is not understood ({what})") from None

    def _trouble(self, error: requests.HTTPError, dataset: str) -> Trouble:
        """Return what an answer with an error status means."""
        if error.response is None:
            return Hiccup(self._words(error))
        status, words = error.response.status_code, self._words(error)
        wait = seconds_asked(error.response.headers.get("Retry-After", ""), words)
        if status == 401:
            old = "; a key with a colon is of the old service, which ended in 2024" if ":" in self._access.key else ""
            return Denied(f"the key was not accepted ({words}){old}; copy the one of {PROFILE} into ~/.cdsapirc")
        if status in (408, 429):
            return Busy(words, wait, is_crowded(words))
        if status in (404, 410):
            return Invalid(words) if dataset else Forgotten(words)
        if status >= 500:
            return Hiccup(f"the server answered {status} {error.response.reason}", status in _OUTAGES, wait)
        meaning = meaning_of(words, wait)
        if isinstance(meaning, Denied):
            return Denied(f"a licence is not accepted yet; log in and accept it at {licence_address(words, dataset)}")
        if meaning is None and status == 403:
            return Denied(f"the data centre refuses: {words}")
        return meaning or Invalid(words)

    def _words(self, error: Exception) -> str:
        return self._scrubbed(words_of(str(error)))

    def _to_debug(self, level: int, message: object, *arguments: object, **more: Any) -> None:
        if level >= logging.INFO:
            log.debug("cds: %s", self._scrubbed(str(message)))

    def _scrubbed(self, text: str) -> str:
        return text.replace(self._access.key, "***") if self._access.key else text


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _quiet_libraries() -> None:
    """Have the libraries under the client say nothing by themselves: what matters comes as an error."""
    for name in ("multiurl", "ecmwf", "cdsapi", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
