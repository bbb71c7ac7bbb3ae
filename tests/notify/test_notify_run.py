"""notify-run through its real command line, against a real HTTP server."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.notify.conftest import ROOT, Desk, until, waiting_for
from tests.notify.service import PATIENCE, Service, serving

PYTHON = sys.executable


def wait_for(path: Path) -> str:
    until(lambda: path.exists() and path.read_text() != "")
    return path.read_text()


def test_the_form_of_the_guide(desk: Desk, ntfy: Service) -> None:
    log = desk.home / "train.log"
    script = desk.home / "train.py"
    script.write_text("print('2026-01-01 00:00:00  wrote results/x/run-1 (epoch 3: val_map 0.774)')")
    with log.open("w") as stream:
        code, _ = desk.run("via-tml2", "--", "nohup", PYTHON, "train.py", "configs/x.yaml", stdout=stream)
    assert code == 0
    assert ntfy.titles() == [
        "via-tml2: started · train.py configs/x.yaml",
        "via-tml2: done · train.py configs/x.yaml",
    ]
    start, done = ntfy.got
    assert (start["topic"], start["priority"], start["tags"]) == ("isobar_runs", 2, ["arrow_forward"])
    assert (done["priority"], done["tags"]) == (3, ["white_check_mark"])
    facts, headline, _, *lines = done["body"].splitlines()
    assert re.fullmatch(r"tml2 · \d+ s · exit 0", facts)
    assert headline == "wrote results/x/run-1 (epoch 3: val_map 0.774)"
    assert lines == ["2026-01-01 00:00:00  wrote results/x/run-1 (epoch 3: val_map 0.774)"]
    assert log.read_text().splitlines() == lines
    assert desk.kept() == []


@pytest.mark.parametrize("code", [0, 1, 2, 75, 200])
def test_exit_codes_are_kept(desk: Desk, ntfy: Service, code: int) -> None:
    assert desk.run("--", PYTHON, "-c", f"raise SystemExit({code})")[0] == code
    word = {0: "done", 75: "interrupted"}.get(code, "FAILED")
    assert ntfy.titles()[1].startswith(f"tml2: {word} · ")
    assert ntfy.got[1]["priority"] == (5 if word == "FAILED" else 3)
    assert f"exit {code}" in ntfy.got[1]["body"]


def test_a_traceback_is_the_headline_of_a_failure(desk: Desk, ntfy: Service) -> None:
    with (desk.home / "log").open("w") as stream:
        code, _ = desk.run("--", PYTHON, "-c", "{}['x']", stdout=stream)
    assert code == 1
    assert re.match(r"tml2 · \d+ s · exit 1\nKeyError: 'x'\n", ntfy.got[1]["body"])


@pytest.mark.parametrize(
    "name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGQUIT", "SIGXCPU", "SIGRTMIN"]
)
def test_signals_are_forwarded_once(desk: Desk, ntfy: Service, name: str) -> None:
    ready, seen = desk.home / "ready", desk.home / "seen"
    body = f"""
import os, signal, time
number = signal.{name}
count = []
signal.signal(number, lambda *_: count.append(1))
open({str(ready)!r}, 'w').write(str(os.getpid()))
while not count: time.sleep(0.01)
time.sleep(0.2)
open({str(seen)!r}, 'w').write(str(len(count)))
raise SystemExit(75)
"""
    process = desk.start("--", PYTHON, "-c", body)
    wait_for(ready)
    process.send_signal(getattr(signal, name))
    assert process.wait(PATIENCE) == 75
    assert seen.read_text() == "1"
    assert "interrupted" in ntfy.titles()[1]


def test_a_command_killed_by_a_signal(desk: Desk, ntfy: Service) -> None:
    code, _ = desk.run("--", PYTHON, "-c", "import os; os.kill(os.getpid(), 9)")
    assert code == 128 + 9
    assert "killed by SIGKILL" in ntfy.got[1]["body"]


def test_pkill_by_the_name_of_the_script_reaches_both_and_is_told(desk: Desk, ntfy: Service) -> None:
    """``pkill -f main_v1.py`` matches the wrapper's command line as well; here it is done with the two process ids."""
    ready = desk.home / "ready"
    (desk.home / "main_v1.py").write_text(
        f"import os,time\nopen({str(ready)!r},'w').write(str(os.getpid()))\ntime.sleep(300)"
    )
    process = desk.start("--", PYTHON, "main_v1.py")
    child = int(wait_for(ready))
    os.kill(process.pid, signal.SIGTERM)
    with suppress(ProcessLookupError):  # the wrapper was quicker in passing it on
        os.kill(child, signal.SIGTERM)
    assert process.wait(PATIENCE) == 128 + signal.SIGTERM
    assert "killed by SIGTERM" in ntfy.got[1]["body"]


