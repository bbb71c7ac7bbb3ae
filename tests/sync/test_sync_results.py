"""slurm/sync_results.sh through a real sshd on loopback."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.sync.conftest import HEAVY, LIGHT, NEVER, ROOT, SCRIPT, Laptop, tree, write_run

HARD = "気圧 配置 (v2) [x] 'q' $HOME ; é"


def names(laptop: Laptop) -> set[str]:
    return set(tree(laptop.local))


def run_files(experiment: str, files: tuple[str, ...]) -> set[str]:
    return {f"{experiment}/simple-0123abcd/{name}" for name in files}


def test_a_pull_brings_the_light_files_of_everything(laptop: Laptop) -> None:
    code, text = laptop.sync("pull", "lab")
    assert code == 0, text
    light = run_files("natlantic", LIGHT) | run_files(HARD, LIGHT)
    assert names(laptop) == light | {"natlantic/latest", f"{HARD}/latest", "index.html"}
    assert {name: tree(laptop.server)[name] for name in names(laptop)} == tree(laptop.local)
    assert f"{HARD}/simple-0123abcd/run.json" in text
    assert text.endswith(f"sync_results: look at {laptop.local}/index.html\n")


def test_the_page_of_results_opens_after_a_light_pull(laptop: Laptop) -> None:
    """Every link of the pages, followed from the laptop, finds its file."""
    laptop.sync("pull")
    waiting, seen = [laptop.local / "index.html"], set[Path]()
    while waiting:
        page = waiting.pop()
        assert page.exists(), page
        if page not in seen and page.suffix == ".html":
            links = re.findall(r'(?:href|src)="([^"]+)"', page.read_text(encoding="utf-8"))
            waiting += [page.parent / unquote(link) for link in links]
        seen.add(page)
    assert len(seen) == 1 + 2 * 3


def test_heavy_brings_the_weights_as_well(laptop: Laptop) -> None:
    laptop.sync("pull")
    code, text = laptop.sync("pull", "--heavy")
    assert code == 0, text
    assert run_files("natlantic", LIGHT + HEAVY) <= names(laptop)
    assert not names(laptop) & run_files("natlantic", NEVER)
    assert "run.json" not in text, "what is there already was brought again"


@pytest.mark.parametrize("experiment", ["natlantic", HARD])
def test_only_one_experiment(laptop: Laptop, experiment: str) -> None:
    code, text = laptop.sync("pull", "--only", f"{experiment}/")
    assert code == 0, text
    assert names(laptop) == run_files(experiment, LIGHT) | {f"{experiment}/latest", "index.html"}


def test_only_two_runs(laptop: Laptop) -> None:
    write_run(laptop.server / "natlantic" / "other-4567cdef")
    runs = [f"{HARD}/simple-0123abcd", "natlantic/other-4567cdef"]
    code, text = laptop.sync("pull", "--only", runs[0], "--only", runs[1])
    assert code == 0, text
    assert names(laptop) == {f"{run}/{name}" for run in runs for name in LIGHT} | {"index.html"}


def test_wildcards_are_letters(laptop: Laptop) -> None:
    for name in ("run*", "run1", "[ab]", "a", "b?", "bc", "back\\slash", "backslash"):
        write_run(laptop.server / name / "x")
    wanted = ["run*", "[ab]", "b?", "back\\slash"]
    code, text = laptop.sync("pull", *[word for name in wanted for word in ("--only", name)])
    assert code == 0, text
    assert {path.name for path in laptop.local.iterdir()} == {*wanted, "index.html"}
    code, text = laptop.sync("list", "--only", "[ab]")
    assert (code, " x\n" in text) == (0, True)


def test_a_dry_run_says_and_does_nothing(laptop: Laptop) -> None:
    code, text = laptop.sync("pull", "-n", "--only", HARD)
    assert code == 0
    assert f"{HARD}/simple-0123abcd/run.json" in text
    assert not laptop.local.exists()
    laptop.local.mkdir(parents=True)
    (laptop.local / "mine.txt").write_text("x")
    before = tree(laptop.server)
    code, text = laptop.sync("push", "--dry-run")
    assert (code, "mine.txt" in text, tree(laptop.server)) == (0, True, before)


def test_a_list(laptop: Laptop) -> None:
    code, text = laptop.sync("list")
    assert code == 0
    assert "natlantic" in text
    assert HARD in text
    code, text = laptop.sync("list", "--only", HARD)
    assert "simple-0123abcd" in text
    assert not laptop.local.exists()


def test_nothing_is_deleted_unless_told(laptop: Laptop) -> None:
    laptop.sync("pull", "--heavy")
    mine = laptop.local / "natlantic" / "mine.json"
    mine.write_text("of the laptop")
    shutil.rmtree(laptop.server / "natlantic" / "simple-0123abcd" / "figures")
    laptop.sync("pull", "--heavy")
    assert mine.exists()
    assert (laptop.local / "natlantic/simple-0123abcd/figures/loss curve.png").exists()
    code, text = laptop.sync("pull", "--delete", "--dry-run")
    assert (code, mine.exists()) == (0, True)
    assert "deleting natlantic/mine.json" in text
    laptop.sync("pull", "--delete", "--only", "natlantic")
    assert not mine.exists()
    assert not (laptop.local / "natlantic/simple-0123abcd/figures").exists()
    # A light pull leaves heavy files alone, even when it may delete; what was not named was not touched.
    assert run_files("natlantic", HEAVY) | run_files(HARD, LIGHT + HEAVY) <= names(laptop)


def test_a_push(laptop: Laptop) -> None:
    """To a folder that is not there yet, and without what the laptop keeps for itself."""
    laptop.sync("pull", "--heavy")
    (laptop.local / ".outbox").mkdir()
    (laptop.local / ".outbox" / "1.json").write_text("{}")
    laptop.server = laptop.home / "another 場所" / "it's deep" / "results"
    laptop.write_config()
    code, text = laptop.sync("push", "lab", "--only", HARD)
    assert code == 0, text
    assert set(tree(laptop.server)) == run_files(HARD, LIGHT) | {f"{HARD}/latest"}
    assert laptop.sync("push", "--heavy")[0] == 0
    assert set(tree(laptop.server)) == names(laptop) - {".outbox/1.json"}


def test_newer_files_of_the_receiver_stay(laptop: Laptop) -> None:
    laptop.sync("pull")
    name = "natlantic/simple-0123abcd/history.json"
    (laptop.local / name).write_text("changed on the laptop")
    newer = time.time() + 30  # files of the same second count as equally old
    os.utime(laptop.local / name, (newer, newer))
    laptop.sync("pull")
    assert (laptop.local / name).read_text() == "changed on the laptop"
    laptop.sync("push")
    assert (laptop.server / name).read_text() == "changed on the laptop"
    later = time.time() + 60
    (laptop.server / name).write_text("and again on the server")
    os.utime(laptop.server / name, (later, later))
    laptop.sync("push")
    assert (laptop.server / name).read_text() == "and again on the server"
    laptop.sync("pull")
    assert (laptop.local / name).read_text() == "and again on the server"


SIZE = 6_000_000


def cut_in_the_middle(laptop: Laptop, there: Path) -> None:
    """Cut the link once, after half of the bytes, a third of which lie on the laptop's disk by then."""
    laptop.link.cut_after = SIZE // 2
    laptop.link.arrived = lambda: sum(path.stat().st_size for path in there.parent.glob(f".{there.name}.*")) > SIZE // 3


