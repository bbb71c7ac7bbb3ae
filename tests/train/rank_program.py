"""One rank of several, as :mod:`tests.train.test_ranks` starts them."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from pipeline.core import logs
from pipeline.core.errors import IsobarError
from pipeline.core.interrupt import Interrupt
from pipeline.core.run import RunFolder
from pipeline.train.config import TrainConfig
from pipeline.train.ranks import joined
from pipeline.train.stage import train


class _Accident(Interrupt):
    """Sends this process a signal when it asks for the n-th time whether to stop."""

    def __init__(self, number: int, after: int) -> None:
        super().__init__()
        self._number, self._left = number, after

    def requested(self) -> bool:
        """Tell whether to stop."""
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), self._number)
        return super().requested()


def rank(variables: dict[str, str], listed: Path) -> None:
    """Train each entry of the list (name, store, settings, and which rank gets what signal when); then exit."""
    os.environ.update(variables)
    # What a process of the test printed is no concern of the reader's.
    sys.stderr = (listed.parent / f"rank{variables['RANK']}.log").open("a", encoding="utf-8", buffering=1)
    logs.start()
    try:
        _train(json.loads(listed.read_text(encoding="utf-8")), listed.parent)
    except IsobarError as error:
        logs.log.error("%s", error)
        sys.exit(error.exit_code)


def _train(entries: list[dict[str, object]], folder: Path) -> None:
    first = TrainConfig.model_validate(entries[0]["train"])
    with joined(first) as ranks:
        for entry in entries:
            run, accident = RunFolder(folder / str(entry["name"])), entry.get("accident")
            interrupt = Interrupt()
            if isinstance(accident, list) and accident[0] == ranks.launch.rank:
                interrupt = _Accident(getattr(signal, accident[1]), accident[2])
            interrupt.install()
            if ranks.leads:
                run.begin("x: 1\n")
            settings = TrainConfig.model_validate(entry["train"])
            train(settings, Path(str(entry["store"])), run, interrupt, folder, ranks=ranks)
