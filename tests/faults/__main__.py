"""Inject faults into all jobs and print the table: ``python -m tests.faults [count] [seed] [--jobs a,b]``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.faults.harness import draw, possible, record, run, table, tell
from tests.faults.kinds import ABSORBED, LOST
from tests.faults.scenes import SCENES, theatre


def main() -> int:
    """Return 1 if a fault did harm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=340)
    parser.add_argument("seed", type=int, nargs="?", default=1)
    parser.add_argument("--jobs", default=",".join(SCENES))
    parser.add_argument("--kinds", default="")
    parser.add_argument("--record", type=Path, help="file of JSON lines to append each fault to")
    typed = parser.parse_args()
    done = []
    with theatre() as made:
        kinds = [kind for kind in possible(made) if not typed.kinds or kind in typed.kinds.split(",")]
        pairs = draw(typed.count, typed.seed, typed.jobs.split(","), kinds)
        for one in run(made, pairs, typed.seed):
            tell(one)
            done.append(one)
            if typed.record:
                record(typed.record, one)
    lost = [one for one in done if one.verdict.outcome == LOST]
    other = sum(one.verdict.outcome == ABSORBED for one in done)
    print(table(done))
    print(
        f"\n{len(done)} faults, {len(lost)} lost; {other} changed a value of a user's own file, which was read as such"
    )
    return int(bool(lost))


if __name__ == "__main__":
    sys.exit(main())