def test_the_command_outlives_a_wrapper_that_is_killed(desk: Desk, ntfy: Service) -> None:
    ready, killed, end = desk.home / "ready", desk.home / "killed", desk.home / "end"
    body = f"open({str(ready)!r},'w').write('x')\n{waiting_for(killed)}print('x'*10, flush=True)\n"
    body += f"open({str(end)!r},'w').write('y')"
    process = desk.start("-l", "log", "--", PYTHON, "-c", body)
    wait_for(ready)
    process.kill()
    process.wait()
    killed.touch()
    assert wait_for(end) == "y"
    assert (desk.home / "log").read_text() == "x" * 10 + "\n"


def test_ctrl_c_on_a_terminal_comes_once(desk: Desk, ntfy: Service) -> None:
    ready, seen = desk.home / "ready", desk.home / "seen"
    body = f"""
import signal, time
count = []
signal.signal(signal.SIGINT, lambda *_: count.append(1))
open({str(ready)!r}, 'w').write('x')
while not count: time.sleep(0.01)
time.sleep(0.3)
open({str(seen)!r}, 'w').write(str(len(count)))
raise SystemExit(75)
"""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(desk.home)
        os.execve(PYTHON, [PYTHON, "-P", "-m", "pipeline.notify", "--", PYTHON, "-c", body], desk.environment)
    wait_for(ready)
    os.write(terminal, b"\x03")
    assert wait_for(seen) == "1"
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 75
    os.close(terminal)


def test_a_terminal_that_is_closed_does_not_end_the_watch_over_a_nohup_command(desk: Desk, ntfy: Service) -> None:
    ready, closed = desk.home / "ready", desk.home / "closed"
    body = f"open({str(ready)!r},'w').write('x')\n{waiting_for(closed)}"
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(desk.home)
        command = [PYTHON, "-P", "-m", "pipeline.notify", "--", "nohup", PYTHON, "-c", body]
        os.execve(PYTHON, command, desk.environment)
    wait_for(ready)
    os.close(terminal)
    closed.touch()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert [title.split(" · ")[0] for title in ntfy.titles()] == ["tml2: started", "tml2: done"]


def test_what_nohup_writes_is_found(desk: Desk, ntfy: Service) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(desk.home)
        command = ["nohup", PYTHON, "-c", "print('the last line')"]
        os.execve(PYTHON, [PYTHON, "-P", "-m", "pipeline.notify", "--", *command], desk.environment)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(terminal)
    assert ntfy.got[1]["body"].endswith("\n\nthe last line")


def test_the_log_option_shows_and_appends(desk: Desk, ntfy: Service) -> None:
    log = desk.home / "日本 log.txt"
    log.write_text("of an earlier run\n")
    body = "import sys; print('気圧'); print('bar 1\\rbar 2\\x1b[31m red\\x1b[0m'); sys.stderr.write('end\\n')"
    code, text = desk.run("-l", log, "--", PYTHON, "-u", "-c", body)
    assert code == 0
    assert text == "気圧\nbar 1\rbar 2\x1b[31m red\x1b[0m\nend\n".replace("\r", "\n")  # universal newlines of the test
    assert log.read_bytes().decode() == "of an earlier run\n気圧\nbar 1\rbar 2\x1b[31m red\x1b[0m\nend\n"
    assert ntfy.got[1]["body"].splitlines()[2:] == ["気圧", "bar 2 red", "end"]


def test_a_reader_that_stops_reading_does_not_stop_the_command(desk: Desk, ntfy: Service) -> None:
    desk.environment["NTFY_WAIT"] = "1"
    done = desk.home / "done"
    body = (
        f"import sys\nfor _ in range(300): sys.stdout.write('x' * 9999 + chr(10))\nopen({str(done)!r},'w').write('y')"
    )
    process = desk.start("-l", "log", "--", PYTHON, "-c", body)
    assert wait_for(done) == "y"
    assert process.wait(PATIENCE) == 0
    assert (desk.home / "log").stat().st_size == 3_000_000


