from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.cluster.embedded import cgroups, host, provider, record
from fixtures.cluster.embedded.provider import EmbeddedProvider
from fixtures.cluster.embedded.record import Process, Record
from fixtures.cluster.locks import exclusive
from reports.errors import UsageProblem


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "cgroup").mkdir()
    monkeypatch.setattr(cgroups, "mounted", lambda: [cgroups.Hierarchy(tmp_path / "cgroup", ["memory"])])
    return record.clusters_dir()


def me() -> Process:
    start = host.process_start(os.getpid())
    assert start is not None
    return Process(os.getpid(), start)


def gone() -> Process:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return Process(process.pid, 1)


def put(state: Path, name: str, **fields: object) -> Path:
    directory = state / name
    directory.mkdir(parents=True)
    record.write(directory, Record(name=name, cgroup=record.cgroup_name(name), **fields))  # type: ignore[arg-type]
    return directory


def test_a_record_is_read_as_it_was_written(state: Path) -> None:
    directory = put(state, "one", number=3, init=me(), owner=gone(), ready=True)
    known = record.read(directory)
    assert known is not None
    assert known.init == me()
    assert known.number == 3
    assert not known.wanted


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"name": 1, "surprise": 2}', '{"starter": 5}', "null"])
def test_a_record_that_cannot_be_read_is_none(state: Path, text: str) -> None:
    state.mkdir(parents=True)
    (state / "cluster.json").write_text(text)
    assert record.read(state) is None


def test_the_sweep_removes_the_dead_and_the_half_made_only(state: Path) -> None:
    put(state, "alive", init=me(), ready=True)
    put(state, "owned", init=me(), owner=me(), ready=True)
    put(state, "dead", init=gone(), ready=True)
    put(state, "half")
    (state / "empty").mkdir()
    assert sorted(EmbeddedProvider().sweep()) == ["dead", "empty", "half"]
    assert sorted(path.name for path in state.iterdir() if path.name[0] != ".") == ["alive", "owned"]
    assert [cluster.name for cluster in EmbeddedProvider().list()] == ["alive", "owned"]


def test_the_sweep_lets_a_cluster_be_made(state: Path) -> None:
    put(state, "making")
    with exclusive(state / ".locks" / "making"):
        assert EmbeddedProvider().sweep() == []
    assert EmbeddedProvider().sweep() == ["making"]


def test_the_sweep_finds_what_has_no_state_any_more(state: Path, tmp_path: Path) -> None:
    (state / ".one.4711").mkdir(parents=True)
    group = tmp_path / "cgroup" / record.cgroup_name("two")
    group.mkdir()
    assert sorted(EmbeddedProvider().sweep()) == ["one", "two"]
    assert not (state / ".one.4711").exists()
    assert not group.exists()
    assert EmbeddedProvider().sweep() == []


def test_a_cluster_of_another_state_directory_has_another_group(monkeypatch: pytest.MonkeyPatch) -> None:
    one = record.cgroup_name("same")
    monkeypatch.setenv("XDG_STATE_HOME", "/elsewhere")
    assert record.cgroup_name("same") != one


def test_unknown_clusters_are_named_with_those_there_are(state: Path) -> None:
    put(state, "alive", init=me(), ready=True)
    for call in (EmbeddedProvider().kubeconfig, EmbeddedProvider().delete, EmbeddedProvider().node_process):
        with pytest.raises(UsageProblem) as caught:
            call("other")
        assert "alive" in caught.value.fix


def test_a_failed_create_leaves_its_logs_and_nothing_else(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, *_: object) -> None:
        directory = put(state, name)
        (directory / "logs").mkdir()
        (directory / "logs" / "etcd.log").write_text("no")
        raise RuntimeError("broken")

    monkeypatch.setattr("fixtures.cluster.embedded.preflight.check", lambda: None)
    monkeypatch.setattr("fixtures.cluster.programs.ensure", lambda _: None)
    monkeypatch.setattr(provider, "make_room", lambda: None)
    monkeypatch.setattr(provider, "_parts", lambda: None)
    monkeypatch.setattr(provider, "start", fail)
    with pytest.raises(RuntimeError, match="broken"):
        EmbeddedProvider().create("one")
    assert not (state / "one").exists()
    assert (record.failed_logs("one") / "etcd.log").read_text() == "no"


def test_a_configuration_file_is_refused() -> None:
    with pytest.raises(UsageProblem, match="takes no configuration"):
        EmbeddedProvider().create("one", Path("kind.yaml"))
