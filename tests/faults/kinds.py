"""The faults: each sets a job upon its work, does it harm, and tells how that ended."""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.faults.compare import half_written
from tests.faults.nursery import Child, Ended
from tests.faults.scenes import Scene, Theatre, set_clock, strays

SURVIVED, ABSORBED, LOST = "survived", "other input", "lost"
PATIENCE = 240


@dataclass(frozen=True)
class Verdict:
    """How a job came out of a fault."""

    outcome: str
    how: str
    """In a few words; of a loss all that is needed to look into it."""


class Lost(Exception):
    """A fault did harm: the text says which."""


def wrong_result(theatre: Theatre, scene: Scene, told: str = "", but: str = "") -> str:
    """Return in which files the place differs from one that no fault struck; empty where it does not."""
    found, expected = scene.print(theatre.home), theatre.expected[scene.job]
    names = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    names = [name for name in names if name != but]
    return f"{', '.join(names[:5])} differ {told}" if names else ""


def finish(theatre: Theatre, scene: Scene, what: str) -> None:
    """Type the command again, undisturbed: it has to end well, with the results of one that no fault struck."""
    ended = theatre.nursery.start(theatre.order(scene)).wait(PATIENCE)
    if ended.code != 0:
        raise Lost(f"after {what} the same command ended with {ended.code}: {ended.text[-1500:]}")
    wrong = wrong_result(theatre, scene, f"after {what}") or ", ".join(half_written(theatre.home))
    if scene.job != "chain":
        wrong = wrong or ", ".join(strays(theatre.home))
    if wrong:
        raise Lost(wrong)


def one_clear_line(ended: Ended, *, says: str = "", codes: tuple[int, ...] = (1, 2), each: bool = False) -> None:
    """Check that a job that gave up said why in one line, or in one for ``each`` thing that it could not do."""
    errors = [line for line in ended.text.splitlines() if " ERROR " in line]
    series = [line for line in errors if "ended with exit code" in line or "failed" in line]
    if "Traceback" in ended.text or "fault of the program" in ended.text:
        raise Lost(f"a traceback: {ended.text[-2500:]}")
    if ended.code not in codes:
        raise Lost(f"exit code {ended.code}, expected {codes}: {ended.text[-1500:]}")
    if not errors or (len(errors) - len(series) > 1 and not each):
        raise Lost(f"{len(errors)} lines of errors: {ended.text[-1500:]}")
    if says and not re.search(says, " ".join(errors)):
        raise Lost(f"it does not say {says!r}: {ended.text[-1500:]}")


def moment(theatre: Theatre, scene: Scene, chance: random.Random, most: float = 1.0) -> float:
    """Return a random while within the time that the job takes."""
    return chance.uniform(0.0, most) * theatre.seconds[scene.job]


