"""Checks of one ground go to one worker, with the pytest and the xdist that are installed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from conformance.catalogue import checks
from meshproof_cli.processes import module_command, module_environment

MODULE = """
import pytest
@pytest.mark.parametrize("one", {ids!r})
def test_mesh(one):
    pass
"""


def test_a_ground_stays_on_one_worker(tmp_path: Path) -> None:
    every = checks()
    grounds = {one.id: one.ground for one in every}
    (tmp_path / "test_mesh.py").write_text(MODULE.format(ids=[one.id for one in every]))
    done = subprocess.run(
        module_command(
            "pytest", "-v", "-c", "/dev/null", "--rootdir", str(tmp_path), "-p", "no:cacheprovider",
            "-p", "meshproof_cli.scheduling", "-n", "2", "--dist", "loadgroup", str(tmp_path),
        ),
        capture_output=True, text=True, env=module_environment(), cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    placed: dict[str, set[str]] = {}
    for worker, one in re.findall(r"\[(gw\d)\].*PASSED.*\[([A-Z]+-\d+)", done.stdout):
        placed.setdefault(grounds[one], set()).add(worker)
    assert set(placed) == set(grounds.values())
    assert all(len(workers) == 1 for workers in placed.values())
