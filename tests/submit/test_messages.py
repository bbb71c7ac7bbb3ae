"""What a person's phone is told of jobs on a real Slurm, and that dead servers change nothing."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.submit.ticket import Ticket
from tests.conftest import ROOT
from tests.notify.service import Service, serving
from tests.submit.interruptions import Bench, running, slurm, wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("cluster")]


@pytest.fixture
def services(bench: Bench) -> Iterator[tuple[Service, Service]]:
    """Serve what ntfy and notify.run speak, and have the bench's user subscribed to both."""
    with serving() as ntfy, serving() as notify_run:
        subscribe(bench, ntfy.url, notify_run.url)
        yield ntfy, notify_run


def subscribe(bench: Bench, ntfy: str, notify_run: str) -> None:
    config = bench.home / ".config"
    config.mkdir()
    (config / "notify-run").write_text(json.dumps({"endpoint": f"{notify_run}/channel"}))
    bench.variables |= {
        "XDG_CONFIG_HOME": str(config),
        "NTFY_SERVER": ntfy,
        "NTFY_TOPIC": "isobar",
        "NTFY_LABEL": "hpc",
    }


def told(service: Service, name: str) -> list[str]:
    """Return the words of the titles of one job's messages, in order of arrival."""
    return [one["title"].split()[1] for one in service.got if name in one["body"].split("\n\n")[0]]


def test_every_case_is_told_by_both_services(bench: Bench, services: tuple[Service, Service]) -> None:
    train, flags = ["train", str(bench.config)], ["--", "--notify"]
    (good,) = bench.submit(*train, "train.epochs=150", *flags)
    running(good.tasks[0], 1)
    slurm("scontrol", "requeue", good.tasks[0].slurm_id)
    (bad,) = bench.submit(*train, "train.model.pretrained=nowhere.pt", *flags)
    failing = "train.seed=8 train.model.pretrained=nowhere.pt"
    (array,) = bench.submit(*train, "train.epochs=1", "--array", "train.seed=6..7", failing, *flags)
    assert bench.wait(good.id) == "done"
    assert bench.wait(bad.id) == "failed"
    assert [bench.wait(f"{array.id}.{number}") for number in range(3)] == ["done", "done", "failed"]
    for service in services:
        service.wait_for(9, seconds=120)
        assert sorted(told(service, good.id)) == sorted(["started", "interrupted", "requeued", "done"])
        assert told(service, good.id)[-1] == "done"
        assert sorted(told(service, bad.id)) == ["FAILED", "started"]
        assert sorted(told(service, array.id)) == sorted(["started", "FAILED", "array"])
        _says_what_counts(service, good, array)
    assert not list(bench.home.glob("results/.outbox/[0-9]*.json")), "nothing is left unsent"


def _says_what_counts(service: Service, good: Ticket, array: Ticket) -> None:
    done = next(one["body"] for one in service.got if good.id in one["body"] and " done" in one["title"])
    assert f"Slurm job {good.tasks[0].slurm_id}" in done
    assert " s · exit 0" in done or " min" in done, "how long it took"
    assert "val_map 0." in done.split("\n\n")[0], "how good it is"
    assert "epoch 150/150" in done, "the last lines of the log"
    digest = next(one["body"] for one in service.got if "array done" in one["title"])
    assert "2 done, 1 failed of 3" in digest
    assert f"array {array.id}" in digest
    assert digest.count("val_map 0.") == 2
    assert "failed: 2" in digest


@contextmanager
def refusing() -> Iterator[int]:
    """Hold a port that refuses connections: nobody else is given it, but who asks for it may listen there."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture
def closed() -> Iterator[tuple[int, int]]:
    """Hold the ports of two servers that are down."""
    with refusing() as one, refusing() as other:
        yield one, other


def test_dead_servers_neither_delay_nor_fail_a_job_and_messages_are_sent_later(
    bench: Bench, closed: tuple[int, int]
) -> None:
    ntfy, notify_run = closed
    subscribe(bench, f"http://127.0.0.1:{ntfy}", f"http://127.0.0.1:{notify_run}")
    (ticket,) = bench.submit("train", str(bench.config), "train.epochs=1", "--", "--notify")
    assert bench.wait(ticket.id) == "done"
    (only,) = ticket.tasks[0].attempts()
    assert only["exit_code"] == 0
    log = Path(str(only["log"])).read_text()
    assert "kept in" in log
    kept = list(bench.home.glob("results/.outbox/[0-9]*.json"))
    assert len(kept) == 4, "start and end for each service"
    with serving(port=ntfy) as again:
        bench.variables["NOTIFY_RUN_ENDPOINT"] = f"{again.url}/channel"
        command = [sys.executable, "-P", "-m", "pipeline.notify", "--flush"]
        done = subprocess.run(command, capture_output=True, text=True, env=bench.variables, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        assert [one["title"].split()[1] for one in again.got] == ["done", "done"]


def test_notify_run_around_a_job_of_a_plain_template(bench: Bench, services: tuple[Service, Service]) -> None:
    """The form of the guide, as a batch script: ``notify-run LABEL -- python jobs/train.py …``."""
    inner = f"{sys.executable} {ROOT}/jobs/train.py {bench.config} train.epochs=1"
    wrap = f"exec {sys.executable} -P -m pipeline.notify via-hpc -- {inner}"
    options = ["--parsable", "--mem=500M", f"--output={bench.home}/job.log", f"--wrap={wrap}"]
    done = subprocess.run(["sbatch", *options], capture_output=True, text=True, cwd=ROOT, env=bench.variables)
    assert done.returncode == 0, done.stderr
    number = done.stdout.strip()
    for service in services:
        service.wait_for(2, seconds=300)
        assert [title.partition(" ·")[0] for title in service.titles()] == ["via-hpc: started", "via-hpc: done"]
        assert f"Slurm job {number}" in service.got[1]["body"]
    wait_until(lambda: not slurm("squeue", "-h", "-j", number, "-t", "R,CG").strip(), 120)
    time.sleep(0.5)
    assert {service.requests for service in services} == {2}
