"""The answers of the made-up Climate Data Store: status codes, headers and bodies as the real service writes them."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from pipeline.synthetic.cds_jobs import CROWDED, DONE, FAILED, REJECTED, Job, stamp
from pipeline.synthetic.cds_request import DATASETS, FIRST, LEVELS, ON_LEVELS, Selection
from pipeline.synthetic.files import GROUPS, VARIABLES

LICENCE = {"id": "licence-to-use-copernicus-products", "revision": 12, "label": "Licence to use Copernicus Products"}
OGC = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0"
HTML = b"<html>\r\n<head><title>%s</title></head>\r\n<body>\r\n<center><h1>%s</h1></center>\r\n</body>\r\n</html>\r\n"
GATEWAY = {502: "Bad Gateway", 503: "Service Temporarily Unavailable", 504: "Gateway Time-out"}


@dataclass(frozen=True)
class Answer:
    """Status code, body, and headers beyond the length."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


class Problem(Exception):
    """The service refuses; it becomes an answer with an OGC exception as its body."""

    def __init__(self, status: int, title: str, detail: str = "", kind: str = "", **more: Any) -> None:
        self.status, self.headers = status, more.pop("headers", {})
        self.content = {"type": kind or title, "title": title, "status": status, "detail": detail, **more}
        super().__init__(title)

    def answer(self, url: str) -> Answer:
        """Return the body for a request to ``url``."""
        told = {key: value for key, value in self.content.items() if value}
        return plain({**told, "instance": url, "trace_id": str(uuid.uuid4())}, self.status, self.headers)


