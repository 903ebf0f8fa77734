from __future__ import annotations

from pathlib import Path

import pytest

from conformance.adapters import load
from tests.unit.conformance.judged import Judged
from tests.unit.conformance.pytest_runs import Runs


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Run pytest with these arguments."""
    return Runs(capfd, monkeypatch)


@pytest.fixture
def suite(run: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Judged:
    there = {"problem": lambda *_: "", "version": lambda *_: "1", "control_plane": lambda _: None}
    for name, value in there.items():
        monkeypatch.setattr(type(load("linkerd")), name, value)
    return Judged(run, tmp_path, monkeypatch)
