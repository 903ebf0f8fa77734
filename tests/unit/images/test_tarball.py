from __future__ import annotations

import hashlib
import importlib.util
import marshal
import os
import sys
import tarfile
from pathlib import Path, PurePosixPath
from types import CodeType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.images.plan import Directory, File, Link, Plan, Text
from fixtures.images.tarball import byte_code, byte_code_path, pack


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    source = tmp_path / "module.py"
    source.write_text("answer = 42\n")
    plan = Plan()
    plan.add("/app/module.py", File(source))
    plan.add("/app/template.py", Text(b"{% not python %}"))
    plan.add("/bin/tool", File(source, executable=True))
    plan.add("/tmp", Directory(0o1777))
    plan.add("/tmp/inside", Text(b"", 0o600))
    plan.add("/lib", Link("usr/lib"))
    return plan


def test_the_same_plan_gives_the_same_bytes_whatever_the_dates_and_the_order(plan: Plan, tmp_path: Path) -> None:
    first = pack(plan, tmp_path / "one.tar")
    os.utime(tmp_path / "module.py", (1, 1))
    second = pack(Plan(dict(reversed(plan.entries.items()))), tmp_path / "two.tar")
    data = (tmp_path / "one.tar").read_bytes()
    assert first == second == hashlib.sha256(data).hexdigest()
    assert data == (tmp_path / "two.tar").read_bytes()


def test_entries_belong_to_root_have_no_date_and_come_after_their_folders(plan: Plan, tmp_path: Path) -> None:
    pack(plan, tmp_path / "layer.tar")
    with tarfile.open(tmp_path / "layer.tar") as tar:
        members = tar.getmembers()
    assert {(one.uid, one.gid, one.mtime, one.uname) for one in members} == {(0, 0, 0, "")}
    names = [one.name for one in members]
    assert len(names) == len(set(names))
    for at, name in enumerate(names):
        parent = str(PurePosixPath(name).parent)
        assert parent == "." or parent in names[:at], name
    modes = {one.name: one.mode for one in members}
    assert (modes["tmp"], modes["tmp/inside"], modes["bin/tool"], modes["app/module.py"]) == (
        0o1777,
        0o600,
        0o755,
        0o644,
    )
    assert {one.name: one.linkname for one in members if one.issym()} == {"lib": "usr/lib"}


def test_python_gets_byte_code_that_the_interpreter_takes_without_looking_at_the_source(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "pycache_prefix", None)  # as in the image
    pack(plan, tmp_path / "layer.tar")
    beside = str(byte_code_path(PurePosixPath("app/module.py")))
    assert beside == importlib.util.cache_from_source("app/module.py")
    with tarfile.open(tmp_path / "layer.tar") as tar:
        held = tar.extractfile(beside)
        assert held is not None
        data = held.read()
        assert not [name for name in tar.getnames() if "__pycache__/template" in name]
    assert data[:4] == importlib.util.MAGIC_NUMBER
    assert int.from_bytes(data[4:8], "little") == 1  # by hash, and not compared when it is loaded
    code = marshal.loads(data[16:])
    assert isinstance(code, CodeType)
    assert code.co_filename == "/app/module.py"
    names: dict[str, object] = {}
    exec(code, names)
    assert names["answer"] == 42


def test_a_module_that_is_given_as_text_gets_byte_code_too(tmp_path: Path) -> None:
    plan = Plan()
    plan.add("/app/__init__.py", Text(b""))
    pack(plan, tmp_path / "layer.tar")
    with tarfile.open(tmp_path / "layer.tar") as tar:
        assert str(byte_code_path(PurePosixPath("app/__init__.py"))) in tar.getnames()


@given(st.binary(max_size=80))
def test_no_source_breaks_the_compiler(source: bytes) -> None:
    assert isinstance(byte_code(source, "/app/any.py"), bytes | None)
