"""A real sshd on loopback with keys of its own, a results folder on the "server", and one on the "laptop"."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "slurm" / "sync_results.sh"
SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.01)


@dataclass
class Link:
    """The way to the server: a port of its own, through which bytes are counted and which can be cut."""

    port: int
    key: Path
    cut_after: int | None = None
    """Bytes from the server after which the link stalls, and is then cut, once."""
    arrived: Callable[[], bool] = lambda: True
    """What must be true before a stalled link is cut: bytes on the way die with it, however many there are."""
    carried: int = 0

    @property
    def ssh(self) -> str:
        options = "-F none -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no -o IdentitiesOnly=yes -q"
        return f"ssh -p {self.port} -i {self.key} {options}"


@dataclass
class Laptop:
    """Where the command is typed."""

    home: Path
    link: Link
    server: Path
    """The results folder on the server."""
    local: Path
    config: Path = field(init=False)

    def __post_init__(self) -> None:
        self.config = self.home / "sync.conf"
        self.write_config()

    def write_config(self) -> None:
        lines = ["# mine", "", "[lab]", "host = 127.0.0.1", f"path = {self.server}", f"local = {self.local}"]
        self.config.write_text("\n".join([*lines, f"ssh = {self.link.ssh}", ""]), encoding="utf-8")

    def sync(self, *arguments: object, **environment: str) -> tuple[int, str]:
        """Run the script and return its exit code and output."""
        command = ["bash", str(SCRIPT), *map(str, arguments), "--config", str(self.config)]
        more = {**os.environ, "HOME": str(self.home), "LC_ALL": "C.UTF-8", **environment}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        done = subprocess.run(command, timeout=120, env=more, encoding="utf-8", stdin=subprocess.DEVNULL, **pipes)  # type: ignore[call-overload]
        return int(done.returncode), str(done.stdout)


def _carry(source: socket.socket, sink: socket.socket, link: Link, counts: bool) -> None:
    with contextlib.suppress(OSError):
        while block := source.recv(1 << 14):
            sink.sendall(block)
            link.carried += len(block) if counts else 0
            if counts and link.cut_after is not None and link.carried >= link.cut_after:
                link.cut_after = None
                until(link.arrived)
                break
    for one in (source, sink):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


def _serve(listening: socket.socket, port: int, link: Link) -> None:
    with contextlib.suppress(OSError):
        while True:
            near, _ = listening.accept()
            far = socket.create_connection(("127.0.0.1", port))
            threading.Thread(target=_carry, args=[near, far, link, False], daemon=True).start()
            threading.Thread(target=_carry, args=[far, near, link, True], daemon=True).start()


def _start_sshd(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    port = free_port()
    lines = [
        "ListenAddress 127.0.0.1", f"Port {port}", f"HostKey {folder}/host", f"AuthorizedKeysFile {folder}/user.pub",
        "StrictModes no", "UsePAM no", "PasswordAuthentication no", "PidFile none", "PermitRootLogin prohibit-password",
        "Subsystem sftp internal-sftp",
    ]  # fmt: skip
    (folder / "sshd_config").write_text("\n".join(lines) + "\n")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd drops its privileges; the package's service makes it else
    command = [str(SSHD), "-D", "-e", "-f", str(folder / "sshd_config")]
    with (folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log)
    end = time.monotonic() + 10
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return process, port
        time.sleep(0.05)
    process.kill()
    raise AssertionError((folder / "sshd.log").read_text())


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """Run sshd on a free port; yield the port and the user's key."""
    if SSHD is None or shutil.which("rsync") is None or shutil.which("ssh") is None:
        pytest.skip("sshd or rsync is missing; type: apt-get install openssh-server rsync")
    folder = tmp_path_factory.mktemp("sshd")
    process, port = _start_sshd(folder)
    key = folder / "user"
    try:
        probe = [*shlex.split(Link(port, key).ssh), "127.0.0.1", "true"]
        if subprocess.run(probe, timeout=20, stdin=subprocess.DEVNULL).returncode != 0:
            pytest.skip(f"this account cannot log in at its own sshd: {(folder / 'sshd.log').read_text()[-300:]}")
        yield port, key
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def laptop(sshd: tuple[int, Path], tmp_path: Path) -> Iterator[Laptop]:
    """Return a laptop with an empty folder, and a server with two experiments, one of them hard to spell."""
    port, key = sshd
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(8)
        link = Link(listening.getsockname()[1], key)
        threading.Thread(target=_serve, args=[listening, port, link], daemon=True).start()
        server, local = tmp_path / "server 気象" / "it's results", tmp_path / "laptop 手元" / "results"
        for experiment in ("natlantic", "気圧 配置 (v2) [x] 'q' $HOME ; é"):
            write_run(server / experiment / "simple-0123abcd")
            (server / experiment / "latest").symlink_to("simple-0123abcd")
        (server / ".outbox").mkdir()
        (server / ".outbox" / "1.json").write_text("{}")
        (server / "README.md").write_text("of the project")
        yield Laptop(tmp_path, link, server, local)


LIGHT = ("run.json", "history.json", "train.log", "config.yaml", "figures/loss curve.png", "report.html")
HEAVY = ("model.pt", "checkpoints/last.ckpt", "predictions_test.npz")
NEVER = (".lock", ".run.json.part")


def write_run(run: Path) -> None:
    for number, name in enumerate((*LIGHT, *HEAVY, *NEVER)):
        path = run / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{run.parent.name} {name} {number}\n" * 20, encoding="utf-8")
    (run / "report.html").write_text('<img src="figures/loss curve.png"><a href="history.json">', encoding="utf-8")
    results = run.parent.parent
    runs = [one.name for one in sorted(results.glob("[!.]*")) if one.is_dir()]
    links = [f'<a href="{name}/simple-0123abcd/report.html">' for name in runs]
    (results / "index.html").write_text("".join(links), encoding="utf-8")


def tree(folder: Path) -> dict[str, bytes | str]:
    """Return everything in a folder: contents of files, targets of links."""
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file():
            found[name] = path.read_bytes()
    return found
