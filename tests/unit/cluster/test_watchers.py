from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.cluster.watchers import INSTANCES, make_room
from reports.errors import EnvironmentProblem


@pytest.mark.parametrize(("before", "after"), [("128\n", INSTANCES), ("1024\n", INSTANCES), ("65536\n", 65536)])
def test_the_limit_is_raised_and_never_lowered(tmp_path: Path, before: str, after: int) -> None:
    limit = tmp_path / "max_user_instances"
    limit.write_text(before)
    make_room(limit)
    assert int(limit.read_text()) == after


def test_a_kernel_without_the_limit_needs_none(tmp_path: Path) -> None:
    make_room(tmp_path / "missing")
    assert not (tmp_path / "missing").exists()


def test_a_low_limit_that_cannot_be_raised_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    low, enough = tmp_path / "low", tmp_path / "enough"
    low.write_text("128\n")
    enough.write_text("1024\n")

    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(EnvironmentProblem, match=r"128, is too low .* cannot be raised: Read-only file system"):
        make_room(low)
    make_room(enough)


def test_injected_pods_of_a_few_clusters_have_room() -> None:
    """One for each container, with control groups of version 2: sandbox, application and proxy."""
    assert INSTANCES > 8 * (17 + 3 * 240)