def test_titles_and_labels_in_any_script(desk: Desk, ntfy: Service) -> None:
    label, title = "気圧配置 🌀", "学習 é — “x”\nsecond line"
    assert desk.run(label, "--title", title, "--tags", "tada,雪", "-p", "high", "--", "true")[0] == 0
    assert ntfy.titles()[1] == "気圧配置 🌀: done · 学習 é — “x” second line"
    assert ntfy.got[1]["tags"] == ["white_check_mark", "tada", "雪"]
    assert ntfy.got[1]["priority"] == 4


def test_titles_in_any_script_where_only_topics_answer(desk: Desk, ntfy: Service) -> None:
    ntfy.only_topics = True
    assert desk.run("気圧 🌀", "--tags", "雪", "--", "true")[0] == 0
    assert ntfy.titles() == ["気圧 🌀: started · true", "気圧 🌀: done · true"]
    assert ntfy.got[0] | {"body": ""} == {
        "by": "ntfy by headers", "topic": "isobar_runs", "body": "", "title": "気圧 🌀: started · true",
        "priority": 2, "tags": ["arrow_forward", "雪"],
    }  # fmt: skip


def test_options_of_the_command_line(desk: Desk) -> None:
    with serving(token="tk_0123456789012345678901234567") as service:
        options = [
            "-s",
            service.url,
            "-t",
            "other",
            "-T",
            service.token,
            "-H",
            "gpu-1",
            "--on",
            "done,failed",
            "-p",
            "4",
        ]
        assert desk.run("lab", *options, "--", "true") == (0, "")
    (got,) = service.got
    assert (got["topic"], got["priority"], got["title"]) == ("other", 4, "lab: done · true")
    assert got["body"].startswith("gpu-1 · ")


def test_the_label_of_the_environment_and_of_the_command_line(desk: Desk, ntfy: Service) -> None:
    desk.environment["NTFY_LABEL"] = "from-environment"
    desk.run("--", "true")
    desk.run("positional", "--", "true")
    assert [title.split(":")[0] for title in ntfy.titles()] == ["from-environment"] * 2 + ["positional"] * 2


def test_a_topic_with_its_server(desk: Desk) -> None:
    with serving() as service:
        desk.environment["NTFY_TOPIC"] = f"{service.url}/runs"
        desk.run("--", "true")
    assert [message["topic"] for message in service.got] == ["runs", "runs"]


def test_notify_run_and_apprise_beside_ntfy(desk: Desk, ntfy: Service) -> None:
    with serving() as second, serving() as third:
        folder = desk.home / ".config"
        folder.mkdir()
        (folder / "notify-run").write_text(json.dumps({"endpoint": f"{second.url}/AbCdEfGhIj"}))
        desk.environment["APPRISE_URLS"] = f"ntfy://127.0.0.1:{third.port}/by_apprise?cto=60&rto=60"
        assert desk.run("学習", "--", "true") == (0, "")
    assert len(ntfy.got) == 2
    assert [(m["by"], m["topic"], m["title"]) for m in second.got] == [
        ("notify.run", "/AbCdEfGhIj", "学習: started · true"),
        ("notify.run", "/AbCdEfGhIj", "学習: done · true"),
    ]
    assert [message["title"] for message in third.got] == ["学習: started · true", "学習: done · true"]
    assert desk.kept() == []


