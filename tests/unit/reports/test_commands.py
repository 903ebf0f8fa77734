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


def test_a_clone_is_told_by_its_launcher_and_names_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ours = tmp_path / ".venv" / "bin"
    ours.mkdir(parents=True)
    for place in (ours / "meshproof", ours / "pytest", tmp_path / "meshproof"):
        place.touch(mode=0o700)
    monkeypatch.setattr(sys, "executable", str(ours / "python"))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("MESHPROOF_PROGRAM", "./meshproof")
    assert command(["meshproof", "run"], {"--only": "WT-01"}) == "./meshproof run --only WT-01"
    assert program("pytest") == str(ours / "pytest")
    monkeypatch.setenv("MESHPROOF_PROGRAM", str(tmp_path / "meshproof"))
    for on_the_path in (tmp_path, ours):
        monkeypatch.setenv("PATH", str(on_the_path))
        assert program("meshproof") == "meshproof"