def test_a_link_that_is_cut_in_the_middle_is_gone_on_with_by_the_same_command(laptop: Laptop) -> None:
    big = laptop.server / "natlantic" / "simple-0123abcd" / "model.pt"
    big.write_bytes(os.urandom(SIZE))
    there = laptop.local / "natlantic" / "simple-0123abcd" / "model.pt"
    cut_in_the_middle(laptop, there)
    code, text = laptop.sync("pull", "--heavy", "--tries", "1")
    assert code == 75, text
    assert "the same command goes on" in text
    assert not there.exists(), "half a file under its final name"
    kept = there.parent / ".rsync-partial" / "model.pt"
    assert SIZE // 3 < kept.stat().st_size < SIZE
    before = laptop.link.carried
    code, text = laptop.sync("pull", "--heavy", "--tries", "1")
    assert code == 0, text
    assert there.read_bytes() == big.read_bytes()
    assert laptop.link.carried - before < 0.75 * SIZE, "it began anew"
    assert not kept.exists()


@pytest.mark.slow
def test_a_cut_link_is_taken_up_again_by_itself(laptop: Laptop) -> None:
    big = laptop.server / "natlantic" / "simple-0123abcd" / "model.pt"
    big.write_bytes(os.urandom(SIZE))
    there = laptop.local / "natlantic" / "simple-0123abcd" / "model.pt"
    cut_in_the_middle(laptop, there)
    code, text = laptop.sync("pull", "--heavy")
    assert code == 0, text
    assert "the link was cut; trying again" in text
    assert there.read_bytes() == big.read_bytes()
    assert laptop.link.carried < 1.4 * SIZE