def test_the_file_of_settings(desk: Desk) -> None:
    with serving(token="tk_secret_of_a_file") as service:
        folder = desk.home / ".config" / "isobar"
        folder.mkdir(parents=True)
        path = folder / "notify.env"
        path.write_text(
            f'# mine\nexport NTFY_SERVER={service.url}\nNTFY_TOPIC="runs"\n\nNTFY_TOKEN=tk_secret_of_a_file\n'
        )
        path.chmod(0o600)
        assert desk.run("--", "true") == (0, "")
        path.chmod(0o644)
        code, text = desk.run("--", "true")
        assert (code, text) == (0, f"notify-run: {path}: others can read it; close it with: chmod 600 {path}\n")
    assert len(service.got) == 4


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["x", "-p", "9", "--", "true"], "--priority: '9' is no priority; allowed are 1 to 5"),
        (["x", "-s", "ftp://x", "--", "true"], "--server: not a server"),
        (["x", "-t", "a b", "--", "true"], "--topic: not a topic"),
        (["x", "-T", "@/nowhere", "--", "true"], "--token: /nowhere: cannot read the token"),
        (["x", "--on", "ended", "--", "true"], "--events: 'ended' is no list of events"),
        (["x", "--timeout", "-1", "--", "true"], "--timeout: '-1' is no duration"),
        (["x", "-l", "no/folder/log", "--", "true"], "--log no/folder/log: No such file or directory"),
        (["x", "--"], "no command after --"),
        (["x"], "no -- and no command"),
        (["x", "python", "y.py"], "unrecognized arguments: python y.py"),
        (["--fast", "--", "true"], "unrecognized arguments: --fast"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_runs_nothing(desk: Desk, arguments: list[str], says: str) -> None:
    code, text = desk.run(*[word if word != "true" else f"touch {desk.home}/ran" for word in arguments])
    assert code == 2
    assert text.count("\n") == 1
    assert says in text
    assert not (desk.home / "ran").exists()


def test_a_wrong_environment_is_told_and_runs_the_command(desk: Desk, ntfy: Service) -> None:
    desk.environment |= {"NTFY_PRIORITY": "loud", "NTFY_TIMEOUT": "soon"}
    code, text = desk.run("--", "true")
    assert code == 0
    assert "NTFY_PRIORITY: 'loud' is no priority" in text
    assert "NTFY_TIMEOUT: 'soon' is no duration" in text
    assert len(ntfy.got) == 2


def test_nobody_to_tell(desk: Desk) -> None:
    assert desk.run("x", "--", "sh", "-c", "exit 3") == (
        3, "notify-run: nobody to tell; set NTFY_TOPIC (see docs/notify.md)\n",
    )  # fmt: skip


def test_a_command_that_does_not_exist(desk: Desk, ntfy: Service) -> None:
    assert desk.run("--", "no-such-command")[0] == 127
    assert desk.run("--", str(desk.home))[0] == 126
    assert [title.split(" · ")[0] for title in ntfy.titles()] == ["tml2: FAILED"] * 2
    assert "no-such-command: command not found" in ntfy.got[0]["body"]


def test_the_environment_and_the_signal_mask_of_the_command_are_those_of_the_shell(desk: Desk, ntfy: Service) -> None:
    # Bits 31 and 32 are signals that the C library keeps to itself; its posix_spawn ignores them.
    found = "[int(line.split()[1], 16) & ~(3 << 31) for line in open('/proc/self/status') if line[:6] in kinds]"
    body = f"import os; kinds = ('SigBlk', 'SigIgn', 'SigCgt'); print({found}, sorted(os.environ)[:3], os.getcwd())"
    alone = subprocess.run(
        [PYTHON, "-S", "-c", body], capture_output=True, text=True, env=desk.environment, cwd=desk.home
    )
    code, text = desk.run("--", PYTHON, "-S", "-c", body)
    assert (code, text) == (0, alone.stdout)


def test_many_options_do_not_reach_the_list_of_processes(desk: Desk, ntfy: Service) -> None:
    secrets = ["tk_very_secret_token", "very_secret_topic", "json://user:very_secret_word@127.0.0.1:1/"]
    ready, looked = desk.home / "ready", desk.home / "looked"
    command = [PYTHON, "-c", f"open({str(ready)!r},'w').write('x')\n{waiting_for(looked)}"]
    process = desk.start("lab", "-T", secrets[0], "-t", secrets[1], "--url", secrets[2], "--", *command)
    wait_for(ready)
    told = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode().split("\0")
    assert "lab" in told
    assert not [word for word in told if "secret" in word and word != "--secrets"]
    looked.touch()
    assert process.wait(PATIENCE) == 0
    assert [message["topic"] for message in ntfy.got] == ["very_secret_topic"] * 2


def test_help_of_the_command_is_not_help_of_notify_run(desk: Desk, ntfy: Service) -> None:
    code, text = desk.run("--", PYTHON, "-c", "import sys; print(sys.argv[1:])", "-h", "--", "--flush")
    assert (code, text) == (0, "['-h', '--', '--flush']\n")
    code, text = desk.run("--help")
    assert code == 0
    assert "notify-run via-tml2 -- nohup python jobs/train.py" in text


def test_the_job_script_is_the_same_program(desk: Desk, ntfy: Service) -> None:
    command = [PYTHON, str(ROOT / "jobs/notify_run.py"), "x", "-T", "tk_hidden_once", "--", "sh", "-c", "exit 4"]
    assert subprocess.run(command, env=desk.environment, cwd=desk.home, timeout=180).returncode == 4
    assert len(ntfy.got) == 2