def ends_within(child: Child, seconds: float) -> bool:
    """Wait; tell whether the job was over by then."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if child.poll() is not None:
            return True
        time.sleep(0.002)
    return child.poll() is not None


# --- signals ---------------------------------------------------------------------------------------------------


def killed(theatre: Theatre, scene: Scene, chance: random.Random) -> str:
    """SIGKILL at a random moment, up to three times one after the other."""
    hits = 0
    for _ in range(chance.randint(1, 3)):
        child = theatre.nursery.start(theatre.order(scene))
        if ends_within(child, moment(theatre, scene, chance, 0.95)):
            if child.poll() != 0:
                raise Lost(f"after {hits} kills: {child.text[-1500:]}")
            break
        child.send(signal.SIGKILL)
        hits += child.wait(PATIENCE).code == -signal.SIGKILL
        if wrong := half_written(theatre.home):
            raise Lost(f"half-written: {wrong}")
    finish(theatre, scene, f"{hits} kills")
    return f"killed {hits} times" if hits else "over before the kill"


def stopped(theatre: Theatre, scene: Scene, chance: random.Random) -> str:
    """SIGTERM, SIGINT or SIGUSR1 at a random moment: it saves, and says that it was interrupted."""
    how = chance.choice((signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1))
    child = theatre.nursery.start(theatre.order(scene))
    ends_within(child, moment(theatre, scene, chance))
    child.send(how)
    ended = child.wait(PATIENCE)
    # Before the job listens, and while Python is leaving, a signal has its default effect.
    if ended.code not in (0, 75, -how):
        raise Lost(f"{how.name}: exit code {ended.code}: {ended.text[-1500:]}")
    if ended.code == 75 and ("Traceback" in ended.text or "again" not in ended.text):
        raise Lost(f"{how.name}: {ended.text[-1500:]}")
    finish(theatre, scene, how.name)
    return f"{how.name} → {ended.code}"


# --- disks -----------------------------------------------------------------------------------------------------


def full_disk(theatre: Theatre, scene: Scene, chance: random.Random) -> str:
    """A file system with less room than the job needs; afterwards there is more."""
    used = theatre.used_kilobytes()
    theatre.size(used + 1 + int(chance.uniform(0, 0.9) * theatre.growth[scene.job]))
    ended = theatre.nursery.start(theatre.order(scene)).wait(PATIENCE)
    if ended.code != 0:
        one_clear_line(ended, says=r"disk is full|GB are free|needs .*GB", codes=(1,))
    if wrong := half_written(theatre.home):
        raise Lost(f"half-written: {wrong}")
    theatre.size()
    finish(theatre, scene, "a full disk")
    return "full" if ended.code else "had room"


def large_files(theatre: Theatre, scene: Scene, chance: random.Random) -> str:
    """No file may pass a size (``ulimit -f``, a quota of some file systems)."""
    order = theatre.order(
        scene,
        file_bytes=chance.choice(
            (8000, 20_000, 60_000) if scene.job in ("chain", "run_backbones") else (3000, 8000, 20_000)
        ),
    )
    ended = theatre.nursery.start(order).wait(PATIENCE)
    if ended.code != 0:
        one_clear_line(ended, codes=(1,), says=r"size|large|ulimit")
    if wrong := half_written(theatre.home):
        raise Lost(f"half-written: {wrong}")
    finish(theatre, scene, "a limit of file sizes")
    return "refused" if ended.code else "had room"


def read_only(theatre: Theatre, scene: Scene, chance: random.Random) -> str:
    """A place that can only be read, at the beginning or after the job had been killed in it."""
    if chance.random() < 0.5:
        child = theatre.nursery.start(theatre.order(scene))
        ends_within(child, moment(theatre, scene, chance, 0.9))
        child.send(signal.SIGKILL)
        child.wait(PATIENCE)
        _quiet(theatre)
    theatre.size(closed=True)
    try:
        ended = theatre.nursery.start(theatre.order(scene)).wait(PATIENCE)
    finally:
        theatre.size()
    if ended.code != 0:
        one_clear_line(ended, says="read-only|Read-only", codes=(1,))
    finish(theatre, scene, "a read-only disk")
    return "refused" if ended.code else "nothing to write"


def _quiet(theatre: Theatre) -> None:
    """Wait until no program of a killed series is left that holds files of the place open for writing."""
    for _ in range(100):
        busy = False
        for entry in Path("/proc").glob("[0-9]*/fd/*"):
            try:
                busy = busy or os.readlink(entry).startswith(str(theatre.home))
            except OSError:
                continue
        if not busy:
            return
        time.sleep(0.05)


# --- damage ----------------------------------------------------------------------------------------------------


def truncated(theatre: Theatre, scene: Scene, chance: random.Random) -> str:
    """Any file of the place ends early: inputs, intermediate files, checkpoints."""

    def cut(data: bytes) -> bytes:
        return data[: chance.choice((0, chance.randrange(len(data)), len(data) - 1))]

    return _damaged(theatre, scene, chance, cut, "truncated")


def flipped(theatre: Theatre, scene: Scene, chance: random.Random) -> str:
    """One bit of any file of the place is another."""

    def flip(data: bytes) -> bytes:
        place = chance.randrange(len(data))
        return data[:place] + bytes([data[place] ^ (1 << chance.randrange(8))]) + data[place + 1 :]

    return _damaged(theatre, scene, chance, flip, "flipped")


def _damaged(theatre: Theatre, scene: Scene, chance: random.Random, change: Callable[[bytes], bytes], what: str) -> str:
    if chance.random() < 0.6:
        child = theatre.nursery.start(theatre.order(scene))
        ends_within(child, moment(theatre, scene, chance, 1.1))
        child.send(signal.SIGKILL)
        child.wait(PATIENCE)
    files = [path for path in sorted(theatre.home.rglob("*")) if _may_be_hurt(path)]
    before_it = theatre.root / "states" / scene.after
    own = [path for path in files if not (before_it / path.relative_to(theatre.home)).exists()]
    # The few files that the job had begun count as much as the many that were there before it.
    path = chance.choice(own if own and chance.random() < 0.5 else files)
    name, before = str(path.relative_to(theatre.home)), path.read_bytes()
    path.write_bytes(change(before))
    ended = theatre.nursery.start(theatre.order(scene)).wait(PATIENCE)
    if ended.code == 0:
        wrong = wrong_result(theatre, scene, but=name)
        if wrong and _is_input(name):
            return f"{ABSORBED}: {name}"
        if wrong:
            raise Lost(f"{name} {what} was not seen: {wrong}")
        return f"{name}: harmless or made again"
    one_clear_line(ended, each=scene.tells_each)
    if not any(part in ended.text for part in (path.name, path.stem, path.parent.name)):
        raise Lost(f"{name} {what}: the message does not name it: {ended.text[-800:]}")
    if wrong := [one for one in half_written(theatre.home) if one != name]:
        raise Lost(f"half-written: {wrong}")
    path.write_bytes(before)
    finish(theatre, scene, f"{name} {what}")
    return f"{name}: {ended.code}"


def _may_be_hurt(path: Path) -> bool:
    plain = path.is_file() and not path.is_symlink() and path.stat().st_size > 0
    return plain and path.suffix not in (".log", ".yaml", ".png") and not path.name.startswith(".") and (
        path.name not in ("events.jsonl", "env.txt")
    )  # fmt: skip


def _is_input(name: str) -> bool:
    """Whether a file is the user's, whose values nobody but the user knows."""
    return name.startswith("raw/") or "/" not in name