def test_a_push_that_is_cut_is_gone_on_with(laptop: Laptop) -> None:
    laptop.sync("pull", "--only", "natlantic")
    mine = laptop.local / "natlantic" / "mine.pt"
    mine.write_bytes(os.urandom(SIZE))
    command = ["bash", str(SCRIPT), "push", "--heavy", "--config", str(laptop.config)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
    theirs = laptop.server / "natlantic"
    end = time.monotonic() + 20
    while not list(theirs.glob(".mine.pt.*")) and not (theirs / "mine.pt").exists() and time.monotonic() < end:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(20) in (75, -signal.SIGTERM, 0)
    code, text = laptop.sync("push", "--heavy")
    assert code == 0, text
    assert (theirs / "mine.pt").read_bytes() == mine.read_bytes()


def test_files_that_jobs_write_meanwhile_arrive_whole(laptop: Laptop) -> None:
    """A job replaces run.json, appends to its log and deletes checkpoints all the time; every copy is a whole one."""
    run = laptop.server / "natlantic" / "simple-0123abcd"
    end = threading.Event()

    def work() -> None:
        number = 0
        while not end.is_set():
            number += 1
            part = run / ".run.json.part"
            part.write_text(json.dumps({"number": number, "text": "x" * 20_000}))
            os.replace(part, run / "run.json")
            with (run / "train.log").open("a") as stream:
                stream.write(f"line {number}\n")
            (run / "checkpoints" / f"epoch={number}.ckpt").write_text("x" * 1000)
            (run / "checkpoints" / f"epoch={number - 1}.ckpt").unlink(missing_ok=True)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        seen = []
        for _ in range(4):
            code, text = laptop.sync("pull", "--heavy")
            assert code == 0, text
            seen.append(json.loads((laptop.local / "natlantic/simple-0123abcd/run.json").read_text())["number"])
    finally:
        end.set()
        worker.join()
    assert seen == sorted(seen)
    assert seen[-1] > seen[0]
    assert not list(laptop.local.rglob("*.part"))


def test_a_server_on_the_command_line(laptop: Laptop) -> None:
    ssh = laptop.home / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} {laptop.link.ssh.removeprefix("ssh ")} "$@"\n')
    ssh.chmod(0o755)
    (laptop.home / "isobar home").mkdir()
    where = {"PATH": f"{ssh.parent}:{os.environ['PATH']}", "ISOBAR_HOME": str(laptop.home / "isobar home")}
    code, text = laptop.sync("pull", f"127.0.0.1:{laptop.server}/", "--only", "natlantic", **where)
    assert code == 0, text
    assert (laptop.home / "isobar home/results/natlantic/latest/run.json").exists()


