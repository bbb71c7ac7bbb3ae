"""No package that is locked has a known vulnerability, as far as the advisory service can be asked."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow
EXPORT = ("export", "--quiet", "--locked", "--no-hashes", "--all-extras", "--no-emit-project", "--output-file")
AUDIT = ("run", "--quiet", "--no-project", "--with", "pip-audit", "pip-audit", "--no-deps", "--disable-pip")


def test_no_known_vulnerability(tmp_path: Path) -> None:
    uv = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
    if not Path(uv).exists():
        pytest.skip("uv is not here")
    listing = tmp_path / "requirements.txt"
    subprocess.run([uv, *EXPORT, str(listing)], cwd=ROOT, check=True, capture_output=True)
    command = [uv, *AUDIT, "--format", "json", "--progress-spinner", "off", "--requirement", str(listing)]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, subprocess.TimeoutExpired):
        pytest.skip("pip-audit cannot be had, or the advisory service cannot be reached")
    asked = [one for one in found if "skip_reason" not in one]
    if len(asked) < len(found) / 2:
        pytest.skip(f"the advisory service knew {len(asked)} of {len(found)} packages: it is not the real one")
    vulnerable = {one["name"]: [item["id"] for item in one["vulns"]] for one in asked if one["vulns"]}
    assert not vulnerable