# --- clocks, company and locks ---------------------------------------------------------------------------------


def clock(theatre: Theatre, scene: Scene, chance: random.Random) -> str:
    """The wall clock jumps while the job is at work; without a C compiler files are dated in other years."""
    jumps = [f"{chance.choice('+-')}{chance.choice((5, 3600, 86400 * 400, 86400 * 9000))}" for _ in range(3)]
    if theatre.clock is None:
        for path in theatre.home.rglob("*"):
            if path.is_file():
                date = time.time() + float(chance.choice(jumps))
                os.utime(path, (date, date))
        finish(theatre, scene, f"dates {jumps}")
        return "dates of files"
    set_clock(theatre.clock_file, int(jumps[0]))
    child = theatre.clock.start(theatre.order(scene))
    for jump in jumps[1:]:
        ends_within(child, moment(theatre, scene, chance, 0.6))
        set_clock(theatre.clock_file, int(jump))
    ended = child.wait(PATIENCE)
    set_clock(theatre.clock_file, 0)
    if ended.code != 0:
        raise Lost(f"clock {jumps}: {ended.code}: {ended.text[-1500:]}")
    if wrong := wrong_result(theatre, scene, f"after {jumps}"):
        raise Lost(wrong)
    finish(theatre, scene, f"clock {jumps}")
    return f"clock {' '.join(jumps)}"


def two_at_a_time(theatre: Theatre, scene: Scene, chance: random.Random) -> str:
    """The same command twice on one folder: one works, the other waits, says so, or finds it done."""
    first = theatre.nursery.start(theatre.order(scene))
    ends_within(first, chance.choice((0.0, moment(theatre, scene, chance, 0.8))))
    second = theatre.nursery.start(theatre.order(scene))
    ended = [first.wait(PATIENCE), second.wait(PATIENCE)]
    if all(one.code != 0 for one in ended):
        raise Lost(f"neither ended well: {ended[0].text[-900:]} --- {ended[1].text[-900:]}")
    for one in ended:
        if one.code != 0:
            one_clear_line(one, says="in use by|other process|another process|at work", codes=(1,))
    finish(theatre, scene, "two at a time")
    return "one was refused" if any(one.code for one in ended) else "both ended well"


def dead_lock(theatre: Theatre, scene: Scene, chance: random.Random) -> str:
    """A lock of another machine that is gone, one of a process that hangs, or no lock daemon at all."""
    kind = chance.choice(("left behind", "held", "no daemon"))
    if kind == "no daemon":
        order = theatre.order(scene, hook="tests.faults.hooks:no_locks")
        ended = theatre.nursery.start(order).wait(PATIENCE)
        if ended.code != 0:
            one_clear_line(ended, says="lock", codes=(1,))
        finish(theatre, scene, kind)
        return f"{kind} → {ended.code}"
    child = theatre.nursery.start(theatre.order(scene))
    ends_within(child, moment(theatre, scene, chance, 0.9))
    child.send(signal.SIGKILL)
    child.wait(PATIENCE)
    _quiet(theatre)
    folders = {folder.resolve() for pattern in scene.locks for folder in theatre.home.glob(pattern) if folder.is_dir()}
    locks = [folder / ".lock" for folder in sorted(folders)]
    handles = []
    for lock in locks:
        lock.write_text(json.dumps({"host": "node-that-is-gone", "pid": 4711}))
        if kind == "held":
            handles.append(os.open(lock, os.O_RDWR))
            fcntl.flock(handles[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        ended = theatre.nursery.start(theatre.order(scene)).wait(PATIENCE)
    finally:
        for handle in handles:
            os.close(handle)
    if ended.code != 0:
        one_clear_line(ended, says="in use by process 4711 on node-that-is-gone", codes=(1,))
        if kind == "left behind":
            raise Lost(f"a lock that nobody holds stopped it: {ended.text[-800:]}")
    finish(theatre, scene, f"a lock {kind}")
    return f"{kind} → {ended.code}"


Kind = Callable[[Theatre, Scene, random.Random], str]
KINDS: dict[str, Kind] = {
    "SIGKILL": killed,
    "stop signal": stopped,
    "full disk": full_disk,
    "file size limit": large_files,
    "read-only": read_only,
    "truncated file": truncated,
    "flipped bit": flipped,
    "clock jumps": clock,
    "two at a time": two_at_a_time,
    "dead lock": dead_lock,
}
NEEDS_MOUNT = ("full disk", "read-only")


def inject(theatre: Theatre, scene: Scene, kind: str, seed: str) -> Verdict:
    """Play a scene with one fault, at moments and places that the seed decides."""
    try:
        with theatre.play(scene):
            how = KINDS[kind](theatre, scene, random.Random(seed))
    except (Lost, TimeoutError) as loss:
        return Verdict(LOST, str(loss))
    except (OSError, ValueError, KeyError, AssertionError):
        return Verdict(LOST, f"the harness: {traceback.format_exc()}")
    return Verdict(ABSORBED if how.startswith(ABSORBED) else SURVIVED, how)