@pytest.mark.parametrize(
    ("arguments", "config", "says"),
    [
        ([], None, "pull, push or list?"),
        (["fetch"], None, "fetch: allowed are pull, push and list"),
        (["pull", "lab", "more"], None, "more: one word too many"),
        (["pull", "--fast"], None, "--fast: unknown option"),
        (["pull", "nowhere"], None, "no server nowhere in it; there are: lab"),
        (["pull", "--only", "../secrets"], None, "--only ../secrets: not a name in results/"),
        (["pull", "--only", "/etc"], None, "--only /etc: not a name in results/"),
        (["pull", "--only", ""], None, "not a name in results/"),
        (["pull", "--tries", "0"], None, "--tries 0: not a number above 0"),
        (["push", "--only", "nothing"], None, "no such folder"),
        (["pull"], "[a]\nhost = x\npfad = y\n", "sync.conf:3: pfad: allowed are host, path, local and ssh"),
        (["pull"], "[a]\nhost = x\n", "[a] has no path"),
        (["pull"], "[a]\nnonsense\n", "sync.conf:2: not [server] and not key = value: nonsense"),
        (["pull"], "", "no server at all in it"),
        (["pull"], "[a]\nhost = -oProxyCommand=touch${IFS}x\npath = y\n", "not a host"),
    ],
)
def test_wrong_input_is_one_line(laptop: Laptop, arguments: list[str], config: str | None, says: str) -> None:
    if config is not None:
        laptop.config.write_text(config)
    code, text = laptop.sync(*arguments)
    assert (code, text.count("\n")) == (2, 1), text
    assert says in text


