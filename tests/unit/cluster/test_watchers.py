from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.cluster.embedded.watchers import INSTANCES, make_room
from reports.errors import EnvironmentProblem


@pytest.mark.parametrize(("before", "after"), [("128\n", INSTANCES), ("1024\n", 1024), ("8192\n", 8192)])
def test_the_limit_is_raised_and_never_lowered(tmp_path: Path, before: str, after: int) -> None:
    limit = tmp_path / "max_user_instances"
    limit.write_text(before)
    make_room(limit)
    assert int(limit.read_text()) == after


def test_a_kernel_without_the_limit_needs_none(tmp_path: Path) -> None:
    make_room(tmp_path / "missing")
    assert not (tmp_path / "missing").exists()


def test_a_limit_that_cannot_be_raised_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "max_user_instances"
    limit.write_text("128\n")

    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(EnvironmentProblem, match="cannot be raised: Read-only file system"):
        make_room(limit)
