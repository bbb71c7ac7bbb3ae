"""What is told: texts, secrets, arrays, requeues."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.notify.message import LAST_LINES, body, duration, headline, short_command, title
from pipeline.notify.output import Output, last_lines
from pipeline.notify.redact import Redactor
from pipeline.notify.settings import Settings
from pipeline.notify.story import VANISHED, Ended, Story
from tests.notify.conftest import Desk
from tests.notify.service import Service

PYTHON = sys.executable


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (7980, "2 h 13 min"),
        (86400, "1 d"),
        (183600, "2 d 3 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("nohup python -u jobs/train.py configs/x.yaml train.seed=1", "train.py configs/x.yaml train.seed=1"),
        ("srun -n 4 /opt/python3.11 main_v1.py", "main_v1.py"),
        ("env A=b nohup sleep 3", "sleep 3"),
        ("/usr/bin/make demo", "make demo"),
        ("nohup", "nohup"),
    ],
)
def test_commands_in_titles(command: str, text: str) -> None:
    assert short_command(command.split()) == text


def test_a_title_is_one_short_line() -> None:
    assert title("a\nb", "done", "x\ty") == "a b: done · x y"
    assert title("", "info", "x") == "x"
    assert len(title("気" * 90, "failed", "圧" * 90)) == 120


def test_a_body_is_short_enough_for_ntfy_and_keeps_the_last_lines() -> None:
    lines = [f"{number} " + "気" * 400 for number in range(50)]
    text = body(["facts", "", "圧" * 400], lines)
    assert len(text.encode()) <= 3800
    shown = text.splitlines()
    assert shown[0] == "facts"
    assert shown[-1].startswith("49 気")
    assert all(len(line) <= 300 for line in shown)
    assert len(body(["facts"], [str(number) for number in range(50)]).splitlines()) == 2 + LAST_LINES


def test_headlines() -> None:
    log = [
        "2026-11-21 04:48:49  epoch  60/60  train_loss 0.0266",
        "2026-11-21 04:48:49  wrote results/x/run (epoch 60: val_map 0.774)",
        "2026-11-21 04:48:50  all stages are done; look at results/x/run/figures",
        "2026-11-21 04:48:50  next: python jobs/thresholds.py",
    ]
    assert headline(log, failed=False) == "wrote results/x/run (epoch 60: val_map 0.774)"
    assert headline(log[2:], failed=False) == "all stages are done; look at results/x/run/figures"
    assert (
        headline([*log, "2026-11-21 04:48:51 ERROR x.yaml:3: train.lr: wrong"], failed=True)
        == "x.yaml:3: train.lr: wrong"
    )
    assert headline(["Traceback …", "torch.cuda.OutOfMemoryError: CUDA out of memory"], failed=True).startswith(
        "torch.cuda"
    )
    assert headline(["anything"], failed=False) == ""
    fresh = "2026-11-21 10:10:19  fresh already: reports in results/x (test: mAP 0.367, macro-F1 0.313)"
    assert headline([fresh, *log[2:]], failed=False).startswith("fresh already: reports in results/x (test: mAP 0.367")


def test_last_lines_have_no_colours_and_no_earlier_states_of_bars() -> None:
    assert last_lines(["", " 10%\r 50%\r100%", "\x1b[1mbold\x1b[0m\x07", "end\r"]) == ("100%", "bold", "end")


def test_of_a_long_log_only_the_end_of_this_run_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"earlier\n" + b"first\n" + b"x" * 40_000 + b"\nlast\n")
    assert Output(str(path), 8).last_lines() == ("last",)  # the cut line is left out
    path.write_bytes(b"earlier\nfirst\nlast")
    assert Output(str(path), 8).last_lines() == ("first", "last")
    path.write_bytes(b"new")  # truncated by the command itself
    assert Output(str(path), 8).last_lines() == ()
    assert Output(str(tmp_path / "none"), 0).last_lines() == ()


SECRETS = [
    "tk_abcdefghij0123456789abcdefghi",
    "ghp_abcdefghijABCDEFGHIJ0123456789abcdef",
    "hf_abcdefghijABCDEFGHIJ0123456789",
    "AKIAABCDEFGHIJKLMNOP",
    "glpat-abcdefghij0123456789",
    "sk-abcdefghij0123456789abcdefghij",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_what_looks_like_a_secret_is_hidden(secret: str) -> None:
    assert secret not in Redactor([], {})(f"login with {secret}, then")


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("password=hunter2 x", "password=[hidden] x"),
        ("db_password: 'hunter2'", "db_password: '[hidden]'"),
        ('{"api_key": "abc"}', '{"api_key": "[hidden]"}'),
        ("--token hunter2 --fast", "--token [hidden] --fast"),
        ("Authorization: Bearer abcdefgh", "Authorization: Bearer [hidden]"),
        ("postgres://me:hunter2@db/x", "postgres://[hidden]@db/x"),
        ("key: 12345678-1234-1234-1234-123456789abc", "key: [hidden]"),
    ],
)
def test_secrets_by_their_name(text: str, hidden: str) -> None:
    assert Redactor([], {})(text) == hidden


@pytest.mark.parametrize(
    "text",
    ["tokens 12 000", "train.lr=0.1 seed=3", "https://ntfy.sh/", "key frames: 3", "a secret plan", "val_map 0.774"],
)
def test_what_is_no_secret_is_left(text: str) -> None:
    assert Redactor([], {"NTFY_TOKEN": "unused_here", "TOKENIZERS_PARALLELISM": "false"})(text) == text


@pytest.mark.parametrize("piece", ["x", "token", "\x1b]", "\x1b[", "(1.", "://", "a:", "eyJ", "--", "\r", "key = "])
def test_long_lines_are_looked_through_in_no_time(piece: str) -> None:
    """A search that takes the square of the length would hold up signals and the end of the job.

    Four times the length is compared, not seconds, which differ from machine to machine: 16 times for the square. Long
    lines are cut before secrets are looked for in them, so that two pairs of lengths are needed.
    """
    for length in (250, 16_000):
        short, long = (min(_searching(piece * (n // len(piece))) for _ in range(3)) for n in (length, 4 * length))
        assert long < 8 * short + 0.1, (length, short, long)  # what takes milliseconds does no harm


def _searching(line: str) -> float:
    began = time.process_time()
    for shown in last_lines([line] * 8):
        Redactor([], {})(
            headline([shown], failed=True) + headline([f"2026-01-01 00:00:00 wrote {shown}"], failed=False)
        )
        Redactor([], {})(shown)
    return time.process_time() - began


def test_no_secret_is_told_kept_or_printed(desk: Desk, ntfy: Service) -> None:
    """Of the environment, the command and the log; also where a message is kept on disk."""
    secrets = {
        "NTFY_TOKEN": "tk_of_the_server", "CDSAPI_KEY_TOKEN": "cds-value", "MY_PASSWORD": "pass word äö",
        "NOTIFY_RUN_ENDPOINT": "http://127.0.0.1:1/ChannelName",
        "APPRISE_URLS": "json://somebody:appr1sePassw@127.0.0.1:1/inner_path",
    }  # fmt: skip
    desk.environment |= secrets
    echo = "; ".join(f"echo {value}" for value in [*secrets.values(), "appr1sePassw", "x --password 0pen"])
    log = desk.home / "log"
    desk.hear_out_the_dead()
    with log.open("w") as stream:
        code, _ = desk.run("--", "sh", "-c", f"{echo}; exit 1", stdout=stream)
    told = json.dumps(ntfy.got, ensure_ascii=False) + "".join(path.read_text() for path in desk.kept())
    assert code == 1
    assert len(ntfy.got) == 2
    assert len(desk.kept()) == 4
    assert "[hidden]" in told
    for secret in [*secrets.values(), "ChannelName", "appr1sePassw", "0pen"]:
        assert secret not in told, secret
    notes = [line for line in log.read_text().splitlines() if line.startswith("notify-run:")]
    assert len(notes) == 4
    assert not [line for line in notes if "ChannelName" in line or "appr1se" in line]


def array(desk: Desk, task: int, code: int, tasks: int = 4, **more: str) -> None:
    about = {"SLURM_JOB_ID": str(100 + task), "SLURM_ARRAY_JOB_ID": "100", "SLURM_ARRAY_TASK_ID": str(task)}
    environment = {**desk.environment, **about, "SLURM_ARRAY_TASK_COUNT": str(tasks), **more}
    text = f"echo '2026-01-01 00:00:00  wrote run-{task} (epoch 1: val_map 0.{task})'"
    with (desk.home / f"log{task}").open("w") as stream:
        command = [PYTHON, "-P", "-m", "pipeline.notify", "lab", "--title", "folds", "--"]
        whole = [*command, "sh", "-c", f"{text}; exit {code}"]
        done = subprocess.run(whole, env=environment, cwd=desk.home, stdout=stream, stderr=stream)
    assert done.returncode == code


def test_an_array_tells_its_start_its_first_failure_and_a_digest(desk: Desk, ntfy: Service) -> None:
    for task, code in enumerate((0, 1, 75, 2)):
        array(desk, task, code)
    assert ntfy.titles() == ["lab: started · folds", "lab: FAILED · folds"]
    first = r"the first failure of the array\ntml2 · Slurm job 100, task 1 of 4 · \d+ s · exit 1\b"
    assert re.match(first, ntfy.got[1]["body"])
    array(desk, 2, 0)  # requeued, now finished
    assert ntfy.titles()[2:] == ["lab: array done · folds"]
    digest = ntfy.got[2]
    assert digest["priority"] == 5
    assert re.sub(r"\d+ s\b", "N s", digest["body"]).splitlines() == [
        "Slurm array 100: 2 done, 2 failed of 4", "a task took N s to N s", "failed: 1, 3", "",
        "0: wrote run-0 (epoch 1: val_map 0.0)", "2: wrote run-2 (epoch 1: val_map 0.2)",
    ]  # fmt: skip


def test_a_digest_of_an_array_whose_tasks_were_killed(desk: Desk, ntfy: Service) -> None:
    array(desk, 0, 0)
    code, text = desk.run("lab", "--digest", "100")
    assert (code, text) == (0, "")
    assert ntfy.titles()[-1] == "lab: array done · array 100"
    assert ntfy.got[-1]["body"].startswith("Slurm array 100: 1 done\n")
    assert "sent already" in desk.run("--digest", "100")[1]
    code, text = desk.run("--digest", "101")
    assert (code, text.count("\n")) == (2, 1)


def test_only_the_first_of_many_processes_tells(desk: Desk, ntfy: Service) -> None:
    for rank in "0123":
        desk.environment |= {"SLURM_JOB_ID": "7", "SLURM_PROCID": rank}
        desk.run("--", "sh", "-c", "exit 1")
    assert len(ntfy.got) == 2


def test_an_interruption_and_the_return_are_told(desk: Desk, ntfy: Service) -> None:
    desk.environment |= {"SLURM_JOB_ID": "8"}
    script = desk.home / "x.sh"
    script.write_text("exit ${CODE:-0}")
    for restarts, code in (("0", "75"), ("1", "0")):
        desk.environment |= {"SLURM_RESTART_COUNT": restarts, "CODE": code}
        desk.run("lab", "--", "sh", "x.sh")
    assert [text.split()[1] for text in ntfy.titles()] == ["started", "interrupted", "requeued", "done"]
    assert "Slurm job 8\nstart number 2" in ntfy.got[2]["body"]


def test_a_submitted_job_is_known_by_its_ticket_whatever_slurm_calls_it(desk: Desk, ntfy: Service) -> None:
    """Two pieces of an array, and a task that was submitted again: one story."""
    mine = {"ISOBAR_ARRAY": "j3-2026-01-01T00:00:00Z", "ISOBAR_TASKS": "3"}
    starts = (("100", "0", 1, 0), ("100", "1", 1, 75), ("200", "2", 1, 0), ("300", "1", 2, 0))
    for array_id, number, attempt, code in starts:
        own = {"ISOBAR_TICKET": f"j3.{number}", "ISOBAR_ATTEMPT": str(attempt), "SLURM_ARRAY_JOB_ID": array_id}
        array(desk, int(number), code, **mine, **own)
    assert ntfy.titles() == ["lab: started · folds", "lab: array done · folds"]
    assert ntfy.got[0]["body"] == "array of 3 tasks\ntml2 · j3.0 of 3 tasks · Slurm job 100"
    assert ntfy.got[1]["body"].startswith("array j3: 3 done of 3\n")


def test_a_killed_task_that_is_attended_has_not_ended(tmp_path: Path) -> None:
    environment = {"ISOBAR_TICKET": "j3.0", "ISOBAR_ATTEMPT": "1", "ISOBAR_ARRAY": "j3-x", "ISOBAR_TASKS": "1"}
    story = Story(Settings(host="tml2", outbox=tmp_path), ["train.py"], environment)
    assert story.end(Ended(VANISHED, 3.0)) is None
    digest = story.end(Ended(0, 5.0))
    assert digest is not None
    assert digest.body.startswith("array j3: 1 done of 1")


def test_one_message_of_another_program(desk: Desk, ntfy: Service) -> None:
    command = [PYTHON, "-P", "-m", "pipeline.notify", "send"]
    more = {"env": desk.environment, "cwd": desk.home, "text": True, "capture_output": True}
    assert subprocess.run([*command, "requeued", "fold", "3", "-"], input="time limit", **more).returncode == 0
    assert subprocess.run([*command, "done", "fold 4"], **more).returncode == 0
    assert ntfy.titles() == ["tml2: requeued · fold 3", "tml2: done · fold 4"]
    assert ntfy.got[0]["body"] == "tml2\n\ntime limit"
    wrong = subprocess.run([*command, "finished", "x"], **more)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
