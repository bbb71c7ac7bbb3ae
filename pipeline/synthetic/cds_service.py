"""What the made-up Climate Data Store does with a request, without the network: from a call to an answer."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from pipeline.core.artifact import write_text
from pipeline.raw.variables import RAW
from pipeline.synthetic import cds_answers as answers
from pipeline.synthetic.cds_answers import Answer, Problem, plain
from pipeline.synthetic.cds_delivery import Order
from pipeline.synthetic.cds_faults import Faulty, Rules
from pipeline.synthetic.cds_jobs import CROWDED, DONE, FAILED, NO_DATA, REJECTED, WAITING, Job, Jobs
from pipeline.synthetic.cds_request import DATASETS, Invalid, Selection, select, today
from pipeline.synthetic.cds_spoils import SPOILS
from pipeline.synthetic.cds_workshop import WORKSHOP
from pipeline.synthetic.files import VARIABLES
from pipeline.synthetic.plan import Weather

_DELAY = timedelta(days=5)


@dataclass(frozen=True)
class Options:
    """How the data store behaves. Times in seconds.

    ``native``: spacing of the data in degrees, ERA5's own is 0.25; coarse ones make small files. ``latest``: last day
    that can be had; ``None``: five days ago. ``final_until``: days after it are ERA5T. ``limit``: most fields of one
    request. ``queued``: most jobs that may wait. ``slots``: jobs that run at one time. ``rate``: requests per seconds
    to the interface. ``accepted``: whether the licence is accepted from the start.
    """

    key: str = "00000000-0000-4000-8000-000000000000"
    native: float = 0.25
    weather: Weather = Weather()  # noqa: RUF009 - frozen
    latest: date | None = None
    final_until: date | None = None
    queue_seconds: float = 0.0
    run_seconds: float = 0.0
    slots: int = 1000
    limit: float = 60_000.0
    queued: int = 200
    rate: tuple[int, float] | None = None
    accepted: bool = True
    slow_seconds: float = 1.0
    stall_seconds: float = 30.0


@dataclass
class Call:
    """A request as it came, and what is noted about it for the log. ``root``: scheme and host that the client named."""

    method: str
    path: str
    query: Mapping[str, Sequence[str]]
    key: str | None
    body: bytes
    root: str
    kind: str = ""
    job: str = ""
    dataset: str = ""
    fault: str = ""

    @property
    def api(self) -> str:
        """Address of the interface."""
        return f"{self.root}/api"

    @property
    def base(self) -> str:
        """Address of the part where jobs live."""
        return f"{self.api}/retrieve/v1"

    @property
    def url(self) -> str:
        """Address that was asked."""
        return self.root + self.path


class Service:
    """The data store: jobs, files and licences in a folder, and the rules of its faults."""

    def __init__(self, folder: Path, options: Options, faults: Faulty = ()) -> None:
        """Take up what a former server left in ``folder``."""
        self.folder, self.options, self.faults = folder, options, Rules(faults)
        self.jobs = Jobs(folder / "jobs")
        self._licences = folder / "licences.json"
        self._recent: deque[float] = deque()
        self._lock = threading.Lock()
        self.set_options(options)

    def set_options(self, options: Options) -> None:
        """Change how the data store behaves from now on."""
        self.options = options
        self.jobs.queue_seconds, self.jobs.run_seconds = options.queue_seconds, options.run_seconds
        self.jobs.slots = options.slots

    @property
    def latest(self) -> date:
        """The last day that can be had."""
        return self.options.latest or today() - _DELAY

    def answer(self, call: Call) -> Answer:
        """Answer a call to the interface (not one for a file)."""
        try:
            action, found = self._route(call)
            call.fault = self.faults.strike("refuse", call.kind, self.words(call))
            if call.fault:
                return answers.refusal(call.fault, call.url, call.root, call.dataset)
            self._check_rate()
            if call.kind not in ("catalogue", "process", "constraints", "costing"):
                self._check_key(call)
            return action(call, *found)
        except Problem as problem:
            return problem.answer(call.url)

    def words(self, call: Call) -> str:
        """Return what the ``match`` of a rule is looked for in: path, body, and the words of the job."""
        job = self.jobs.find(call.job) if call.job else None
        return f"{call.path} {call.body.decode(errors='replace')} {job.words if job else ''}"

    def _route(self, call: Call) -> tuple[Callable[..., Answer], tuple[str, ...]]:
        path = call.path.partition("?")[0].rstrip("/").removeprefix("/api")
        for method, pattern, kind, action in _ROUTES:
            match = re.fullmatch(pattern, path)
            if match and method == call.method:
                call.kind = kind
                call.job = match.groupdict().get("job") or ""
                call.dataset = match.groupdict().get("dataset") or ""
                return getattr(self, action), match.groups()
        raise Problem(404, "Not Found", "Climate Data Store API endpoint not found")

    def _check_key(self, call: Call) -> None:
        if not call.key:
            raise answers.no_key()
        if call.key != self.options.key:
            raise answers.wrong_key()

    def _check_rate(self) -> None:
        if self.options.rate is None:
            return
        most, seconds = self.options.rate
        with self._lock:
            now = time.monotonic()
            while self._recent and self._recent[0] <= now - seconds:
                self._recent.popleft()
            if len(self._recent) >= most:
                raise answers.too_often(int(self._recent[0] + seconds - now) + 1)
            self._recent.append(now)

    # --- catalogue and profile ---------------------------------------------------------------------------------------
    def messages(self, call: Call) -> Answer:
        """No news."""
        return plain({"messages": []})

    def collections(self, call: Call) -> Answer:
        """All data sets."""
        return plain(
            {"collections": [answers.collection(name, call.api, self.latest) for name in DATASETS], "links": []}
        )

    def collection(self, call: Call, dataset: str) -> Answer:
        """One data set."""
        return plain(answers.collection(_known(dataset), call.api, self.latest))

    def form(self, call: Call, dataset: str) -> Answer:
        """The form, and what combinations there are: everything with everything."""
        return plain([_values(_known(dataset))])

    def licences(self, call: Call) -> Answer:
        """All licences."""
        return plain({"licences": [answers.LICENCE]})

    def verify(self, call: Call) -> Answer:
        """Whose key it is."""
        return plain({"id": 1, "sub": "00000000-0000-0000-0000-000000000001", "role": None})

    def accepted_licences(self, call: Call) -> Answer:
        """The licences that are accepted."""
        return plain({"licences": [answers.LICENCE] if self._accepted else []})

    def accept(self, call: Call, licence: str) -> Answer:
        """Accept a licence."""
        if licence != answers.LICENCE["id"]:
            raise Problem(404, "licence not found", f"licence {licence} not found")
        write_text(self._licences, json.dumps([licence]))
        return plain(answers.LICENCE)

    @property
    def _accepted(self) -> bool:
        return self.options.accepted or self._licences.is_file()

    # --- requests ----------------------------------------------------------------------------------------------------
    def processes(self, call: Call) -> Answer:
        """All data sets, as processes."""
        return plain({"processes": [answers.process(name, call.base) for name in DATASETS], "links": []})

    def process(self, call: Call, dataset: str) -> Answer:
        """One data set, as a process."""
        return plain(answers.process(_known(dataset), call.base))

    def constraints(self, call: Call, dataset: str) -> Answer:
        """Which values are possible."""
        self._inputs(call)
        return plain(_values(_known(dataset)))

    def costing(self, call: Call, dataset: str) -> Answer:
        """How large a request is, and how large it may be."""
        inputs = self._inputs(call)
        try:
            asked: Selection | None = select(_known(dataset), inputs, self.latest)
        except Invalid:
            asked = None
        return plain(answers.cost(asked, self.options.limit))

    def submit(self, call: Call, dataset: str) -> Answer:
        """Take a request, or say why not."""
        inputs = self._inputs(call)
        _known(dataset)
        if not self._accepted:
            raise answers.no_licence(call.root, dataset)
        try:
            asked = select(dataset, inputs, self.latest)
        except Invalid as problem:
            raise answers.invalid(str(problem)) from None
        if asked.fields > self.options.limit:
            raise answers.too_large()
        job = self._new_job(dataset, inputs)
        call.job = job.id
        return answers.accepted(job, call.base, call.url)

    def _inputs(self, call: Call) -> dict[str, Any]:
        try:
            inputs = json.loads(call.body)["inputs"]
        except (ValueError, KeyError, TypeError):
            inputs = None
        if not isinstance(inputs, dict):
            raise answers.malformed()
        return inputs

    def _new_job(self, dataset: str, inputs: dict[str, Any]) -> Job:
        with self.jobs.locked():
            self.jobs.advance()
            text = f"{dataset} {json.dumps(inputs, sort_keys=True)}"
            ends, spoil = (self.faults.strike(way, "submit", text) for way in ("job", "file"))
            crowded = sum(job.status == WAITING and not job.deleted for job in self.jobs) >= self.options.queued
            more: dict[str, Any] = {"ends": ends, "spoil": spoil, "latest": str(self.latest)}
            if crowded or ends == "rejected":
                more |= {"status": REJECTED, "reason": CROWDED}
            return self.jobs.add(dataset, inputs, final_until=str(self.options.final_until or ""), **more)

    # --- jobs --------------------------------------------------------------------------------------------------------
    def job_list(self, call: Call) -> Answer:
        """A page of the user's jobs."""
        self.jobs.advance()
        known = [job for job in self.jobs if self.jobs.find(job.id)]
        try:
            shown, links = answers.job_page(known, call.query)
        except ValueError:
            raise answers.malformed("query: not understood") from None
        with_request = call.query.get("request", [""])[0].lower() == "true"
        told = [answers.listed(job, call.base, self._result(job, call), with_request) for job in shown]
        kept = "".join(f"{k}={v}&" for k in ("limit", "sortby", "status") for v in call.query.get(k, []))
        pages = [{"href": f"{call.base}/jobs?{kept}{query}", "rel": rel} for rel, query in links]
        here = {"href": call.url, "rel": "self", "title": "list of submitted jobs"}
        return plain({"jobs": told, "links": [here, *pages], "metadata": {"totalCount": len(known)}})

    def _result(self, job: Job, call: Call) -> dict[str, Any] | None:
        if job.status in (FAILED, REJECTED):
            return answers.failure(job).content
        return self._asset(job, call.root) if job.status == DONE and self.path(job).is_file() else None

    def status(self, call: Call, job_id: str) -> Answer:
        """Where a job stands."""
        return plain(answers.described(self._settled(job_id), call.base, call.query))

    def results(self, call: Call, job_id: str) -> Answer:
        """Where the file of a job is, or why there is none."""
        job = self._settled(job_id)
        if job.status in (FAILED, REJECTED):
            raise answers.failure(job)
        if job.status != DONE:
            raise answers.not_ready(job)
        return plain(self._asset(job, call.root))

    def _settled(self, job_id: str) -> Job:
        """Return a job as it stands now; the file of one that has ended is made."""
        self.jobs.advance()
        job = self.jobs.find(job_id)
        if job is None:
            raise answers.no_job(job_id)
        if job.status == DONE:
            error = WORKSHOP.make(self._order(job), self.path(job))
            if error:
                self.jobs.fail(job, NO_DATA if error.startswith("NoData") else error)
        return job

    def delete(self, call: Call, job_id: str) -> Answer:
        """Dismiss a job."""
        return plain(self._dismissed(job_id, call))

    def delete_many(self, call: Call) -> Answer:
        """Dismiss some jobs."""
        try:
            found = [str(job_id) for job_id in json.loads(call.body)["job_ids"]]
        except (ValueError, KeyError, TypeError):
            raise answers.malformed("body.job_ids: Field required") from None
        return plain({"jobs": [self._dismissed(job_id, call) for job_id in found]})

    def _dismissed(self, job_id: str, call: Call) -> dict[str, Any]:
        job = self.jobs.find(job_id)
        if job is None:
            raise answers.no_job(job_id)
        self.jobs.delete(job)
        return {**answers.job_info(job), "status": "dismissed"}

    # --- files -------------------------------------------------------------------------------------------------------
    def _order(self, job: Job) -> Order:
        until = date.fromisoformat(job.final_until) if job.final_until else None
        spoil = job.spoil if job.spoil in SPOILS or job.spoil == "zip" else ""
        latest, options = date.fromisoformat(job.latest), self.options
        return Order(job.dataset, job.inputs, latest, until, options.native, options.weather, spoil)

    def path(self, job: Job) -> Path:
        """Return where the file of a job lies."""
        return self.folder / "files" / self._order(job).name

    def content(self, job: Job) -> bytes:
        """Return the bytes that are delivered, with the damage that the job's fault does to them."""
        data = self.path(job).read_bytes()
        if job.spoil == "empty":
            return b""
        if job.spoil == "html_file":
            return answers.page(503).body
        if job.spoil == "cut":
            return data[: len(data) * 6 // 10]
        return flipped(data) if job.spoil == "corrupt" else data

    def _asset(self, job: Job, root: str) -> dict[str, Any]:
        data, name = self.content(job), self.path(job).name
        # What the service promises by its own name may be an archive all the same.
        name = name.replace(".zip", ".nc") if job.spoil == "zip" else name
        size = len(data) + (7 if job.spoil == "wrong_size" else 0)
        checksum = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return answers.asset(f"{root}/cache/{job.id}/{name}", size, checksum)


def flipped(data: bytes) -> bytes:
    """Return ``data`` with every 97th byte of its second half inverted."""
    damaged = bytearray(data)
    for place in range(len(data) // 2, len(data), 97):
        damaged[place] ^= 0xFF
    return bytes(damaged)


def _known(dataset: str) -> str:
    if dataset not in DATASETS:
        raise answers.no_dataset(dataset)
    return dataset


def _values(dataset: str) -> dict[str, list[str]]:
    return answers.values(dataset, {name: RAW[name].cds for name in VARIABLES})


_DATASET, _JOB = r"(?P<dataset>[\w-]+)", r"(?P<job>[\w-]+)"
_ROUTES = (
    ("GET", "/catalogue/v1/messages", "catalogue", "messages"),
    ("GET", "/catalogue/v1/datasets", "catalogue", "collections"),
    ("GET", f"/catalogue/v1/collections/{_DATASET}", "catalogue", "collection"),
    ("GET", f"/catalogue/v1/collections/{_DATASET}/(?:form|constraints)\\.json", "catalogue", "form"),
    ("GET", "/catalogue/v1/vocabularies/licences", "catalogue", "licences"),
    ("POST", "/profiles/v1/account/verification/pat", "profile", "verify"),
    ("GET", "/profiles/v1/account/licences", "profile", "accepted_licences"),
    ("PUT", r"/profiles/v1/account/licences/([\w-]+)", "profile", "accept"),
    ("GET", "/retrieve/v1/processes", "process", "processes"),
    ("GET", f"/retrieve/v1/processes/{_DATASET}", "process", "process"),
    ("POST", f"/retrieve/v1/processes/{_DATASET}/constraints", "constraints", "constraints"),
    ("POST", f"/retrieve/v1/processes/{_DATASET}/costing", "costing", "costing"),
    ("POST", f"/retrieve/v1/processes/{_DATASET}/(?:execution|execute)", "submit", "submit"),
    ("GET", "/retrieve/v1/jobs", "jobs", "job_list"),
    ("POST", "/retrieve/v1/jobs/delete", "delete", "delete_many"),
    ("GET", f"/retrieve/v1/jobs/{_JOB}", "status", "status"),
    ("GET", f"/retrieve/v1/jobs/{_JOB}/results", "results", "results"),
    ("DELETE", f"/retrieve/v1/jobs/{_JOB}", "delete", "delete"),
)
