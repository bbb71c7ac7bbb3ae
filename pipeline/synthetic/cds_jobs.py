"""The jobs of the made-up Climate Data Store: a queue in time, kept in a folder, so that a killed server knows them."""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

WAITING, RUNNING, DONE, FAILED, REJECTED = "accepted", "running", "successful", "failed", "rejected"
MARS_ERROR = (
    "MARS has returned an error, please check your selection.\n"
    "Request submitted to the MARS server:\n{request}\n"
    "Full error message:\nmars - ERROR  - 20250101.000000 - Cannot connect to the archive\n\n"
    "The job failed with: MarsRuntimeError"
)
NO_DATA = (
    "Your request has not found any data, please check your selection.\n"
    "This may be due to temporary connectivity issues with the source data.\n"
    "If this problem persists, please contact user support.\n"
    "The job failed with: MultiAdaptorNoDataError"
)
CROWDED = "Number queued requests for this dataset is temporarily limited. Please configure your scripts accordingly."


class Submission(NamedTuple):
    """A request that was accepted: data set, its words as JSON with sorted keys, and the id that it got."""

    dataset: str
    request: str
    id: str

    @property
    def inputs(self) -> dict[str, Any]:
        """The request's words."""
        found: dict[str, Any] = json.loads(self.request)
        return found


@dataclass
class Job:
    """One request on its way. Times in seconds since 1970; ``ends`` names the fault that decides its end."""

    id: str
    dataset: str
    inputs: dict[str, Any]
    created: float
    status: str = WAITING
    started: float | None = None
    finished: float | None = None
    ends: str = ""
    spoil: str = ""
    latest: str = ""
    final_until: str = ""
    reason: str = ""
    deleted: bool = False

    @property
    def updated(self) -> float:
        """When its state changed last."""
        return self.finished or self.started or self.created

    @property
    def alive(self) -> bool:
        """Whether it waits or runs."""
        return not self.deleted and self.status in (WAITING, RUNNING)

    @property
    def words(self) -> str:
        """Data set and request as text, for rules that match."""
        return f"{self.dataset} {json.dumps(self.inputs, sort_keys=True)}"


def stamp(seconds: float) -> str:
    """Return a moment as the service writes it: UTC without a zone."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


class Jobs:
    """All jobs, oldest first. A job waits ``queue_seconds``, then for one of ``slots``, then runs ``run_seconds``."""

    def __init__(self, folder: Path) -> None:
        """Take up the jobs of a former server in ``folder``."""
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        found = [Job(**json.loads(path.read_bytes())) for path in folder.glob("*.json")]
        self._jobs = {job.id: job for job in sorted(found, key=lambda job: job.created)}
        self.queue_seconds, self.run_seconds, self.slots = 0.0, 0.0, 1000
        self.most_in_flight = sum(job.alive for job in found)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other requests out."""
        with self._lock:
            yield

    def __iter__(self) -> Iterator[Job]:
        with self._lock:
            return iter(list(self._jobs.values()))

    def find(self, job_id: str) -> Job | None:
        """Return a job that the service admits to know."""
        job = self._jobs.get(job_id)
        return None if job is None or job.deleted or job.ends == "forgotten" else job

    def add(self, dataset: str, inputs: dict[str, Any], **more: Any) -> Job:
        """Put a new job at the end of the queue."""
        with self._lock:
            # No two jobs are of one moment: lists are cut into pages by it.
            latest = max((job.created for job in self._jobs.values()), default=0.0)
            job = Job(str(uuid.uuid4()), dataset, inputs, max(time.time(), latest + 1e-5), **more)
            self._jobs[job.id] = job
            self.save(job)
            self.most_in_flight = max(self.most_in_flight, sum(job.alive for job in self._jobs.values()))
            return job

    def save(self, job: Job) -> None:
        """Write a job where the next server finds it; whole or not at all."""
        path = self._folder / f"{job.id}.json"
        part = path.with_suffix(f".{threading.get_ident()}.part")
        part.write_text(json.dumps(asdict(job)), encoding="utf-8")
        os.replace(part, path)

    def advance(self) -> None:
        """Bring all jobs to where they stand now."""
        with self._lock:
            now = time.time()
            while self._step(now):
                pass

    def _step(self, now: float) -> bool:
        """Do the earliest thing that is due; false when there is none."""
        running = [job for job in self._jobs.values() if job.status == RUNNING and not job.deleted]
        ending = [((job.started or job.created) + self.run_seconds, job) for job in running]
        due = min(ending, key=lambda pair: pair[0], default=None)
        waiting = [job for job in self._jobs.values() if job.status == WAITING and not job.deleted]
        ready = [job for job in waiting if job.ends != "stuck" and job.created + self.queue_seconds <= now]
        if ready and len(running) < self.slots:
            first = ready[0]
            first.status, first.started = RUNNING, max(first.created + self.queue_seconds, self._last_end())
            self.save(first)
            return True
        if due is None or due[0] > now:
            return False
        self._end(due[1], due[0])
        return True

    def _last_end(self) -> float:
        """Return when a slot became free, if slots are what jobs wait for."""
        if self.slots >= len(self._jobs):
            return 0.0
        return max((job.finished or 0.0 for job in self._jobs.values()), default=0.0)

    def _end(self, job: Job, moment: float) -> None:
        reasons = {"failed": MARS_ERROR.format(request=[job.inputs]), "no_data": NO_DATA}
        job.finished, job.reason = moment, reasons.get(job.ends, "")
        job.status = FAILED if job.reason else DONE
        self.save(job)

    def fail(self, job: Job, reason: str) -> None:
        """End a job with an error."""
        with self._lock:
            job.status, job.reason, job.finished = FAILED, reason, job.finished or time.time()
            self.save(job)

    def delete(self, job: Job) -> None:
        """Forget a job; it remains among the submissions."""
        with self._lock:
            job.deleted = True
            self.save(job)

    @property
    def submissions(self) -> list[Submission]:
        """What was accepted, oldest first, deleted jobs included."""
        return [Submission(job.dataset, json.dumps(job.inputs, sort_keys=True), job.id) for job in self]