def test_a_value_without_a_word_after_it(laptop: Laptop) -> None:
    done = subprocess.run(["bash", str(SCRIPT), "pull", "--only"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "sync_results: --only: a value is missing; see --help\n")


def test_a_config_runs_no_commands(laptop: Laptop) -> None:
    laptop.config.write_text(
        laptop.config.read_text() + f"[b]\nhost = $(touch {laptop.home}/ran)\npath = `touch ran`\n"
    )
    code, _ = laptop.sync("pull", "b", "--tries", "1")
    assert code == 1
    assert not (laptop.home / "ran").exists()


def test_what_is_not_there_and_nobody_who_answers(laptop: Laptop) -> None:
    code, text = laptop.sync("pull", "--only", "no such experiment")
    assert code == 1
    assert "what lies there: sync_results.sh list" in text
    laptop.config.write_text(laptop.config.read_text().replace(f"-p {laptop.link.port}", "-p 1"))
    code, text = laptop.sync("pull")
    assert code == 1
    assert "no connection to 127.0.0.1" in text


@pytest.mark.parametrize(
    ("answers", "ends", "says"),
    [
        (["12 0"], 1, "no connection to 127.0.0.1"),
        (["255 0"], 1, "no connection to 127.0.0.1"),
        (["12 -"], 1, "no connection to 127.0.0.1"),
        (["12 500", "255 0", "12 -", "0 0"], 0, "trying again in 6 s"),
        (["255 500", "255 0", "255 0"], 75, "the link was cut 3 times"),
    ],
    ids=[
        "refused",
        "refused, said otherwise",
        "refused before the first word",
        "a cut that lasts a while",
        "a cut that lasts",
    ],
)
def test_a_cut_that_lasts_is_no_refusal(laptop: Laptop, answers: list[str], ends: int, says: str) -> None:
    """Answers of a stand-in for rsync: exit code, and how many bytes it had received (``-``: it could not say a word).

    Both codes mean both cases; which words and which code rsync ends with is a race.
    """
    folder = laptop.home / "stand-ins"
    folder.mkdir()
    (folder / "answers").write_text("".join(f"{answer}\n" for answer in answers))
    (folder / "rsync").write_text(
        '#!/bin/bash\n[ "$1" = --version ] && exec echo "rsync  version 3.2.7"\n'
        f'cd "{folder}" && read -r code bytes < answers && sed -i 1d answers\n'
        'said="connection unexpectedly closed ($bytes bytes received so far) [Receiver]"\n'
        '[ "$bytes" != - ] || said="[Receiver] safe_write failed to write 6 bytes to fd 4: Broken pipe (32)"\n'
        'echo "rsync: $said" >&2; exit "$code"\n'
    )
    (folder / "sleep").write_text("#!/bin/sh\n")
    for name in ("rsync", "sleep"):
        (folder / name).chmod(0o755)
    code, text = laptop.sync("pull", "--tries", len(answers), PATH=f"{folder}:{os.environ['PATH']}")
    assert (code, says in text) == (ends, True), text
    assert (folder / "answers").read_text() == "", "it gave up too early"


def test_errors_are_shown_where_they_cannot_be_opened_as_a_file(laptop: Laptop) -> None:
    """Under systemd standard error is a socket: ``/dev/stderr`` cannot be opened there."""
    near, far = socket.socketpair()
    with near, far:
        command = ["bash", str(SCRIPT), "pull", "--only", "no such experiment", "--config", str(laptop.config)]
        done = subprocess.run(command, stdout=far, stderr=far, stdin=subprocess.DEVNULL, timeout=60)
        far.close()
        said = b"".join(iter(lambda: near.recv(1 << 16), b"")).decode()
    assert done.returncode == 1, said
    assert "what lies there: sync_results.sh list" in said


def test_the_page_of_results_comes_with_one_experiment_too(laptop: Laptop) -> None:
    (laptop.server / ".site" / "runs").mkdir(parents=True)
    (laptop.server / ".site" / "site.css").write_text("body {}")
    (laptop.server / ".site" / ".lock").touch()
    code, text = laptop.sync("pull", "--only", "natlantic", "--open", PATH=f"{without_browser(laptop)}")
    assert code == 0, text
    assert f"look at {laptop.local}/index.html" in text
    assert "open it yourself" in text
    found = {name for name in names(laptop) if not name.startswith("natlantic/")}
    assert found == {"index.html", ".site/site.css"}


def without_browser(laptop: Laptop) -> Path:
    """Return a folder of the programs that the script uses, and of no other."""
    folder = laptop.home / "few"
    folder.mkdir()
    for name in ("bash", "dirname", "head", "rsync", "ssh", "mkdir", "sleep"):
        (folder / name).symlink_to(shutil.which(name) or name)
    return folder


def test_rsync_is_missing(laptop: Laptop) -> None:
    folder = laptop.home / "few"
    folder.mkdir()
    for name in ("bash", "dirname", "head"):
        (folder / name).symlink_to(shutil.which(name) or name)
    code, text = laptop.sync("pull", PATH=str(folder))
    assert (code, "rsync is missing: apt-get install rsync" in text) == (1, True)


def test_help_and_the_example(laptop: Laptop) -> None:
    code, text = laptop.sync("--help")
    assert code == 0
    options = set(re.findall(r"^  (?:-n, )?(--[a-z-]+)", text, flags=re.MULTILINE))
    assert options == {"--only", "--heavy", "--dry-run", "--delete", "--local", "--config", "--tries", "--open"}
    page = (ROOT / "docs/sync.md").read_text(encoding="utf-8")
    assert not [option for option in options if option not in page]
    laptop.config.write_text((ROOT / "slurm/sync.conf.example").read_text(encoding="utf-8"), encoding="utf-8")
    code, text = laptop.sync("pull", "none")
    assert (code, "there are: via-tml2" in text) == (2, True)


@pytest.mark.skipif(
    shutil.which("shellcheck") is None, reason="shellcheck is missing; type: apt-get install shellcheck"
)
def test_shellcheck() -> None:
    done = subprocess.run(["shellcheck", str(SCRIPT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
