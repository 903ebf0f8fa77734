from __future__ import annotations

import sys
from pathlib import Path

import pytest

from reports.commands import command, program


def test_what_was_not_given_is_left_out_and_lists_are_repeated():
    flags = {"--a": None, "--b": "", "--c": False, "--d": True, "--e": ["x=1", "y=it's"], "--f": Path("/k"), "--g": 0}
    assert command(["do", "it"], flags) == "do it --d --e x=1 --e 'y=it'\"'\"'s' --f /k --g 0"


def test_a_program_of_an_environment_that_is_not_active_has_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours, theirs):
        folder.mkdir()
        (folder / "pytest").touch(mode=0o700)
    monkeypatch.setattr(sys, "executable", str(ours / "python"))
    monkeypatch.setenv("PATH", str(theirs))
    assert program("pytest") == str(ours / "pytest")
    assert command(["pytest", "x"], {}) == f"{ours}/pytest x"
    monkeypatch.setenv("PATH", f"{ours}:{theirs}")
    assert program("pytest") == "pytest"
    assert program("elsewhere") == "elsewhere"
