"""Try every wrong input and print the table of what was said: ``python -m tests.badinput [kind or name]``."""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.badinput.ground import Grounds, errors, meet
from tests.badinput.table import CASES
from tests.faults.nursery import nursery


def main() -> int:
    """Return 1 if a case was not answered as it must be."""
    wanted, wrong, count = sys.argv[1:], 0, Counter[str]()
    print("| kind | what is wrong | job | exit | what is said |\n|---|---|---|--:|---|")
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        root = Path(name)
        with nursery(root / "said") as processes:
            grounds = Grounds(root / "grounds", processes)
            for number, case in enumerate(CASES):
                if wanted and case.kind not in wanted and not any(word in case.name for word in wanted):
                    continue
                began, home = time.monotonic(), root / f"case{number}"
                try:
                    ended = meet(case, grounds, home)
                except AssertionError as failure:
                    wrong += 1
                    print(f"WRONG {case.kind}: {case.name}: {str(failure)[:1500]}", file=sys.stderr, flush=True)
                    continue
                count[case.kind] += 1
                text = " ⏎ ".join(errors(ended)).replace(f"{home}/", "").replace("|", "\\|")
                print(f"| {case.kind} | {case.name} | {case.job} | {ended.code} | {text} |", flush=True)
                if time.monotonic() - began > 10:
                    print(f"slow: {case.name} {time.monotonic() - began:.1f} s", file=sys.stderr)
    rows = ", ".join(f"{number} {kind}" for kind, number in count.items())
    print(f"\n{sum(count.values())} wrong inputs answered as expected ({rows}); {wrong} not")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
