"""Faults drawn evenly over jobs and kinds, and the table of how they ended."""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.faults.kinds import ABSORBED, KINDS, LOST, NEEDS_MOUNT, SURVIVED, Verdict, inject
from tests.faults.scenes import SCENES, Theatre, uninterrupted


@dataclass(frozen=True)
class Injected:
    """One fault and how it ended."""

    number: int
    job: str
    kind: str
    verdict: Verdict


def draw(count: int, seed: int, jobs: Sequence[str], kinds: Sequence[str]) -> list[tuple[str, str]]:
    """Return ``count`` pairs of job and kind: every pair in turn, those of short jobs more often, in random order."""
    pool: list[tuple[str, str]] = []
    turn = 0
    while len(pool) < count:
        pool += [(job, kind) for job in jobs for kind in kinds if turn % 4 < SCENES[job].weight]
        turn += 1
    # Whole turns come first, so that no pair is left out for another's second one.
    chosen = pool[:count]
    random.Random(seed).shuffle(chosen)
    return chosen


def run(theatre: Theatre, pairs: Sequence[tuple[str, str]], seed: int) -> Iterator[Injected]:
    """Inject one fault after the other."""
    for number, (job, kind) in enumerate(pairs):
        scene = SCENES[job]
        if job not in theatre.expected:
            uninterrupted(theatre, scene)
        yield Injected(number, job, kind, inject(theatre, scene, kind, f"{seed}/{number}"))


def possible(theatre: Theatre) -> list[str]:
    """Return the kinds of faults that can be injected here; full and closed disks need root."""
    return [kind for kind in KINDS if theatre.mounted or kind not in NEEDS_MOUNT]


def table(done: Sequence[Injected]) -> str:
    """Return the table job × fault, with ``injected/survived`` and losses, as Markdown."""
    kinds = [kind for kind in KINDS if any(one.kind == kind for one in done)]
    jobs = [job for job in SCENES if any(one.job == job for one in done)]
    rows = [f"| job | {' | '.join(kinds)} | injected | survived | lost |", f"|---|{'--:|' * (len(kinds) + 3)}"]
    for job in (*jobs, "all"):
        mine = [one for one in done if job in (one.job, "all")]
        cells = [_cell([one for one in mine if one.kind == kind]) for kind in kinds]
        ends = Counter(one.verdict.outcome for one in mine)
        kept = ends[SURVIVED] + ends[ABSORBED]
        rows.append(f"| {job} | {' | '.join(cells)} | {len(mine)} | {kept} | {ends[LOST]} |")
    return "\n".join(rows)


def _cell(some: Sequence[Injected]) -> str:
    lost = sum(one.verdict.outcome == LOST for one in some)
    return f"{len(some)}" + (f" (**{lost} lost**)" if lost else "")


def record(path: Path, one: Injected) -> None:
    """Append a fault to a file of JSON lines."""
    with suppress(OSError), path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(asdict(one), ensure_ascii=False) + "\n")


def tell(one: Injected) -> None:
    """Print a fault as it ended."""
    text = one.verdict.how if one.verdict.outcome == LOST else one.verdict.how[:100]
    print(f"{one.number:4d} {one.job:14s} {one.kind:16s} {one.verdict.outcome:12s} {text}", file=sys.stderr, flush=True)
