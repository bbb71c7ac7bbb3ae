"""A server that is dead, slow or broken costs the command nothing; what it missed is sent later."""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.notify.conftest import Desk, until, waiting_for
from tests.notify.service import PATIENCE, Service

PYTHON = sys.executable


@contextmanager
def dead() -> Iterator[str]:
    """Refuse connections: the port is taken, so that no other program gets it, but nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@contextmanager
def black_hole() -> Iterator[str]:
    """Accept connections and never answer."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def dripping() -> Iterator[str]:
    """Answer a byte a second, so that no single read runs into its time-out."""
    end = threading.Event()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)

        def drip(one: socket.socket) -> None:
            with one:
                while not end.wait(0.3):
                    try:
                        one.sendall(b"H")
                    except OSError:
                        return

        def accept() -> None:
            while not end.is_set():
                try:
                    threading.Thread(target=drip, args=[listening.accept()[0]], daemon=True).start()
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        end.set()
        listening.shutdown(socket.SHUT_RDWR)


def kept(desk: Desk) -> list[tuple[str, str]]:
    values = [json.loads(path.read_text()) for path in desk.kept()]
    return [(value["target"], value["message"]["event"]) for value in values]


def test_a_dead_server(desk: Desk) -> None:
    desk.hear_out_the_dead()
    with dead() as url:
        desk.environment |= {"NTFY_SERVER": url, "NTFY_TOPIC": "runs"}
        began = time.monotonic()
        code, text = desk.run("--", "sh", "-c", "exit 3")
    assert code == 3
    assert time.monotonic() - began < PATIENCE, "a time-out was waited for"
    assert text.count("\n") == 2
    assert "Connection refused; kept in" in text
    assert kept(desk) == [("ntfy", "start"), ("ntfy", "failed")]


@pytest.mark.parametrize("kind", [black_hole, dripping])
def test_a_server_that_does_not_answer_is_waited_for_briefly(desk: Desk, kind: object) -> None:
    with kind() as url:  # type: ignore[operator]
        desk.environment |= {"NTFY_SERVER": url, "NTFY_TOPIC": "runs", "NTFY_WAIT": "2"}
        end = desk.home / "end"
        began = time.monotonic()
        code, _ = desk.run("--", PYTHON, "-c", f"import time; open({str(end)!r}, 'w').write(str(time.monotonic()))")
    assert code == 0
    assert float(end.read_text()) - began < PATIENCE, "the command was held up"
    assert time.monotonic() - began < PATIENCE, "the wrapper stayed longer than NTFY_WAIT allows"


@pytest.mark.parametrize("kind", [black_hole, dripping])
def test_what_a_server_does_not_answer_is_kept(desk: Desk, kind: object) -> None:
    with kind() as url:  # type: ignore[operator]
        desk.environment |= {"NTFY_SERVER": url, "NTFY_TOPIC": "runs"}
        process = desk.start("--", "true")
        until(lambda: len(desk.kept()) == 2)
    assert process.wait(PATIENCE) == 0  # the connections broke with the server
    assert kept(desk) == [("ntfy", "start"), ("ntfy", "done")]


def test_an_attempt_ends_with_its_time_out(desk: Desk) -> None:
    desk.hear_out_the_dead()
    with black_hole() as url:
        desk.environment |= {"NTFY_SERVER": url, "NTFY_TOPIC": "runs", "NTFY_TIMEOUT": "1"}
        code, text = desk.run("--", "true")
    assert code == 0
    assert text.count("no answer within 1 s; kept in") == 2
    assert kept(desk) == [("ntfy", "start"), ("ntfy", "done")]


def test_a_host_name_that_is_not_known(desk: Desk) -> None:
    desk.environment |= {"NTFY_SERVER": "http://no-such-host.invalid", "NTFY_TOPIC": "runs", "NTFY_WAIT": "20"}
    began = time.monotonic()
    assert desk.run("--", "true")[0] == 0
    assert time.monotonic() - began < PATIENCE  # looking up a name knows no time-out; only NTFY_WAIT ends it
    assert len(desk.kept()) == 2


@pytest.mark.parametrize(
    ("status", "says"),
    [(500, "answer 500"), (401, "wrong or missing token"), (429, "too many messages"), (302, "answer 302")],
)
def test_a_server_that_refuses(desk: Desk, ntfy: Service, status: int, says: str) -> None:
    desk.hear_out_the_dead()
    ntfy.status = status
    code, text = desk.run("--", "sh", "-c", "exit 75")
    assert code == 75
    assert says in text
    assert "isobar_runs" not in text
    assert len(desk.kept()) == 2


def test_it_is_tried_again_while_the_command_runs(desk: Desk, ntfy: Service) -> None:
    ntfy.status = 503
    flag = desk.home / "flag"
    process = desk.start("--", PYTHON, "-c", waiting_for(flag))
    until(lambda: ntfy.requests > 0)
    ntfy.status = 200
    ntfy.wait_for(1)
    until(lambda: not desk.kept())
    flag.touch()
    assert process.wait(PATIENCE) == 0
    assert [title.split(" · ")[0] for title in ntfy.titles()] == ["tml2: started", "tml2: done"]
    assert desk.kept() == []


def test_one_dead_target_does_not_keep_the_other_waiting(desk: Desk, ntfy: Service) -> None:
    with black_hole() as url:
        desk.environment["NOTIFY_RUN_ENDPOINT"] = f"{url}/channel"
        process = desk.start("--", "true")
        ntfy.wait_for(2)
    assert process.wait(PATIENCE) == 0
    assert len(ntfy.got) == 2
    assert kept(desk) == [("notify.run", "start"), ("notify.run", "done")]


