"""A cluster that could not be started."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.cluster import programs
from fixtures.cluster.embedded import cgroups, preflight, provider, record
from fixtures.cluster.embedded.provider import EmbeddedProvider
from reports.errors import EnvironmentProblem


@pytest.mark.parametrize("error", [EnvironmentProblem("no addresses are left"), KeyboardInterrupt()])
def test_logs_that_cannot_be_kept_hide_no_error_and_leave_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: BaseException
) -> None:
    def start(name: str, *_: object) -> None:
        (record.clusters_dir() / name).mkdir(parents=True)  # and no logs in it yet
        raise error

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(preflight, "check", lambda: None)
    monkeypatch.setattr(programs, "ensure", lambda _: None)
    monkeypatch.setattr(provider, "make_room", lambda: None)
    monkeypatch.setattr(provider, "_parts", lambda: None)
    monkeypatch.setattr(cgroups, "mounted", list)
    monkeypatch.setattr(provider, "start", start)
    with pytest.raises(type(error)) as raised:
        EmbeddedProvider().create("half")
    assert raised.value is error
    assert not (record.clusters_dir() / "half").exists()
