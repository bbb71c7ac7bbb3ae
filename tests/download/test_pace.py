"""Waiting: grows, is scattered, heeds the server; fewer at a time when it is crowded; outages are borne so long."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest

from pipeline.download.outcome import Stopped
from pipeline.download.pace import Board, Outage, Pace, Slots


def test_pauses_double_with_jitter_up_to_ten_polls_and_heed_the_server() -> None:
    pace = Pace(60.0)
    for tries, longest in ((1, 5), (2, 10), (5, 80), (8, 600), (50, 600)):
        drawn = [pace.after(tries) for _ in range(200)]
        assert longest / 2 <= min(drawn) < max(drawn) <= longest
    assert pace.after(1, 120.0) == 120


def test_questions_begin_at_a_second_and_end_at_the_poll() -> None:
    pace = Pace(60.0)
    assert 0.9 <= pace.between_questions(0) <= 1.1
    assert 54 <= pace.between_questions(100) <= 66
    assert pace.between_questions(1) > 1.3


def test_a_crowded_data_centre_gets_fewer_requests_and_more_when_they_pass() -> None:
    stop = threading.Event()
    slots = Slots(4, stop)
    with ExitStack() as held:
        for _ in range(3):
            held.enter_context(slots.one())
        # The fourth was refused and has given its slot back.
        assert slots.crowded()
        assert slots.allowed == 3
    assert slots.crowded()
    assert slots.allowed == 1
    assert not slots.crowded(), "one at a time is the least"
    with slots.one():
        stop.set()
        with pytest.raises(Stopped), slots.one():
            raise AssertionError("two where one is allowed")
    for _ in range(9):
        slots.passed()
    assert slots.allowed == 4


def test_an_outage_is_borne_only_after_the_service_has_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("pipeline.download.pace.time.monotonic", lambda: now[0])
    outage = Outage(hours=1.0)
    assert not outage.bearable()
    outage.over()
    assert outage.bearable()
    now[0] += 3599
    assert outage.bearable()
    now[0] += 2
    assert not outage.bearable()
    outage.over()
    assert outage.bearable()


def test_the_line_tells_counts_and_the_longest_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("pipeline.download.pace.time.monotonic", lambda: now[0])
    board = Board()
    assert board.line() == ""
    board.note("a", "queued")
    now[0] = 600
    board.note("b", "queued")
    board.note("c", "downloading")
    now[0] = 4800
    board.note("a", "queued")
    assert board.line() == "(2 queued, 1 downloading; the oldest waits 1 h 20 min)"
    board.note("a", "running")
    assert board.line() == "(1 queued, 1 running, 1 downloading; the oldest waits 1 h 10 min)"
    for name in "abc":
        board.leave(name)
    assert board.line() == ""