def plain(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Return a JSON answer."""
    return Answer(status, json.dumps(content).encode(), {"Content-Type": "application/json", **(headers or {})})


def page(status: int) -> Answer:
    """Return an HTML page, as gateways do."""
    text = f"{status} {GATEWAY.get(status, 'OK')}".encode()
    return Answer(status, HTML % (text, text), {"Content-Type": "text/html"})


# --- refusals --------------------------------------------------------------------------------------------------------
def no_key() -> Problem:
    """The header PRIVATE-TOKEN is absent."""
    return Problem(401, "permission denied", "authentication required")


def wrong_key() -> Problem:
    """The key is not known."""
    return Problem(401, "Authentication failed", "operation not allowed", "permission denied")


def no_licence(root: str, dataset: str) -> Problem:
    """The licence of a data set is not accepted; the page to visit is on the same host."""
    where = f"{root}/datasets/{dataset}?tab=download#manage-licences"
    return Problem(
        403,
        "required licences not accepted",
        f"Not all the required licences have been accepted; please visit {where} to accept the required licence(s).",
        "permission denied",
    )


def too_large() -> Problem:
    """The request has more fields than the limit."""
    detail = "Your request is too large, please reduce your selection."
    return Problem(403, "cost limits exceeded", detail, "permission denied")


def too_often(seconds: int) -> Problem:
    """More requests in a time than allowed."""
    detail = f"Rate limit exceeded. Please wait {seconds} seconds."
    return Problem(429, "rate limit exceeded", detail, headers={"Retry-After": str(seconds)})


def no_dataset(dataset: str) -> Problem:
    """There is no such data set."""
    return Problem(404, "process not found", f"dataset {dataset} not found", f"{OGC}/no-such-process")


def no_job(job_id: str) -> Problem:
    """There is no such job."""
    return Problem(404, "job not found", f"job {job_id} not found", f"{OGC}/no-such-job")


def invalid(detail: str) -> Problem:
    """The request selects nothing that exists."""
    return Problem(400, "invalid request", detail)


def malformed(what: str = "body.inputs: Field required") -> Problem:
    """The body or the query is not understood."""
    return Problem(422, "invalid parameter", what)


def refusal(fault: str, url: str, root: str, dataset: str) -> Answer:
    """Return the answer of a fault that refuses."""
    if fault.startswith("http_50") and fault != "http_500":
        return page(int(fault[-3:]))
    if fault == "html_answer":
        return page(200)
    internal = Problem(500, "internal server error")
    known = {
        "http_429": too_often(1),
        "bad_key": wrong_key(),
        "licence": no_licence(root, dataset),
        "cost": too_large(),
        "malformed": malformed(),
        "invalid": invalid("Request has not produced a valid combination of values, please check your selection.\n{}"),
        "expired": Problem(404, "results expired", "the results of the job have expired"),
        "gone": Problem(404, "NoSuchKey", "The specified key does not exist."),
    }
    return known.get(fault, internal).answer(url)


# --- jobs ------------------------------------------------------------------------------------------------------------
def job_info(job: Job) -> dict[str, Any]:
    """Return what all descriptions of a job share."""
    moments = {"created": job.created, "started": job.started, "finished": job.finished, "updated": job.updated}
    return {
        "processID": job.dataset,
        "type": "process",
        "jobID": job.id,
        "status": job.status,
        **{name: stamp(moment) for name, moment in moments.items() if moment is not None},
        "links": [],
        "metadata": {"origin": "api"},
    }


def described(job: Job, base: str, query: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return the status of one job; with ``log`` and ``request`` in the query, these too."""
    told = job_info(job)
    here = f"{base}/jobs/{job.id}"
    told["links"] = [{"href": here, "rel": "self", "type": "application/json"}]
    if job.status in (DONE, FAILED, REJECTED):
        told["links"].append({"href": f"{here}/results", "rel": "results"})
    if _true(query, "request"):
        told["metadata"]["request"] = {"ids": job.inputs, "labels": job.inputs}
    if _true(query, "log"):
        told["metadata"]["log"] = _log(job, query.get("logStartTime", [""])[0])
    return told


def accepted(job: Job, base: str, url: str) -> Answer:
    """Return the answer to a new job."""
    told = job_info(job)
    told["links"] = [
        {"href": url, "rel": "self"},
        {"href": f"{base}/jobs/{job.id}", "rel": "monitor", "type": "application/json", "title": "job status info"},
    ]
    return plain(told, 201, {"Location": f"{base}/jobs/{job.id}"})


def listed(job: Job, base: str, result: dict[str, Any] | None, with_request: bool) -> dict[str, Any]:
    """Return a job as lists show it, with its result where there is one."""
    told = job_info(job)
    here = f"{base}/jobs/{job.id}"
    told["links"] = [{"href": here, "rel": "monitor", "type": "application/json", "title": "job status info"}]
    if job.status in (DONE, FAILED, REJECTED):
        told["links"].append({"href": f"{here}/results", "rel": "results"})
    told["metadata"] |= {"datasetMetadata": {"title": DATASETS[job.dataset]}, "qos": {"status": {}}}
    if result is not None:
        told["metadata"]["results"] = result
    if with_request:
        told["metadata"]["request"] = {"ids": job.inputs, "labels": job.inputs}
    return told


def job_page(jobs: list[Job], query: Mapping[str, Sequence[str]]) -> tuple[list[Job], list[tuple[str, str]]]:
    """Return the jobs of one page of a list, and the queries that lead to the next and the previous page."""
    wanted = set(query.get("status", []))
    down = query.get("sortby", ["-created"])[0] != "created"
    limit = int(query.get("limit", ["10"])[0])
    found = sorted((job for job in jobs if not wanted or job.status in wanted), key=lambda job: job.created)
    if down:
        found.reverse()
    first = 0
    if "cursor" in query:
        mark = base64.b64decode(query["cursor"][0]).decode()
        place = next((n for n, job in enumerate(found) if stamp(job.created) == mark), len(found))
        first = max(place - limit, 0) if query.get("back", ["False"])[0] == "True" else place + 1
    shown = found[first : first + limit]
    links = []
    if shown and first + limit < len(found):
        links.append(("next", f"cursor={_cursor(shown[-1])}&back=False"))
    if shown and first > 0:
        links.append(("prev", f"cursor={_cursor(shown[0])}&back=True"))
    return shown, links


def _cursor(job: Job) -> str:
    return base64.b64encode(stamp(job.created).encode()).decode().replace("=", "%3D")


def failure(job: Job) -> Problem:
    """Return why a job that failed or was rejected has no results."""
    title = "The job has been rejected" if job.status == REJECTED else "The job has failed"
    return Problem(400, title, kind="job results failed", traceback=job.reason or CROWDED)


def not_ready(job: Job) -> Problem:
    """The job has not ended yet."""
    return Problem(404, "job results not ready", f"status of {job.id} is '{job.status}'", f"{OGC}/result-not-ready")


def asset(href: str, size: int, checksum: str) -> dict[str, Any]:
    """Return the description of a file that is ready."""
    kinds = {"nc": "application/netcdf", "grib": "application/x-grib", "zip": "application/zip"}
    value = {
        "type": kinds[href.rpartition(".")[2]],
        "href": href,
        "file:checksum": checksum,
        "file:size": size,
        "file:local_path": f"s3://cache/{href.rpartition('/')[2]}",
    }
    return {"asset": {"value": value}}


def _true(query: Mapping[str, Sequence[str]], name: str) -> bool:
    return query.get(name, [""])[0].lower() in ("true", "1")


def _log(job: Job, after: str) -> list[list[str]]:
    lines = [[stamp(job.created), "INFO Your request has been queued"]]
    if job.started is not None:
        lines.append([stamp(job.started), "INFO Your request is being processed"])
    return [line for line in lines if line[0] > after]


# --- what there is ---------------------------------------------------------------------------------------------------
def cost(selection: Selection | None, limit: float) -> dict[str, Any]:
    """Return the size of a request (its number of fields) and the limit."""
    fields = float(selection.fields) if selection else 0.0
    told = {"id": "size", "cost": fields, "limit": float(limit), "request_is_valid": selection is not None}
    return {**told, "invalid_reason": None, "cost_bar_steps": None}


def process(dataset: str, base: str) -> dict[str, Any]:
    """Return a data set as something that can be retrieved from."""
    return {
        "title": DATASETS[dataset],
        "description": "Invented weather in the form of ERA5.",
        "id": dataset,
        "version": "1.0.0",
        "jobControlOptions": ["async-execute"],
        "outputTransmission": ["reference"],
        "links": [{"href": f"{base}/processes/{dataset}", "rel": "self", "type": "application/json"}],
        "message": None,
    }


def collection(dataset: str, api: str, latest: date) -> dict[str, Any]:
    """Return a data set as the catalogue shows it; its last day is the latest that can be had."""
    catalogue = f"{api}/catalogue/v1"
    return {
        "type": "Collection",
        "id": dataset,
        "title": DATASETS[dataset],
        "description": "Invented weather in the form of ERA5.",
        "published": "2018-06-14T00:00:00Z",
        "updated": f"{latest}T00:00:00Z",
        "extent": {
            "spatial": {"bbox": [[0.0, -89.0, 360.0, 89.0]]},
            "temporal": {"interval": [[f"{FIRST}T00:00:00Z", f"{latest}T00:00:00Z"]]},
        },
        "links": [
            {"href": f"{catalogue}/collections/{dataset}", "rel": "self", "type": "application/json"},
            {"href": f"{api}/retrieve/v1/processes/{dataset}", "rel": "retrieve", "type": "application/json"},
        ],
    }


def values(dataset: str, names: Mapping[str, str]) -> dict[str, list[str]]:
    """Return every value of every word of a request; ``names``: short name → word."""
    upper = {name for group, levels in GROUPS.values() if levels for name in group}
    shown = [names[name] for name in VARIABLES if (name in upper) == (dataset == ON_LEVELS)]
    levels = {"pressure_level": [str(level) for level in LEVELS]} if dataset == ON_LEVELS else {}
    return {
        "product_type": ["reanalysis"],
        "variable": shown,
        **levels,
        "year": [str(year) for year in range(FIRST.year, 2100)],
        "month": [f"{month:02d}" for month in range(1, 13)],
        "day": [f"{day:02d}" for day in range(1, 32)],
        "time": [f"{hour:02d}:00" for hour in range(24)],
    }