def test_a_later_message_that_arrives_replaces_an_earlier_one_that_did_not(desk: Desk, ntfy: Service) -> None:
    desk.hear_out_the_dead()
    ntfy.status = 500
    flag = desk.home / "flag"
    process = desk.start("--", PYTHON, "-c", waiting_for(flag))
    until(lambda: ntfy.requests > 0)
    ntfy.status = 200
    flag.touch()
    assert process.wait(PATIENCE) == 0
    assert ntfy.titles()[-1].startswith("tml2: done")
    assert desk.kept() == []


def test_no_internet_here_and_flush_elsewhere(desk: Desk, ntfy: Service) -> None:
    """A compute node keeps, the login node sends: of each job the last message, oldest first, with its time."""
    desk.environment["NTFY_SPOOL"] = "1"
    for name, code in (("first", 0), ("second", 1)):
        assert desk.run(name, "--", "sh", "-c", f"exit {code}") == (code, "")
    assert (ntfy.requests, len(desk.kept())) == (0, 4)
    assert "isobar_runs" not in "".join(path.read_text() for path in desk.kept())
    del desk.environment["NTFY_SPOOL"]
    assert desk.run("--flush") == (0, f"2 sent, 0 left in {desk.outbox}\n")
    assert [title.split(" · ")[0] for title in ntfy.titles()] == ["first: done", "second: FAILED"]
    assert ntfy.got[0]["body"].startswith("(of 2")
    assert re.search(r", sent late\)\ntml2 · \d+ s · exit 0", ntfy.got[0]["body"])
    assert desk.run("--flush") == (0, f"0 sent, 0 left in {desk.outbox}\n")


def test_flush_through_a_dead_server_leaves_everything(desk: Desk, ntfy: Service) -> None:
    for _ in range(2):
        desk.run("--spool", "--", "true")
    ntfy.status = 500
    code, text = desk.run("--flush")
    assert code == 1
    assert text.endswith(f"0 sent, 2 left in {desk.outbox}\n")  # the two that later ones replaced are gone
    assert ntfy.requests == 1, "a dead server was asked again"
    ntfy.status = 200
    assert desk.run("--flush")[0] == 0
    assert len(ntfy.got) == 2


def test_flush_leaves_what_is_for_somebody_else(desk: Desk, ntfy: Service) -> None:
    desk.run("--spool", "--url", "json://127.0.0.1:1/", "--", "true")
    code, text = desk.run("--flush")
    assert (code, len(ntfy.got)) == (1, 1)
    assert "1 left" in text
    assert "apprise-1: not configured here" in text


def test_two_flushes_at_once_send_everything_once(desk: Desk, ntfy: Service) -> None:
    for number in range(6):
        desk.run(f"n{number}", "--spool", "--", "true")
    ntfy.delay = 0.1
    both = [desk.start("--flush") for _ in range(2)]
    assert [process.wait(PATIENCE) for process in both].count(0) >= 1
    assert sorted(title.split(":")[0] for title in ntfy.titles()) == [f"n{number}" for number in range(6)]
    assert desk.kept() == []


def test_a_broken_file_in_the_outbox_is_named_and_left(desk: Desk, ntfy: Service) -> None:
    desk.run("--spool", "--", "true")
    (desk.outbox / "0.json").write_text("{")
    code, text = desk.run("--flush")
    assert (code, len(ntfy.got)) == (1, 1)
    assert f"{desk.outbox}/0.json: not a kept message" in text


def test_an_outbox_that_cannot_be_written(desk: Desk, ntfy: Service) -> None:
    (desk.home / "results").write_text("a file in the way")
    code, text = desk.run("--", "sh", "-c", "exit 3")
    assert code == 3
    assert len(ntfy.got) == 2
    assert "cannot make this folder" in text


def test_a_test_message(desk: Desk, ntfy: Service) -> None:
    with dead() as url:
        desk.environment["NOTIFY_RUN_ENDPOINT"] = f"{url}/secret_channel"
        code, text = desk.run("--test")
    assert code == 1
    assert text.splitlines() == ["ntfy: sent", "notify.run: http://127.0.0.1: Connection refused"]
    assert ntfy.titles() == ["tml2: a test · 試験 · é"]


def test_an_apprise_url_that_cannot_be(desk: Desk) -> None:
    desk.environment["APPRISE_URLS"] = "nonsense://user:hidden_password@host"
    code, text = desk.run("--test")
    assert (code, "hidden_password" in text) == (1, False)
    assert "not a URL that Apprise knows" in text


AT_THE_START = """
import os, sys
start = os.posix_spawnp

def tell(*arguments, **more):
    print("loaded:", *{"http.client", "urllib.request", "ssl", "numpy"} & set(sys.modules), flush=True)
    return start(*arguments, **more)

os.posix_spawnp = tell
"""


@pytest.mark.slow
def test_how_long_the_command_waits_for_its_start(desk: Desk, ntfy: Service) -> None:
    """Before the command begins: the interpreter and a few modules, no client of HTTP and no message."""
    ntfy.delay = 120.0
    desk.environment["NTFY_WAIT"] = "1"
    desk.prelude = AT_THE_START
    before = _uptime(Path("/proc/uptime").read_text())
    _, text = desk.run("--", "cat", "/proc/uptime")
    loaded, at_the_command = text.splitlines()[:2]
    assert loaded == "loaded:"
    assert _uptime(at_the_command) - before < PATIENCE, "the message was waited for"


def _uptime(text: str) -> float:
    return float(text.split()[0])
