"""All wrong inputs."""

from __future__ import annotations

from tests.badinput.configs import COMMANDS, CONFIGS
from tests.badinput.pictures import PICTURES, SERIES
from tests.badinput.raws import RAWS
from tests.badinput.runs import RUNS, STORES

CASES = [*CONFIGS, *COMMANDS, *RAWS, *PICTURES, *SERIES, *STORES, *RUNS]
