from __future__ import annotations

import pytest

from tests.unit.conformance.pytest_runs import Runs


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Run pytest with these arguments."""
    return Runs(capfd, monkeypatch)
