"""Keys and tokens stay where they were given: not in what jobs write or say, and not in the list of processes."""

from __future__ import annotations

import base64
import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml

from pipeline.site.pages import packed
from pipeline.submit.ticket import Ticket, jobs_folder
from pipeline.synthetic.cds_faults import Fault
from pipeline.synthetic.cds_server import CdsServer
from tests.badinput.case import Place
from tests.badinput.ground import Grounds
from tests.beside import looking
from tests.faults.nursery import Ended
from tests.faults.scenes import DOWNLOAD
from tests.submit.interruptions import wait_until

KEY = "5ec4e700-1111-4222-8333-c0ffee0c0ffee"
SECRETS = {
    "CDSAPI_KEY": KEY,
    "NTFY_TOKEN": "tk_AgQdq7mVBoFD37zQVN29RhuMzNIz2",
    "APPRISE_URLS": "json://someone:pa55w0rdpa55w0rd@127.0.0.1:9/T0K3NT0K3NT0K3N",
}
NEEDLES = (*SECRETS.values(), "pa55w0rdpa55w0rd", "T0K3NT0K3NT0K3N", "tk_fileNotEnv4711")
NOBODY = {"NTFY_SERVER": "http://127.0.0.1:9", "NTFY_TOPIC": "made-up-topic"}


def found_in(data: bytes) -> list[str]:
    """Return the secrets in a file's contents, also where those are compressed."""
    texts = [data]
    small = [data, data[2:]]
    small += [base64.b64decode(found) for found in re.findall(rb'id="told">([A-Za-z0-9+/=]+)<', data)]
    for text in small:
        with suppress(zlib.error):
            texts.append(zlib.decompress(text, wbits=47))  # of zlib or of gzip
    return [needle for needle in NEEDLES if any(needle.encode() in text for text in texts)]


def leaks(folder: Path) -> list[str]:
    """Return the files below a folder that hold a secret."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in ("notify.env", ".cdsapirc")]
    assert files
    return [f"{path}: {names}" for path in files if (names := found_in(path.read_bytes()))]


@contextmanager
def watched() -> Iterator[set[str]]:
    """Look at the command lines of all processes for as long as the block runs; yield those that hold a secret."""
    seen: set[str] = set()

    def look() -> None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                words = path.read_bytes()
                if any(needle.encode() in words for needle in NEEDLES):
                    seen.add(words.decode(errors="replace"))

    with looking(look, 0.02):
        yield seen


def run(grounds: Grounds, place: Place, job: str, *words: str, **variables: str) -> Ended:
    typed = [str(place.home / word[2:]) if word.startswith("./") else word for word in words]
    environment = {"HOME": str(place.home), "ISOBAR_GIT": "{}", **SECRETS, **NOBODY, **variables}
    return grounds.nursery.run(job, *typed, home=place.home, variables=environment)


def keep_files(place: Place) -> None:
    """Put secrets into the files that people keep them in."""
    folder = place.home / ".config" / "isobar"
    folder.mkdir(parents=True)
    (folder / "notify.env").write_text("NTFY_TOKEN=tk_fileNotEnv4711\n")
    (place.home / ".cdsapirc").write_text(f"url: http://127.0.0.1:9\nkey: {KEY}\n")


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"key {KEY}")
    token = SECRETS["NTFY_TOKEN"]
    (tmp_path / "b.bin").write_bytes(zlib.compress(token.encode()))
    (tmp_path / "c.json.gz").write_bytes(gzip.compress(token.encode()))
    (tmp_path / "d.html").write_text(f'<script type="text/plain" id="told">{packed({"token": token})}</script>')
    assert len(leaks(tmp_path)) == 4


def test_downloads(grounds: Grounds, tmp_path: Path) -> None:
    """Also where the key is refused, where the data centre fails, and where all details are logged."""
    place = Place(tmp_path / "place")
    place.home.mkdir()
    keep_files(place)
    place.config.write_text(yaml.safe_dump(DOWNLOAD))
    options = {"native": 10.0, "key": KEY, "queue_seconds": 0.02, "run_seconds": 0.02}
    with watched() as seen:
        with CdsServer(tmp_path / "c1", faults=[Fault("bad_key")], **options) as centre:
            ended = run(grounds, place, "download", "./tiny.yaml", "--verbose", CDSAPI_URL=centre.url)
            assert ended.code in (1, 2), ended.text
        with CdsServer(tmp_path / "c2", faults=["http_500:1", "reset:1", "failed:1"], **options) as centre:
            ended = run(grounds, place, "download", "./tiny.yaml", "--verbose", "--notify", CDSAPI_URL=centre.url)
            assert ended.code == 0, ended.text
    assert not seen
    assert not leaks(place.home)
    assert not leaks(grounds.nursery.folder)


@pytest.mark.slow
def test_all_other_jobs(grounds: Grounds, tmp_path: Path) -> None:
    place = grounds.copy("trained", tmp_path / "place")
    keep_files(place)
    with watched() as seen:
        for job, *words in (
            ("train", "./tiny.yaml", "train.seed=7", "--notify", "--verbose"),
            ("thresholds", "./tiny.yaml", "train.seed=7"),
            ("evaluate", "./tiny.yaml", "train.seed=7"),
            ("report", "./tiny.yaml", "train.seed=7", "report.dpi=50"),
            ("predict", "./results/tiny/latest", "./raw", "--output", "./out.csv"),
            ("tune", "./tune.yaml"),
            ("importance", "./made.yaml", "null.shuffles=2"),
        ):
            ended = run(grounds, place, job, *words)
            assert ended.code == 0, f"{job}: {ended.text}"
    assert not seen
    assert not leaks(place.home)
    assert not leaks(grounds.nursery.folder)


def test_a_crash(grounds: Grounds, tmp_path: Path) -> None:
    """A fault of the program tells where it was, and no values."""
    place = grounds.copy("raw", tmp_path / "place")
    (place.home / "raw" / "labels.csv").unlink()
    ended = run(grounds, place, "derive", "./tiny.yaml", "--notify", "--verbose")
    assert ended.code == 2
    assert not leaks(place.home)
    assert not found_in(ended.text.encode())


@pytest.mark.slow
def test_submitted_jobs(grounds: Grounds, tmp_path: Path) -> None:
    """A detached job inherits the environment; nothing of it is written down but what belongs to the job."""
    place = grounds.copy("trained", tmp_path / "place")
    keep_files(place)
    with watched() as seen:
        ended = run(grounds, place, "submit", "thresholds", "./tiny.yaml", "thresholds.beta=2", "--cluster", "local")
        assert ended.code == 0, ended.text
        (folder,) = jobs_folder(place.home).glob("j*")
        wait_until(lambda: "ended" in Ticket.read(folder).tasks[0].last(), 300)
    assert Ticket.read(folder).tasks[0].last()["exit_code"] == 0
    assert not seen
    assert not leaks(place.home)
