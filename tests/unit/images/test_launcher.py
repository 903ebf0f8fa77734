"""The launcher knows the distribution's packages before there is a Python to ask: both lists must agree."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fixtures.cluster import HOST_PACKAGES

LAUNCHER = Path(__file__).resolve().parents[3] / "meshproof"

FOR_THE_LAUNCHER = {"ca-certificates", "python3-venv"}
"""What setting up needs by itself: to reach the package index, and to make an environment."""


def test_the_launcher_installs_what_the_embedded_cluster_calls() -> None:
    found = re.search(r'^HOST_PACKAGES="([^"]*)"$', LAUNCHER.read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    assert set(found[1].split()) == {*HOST_PACKAGES.values(), *FOR_THE_LAUNCHER}
    assert found[1].split() == sorted(set(found[1].split()))


@pytest.mark.parametrize("shell", [name for name in ("sh", "dash", "bash") if shutil.which(name)])
def test_the_launcher_is_a_program_that_posix_shells_read(shell: str) -> None:
    assert LAUNCHER.read_text(encoding="utf-8").startswith("#!/bin/sh\n")
    assert LAUNCHER.stat().st_mode & 0o111 == 0o111
    done = subprocess.run([shell, "-n", str(LAUNCHER)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
