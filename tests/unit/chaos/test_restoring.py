"""What a run that was killed has left beside its faults."""

import pytest

from chaos import cli, restoring
from chaos.restoring import left_standing, restore
from fixtures.kube.runner import RUNNER, runner_name
from reports.errors import EnvironmentProblem
from tests.unit.chaos.made_up_cluster import Cluster


@pytest.fixture
def cluster():
    return Cluster()


def test_restoring_removes_what_killed_checks_and_measurements_have_left(cluster):
    def space(name, runner):
        metadata = {"name": name, "labels": {}, "annotations": {RUNNER: runner}}
        cluster.objects["Namespace", name] = {"kind": "Namespace", "metadata": metadata}

    host = runner_name().partition("/")[0]
    space("meshproof-load-plain-1", f"{host}/{2**22 + 1}/1")
    space("meshproof-load-plain-2", runner_name())
    space("meshproof-load-plain-3", "elsewhere/1/1")
    assert [undo.arguments["namespace"] for undo in restore(cluster)] == ["meshproof-load-plain-1"]
    assert {name for kind, name in cluster.objects if kind == "Namespace"} == {
        "meshproof-load-plain-2",
        "meshproof-load-plain-3",
    }


@pytest.fixture
def others(cluster):
    """Namespaces of runs on other machines."""
    for name, runner in (("plain", "runner-7d@1a2b3c4d/57/991"), ("meshed", "runner-7d@1a2b3c4d/57/991"), ("in", "")):
        metadata = {"name": name, "labels": {}, "annotations": {RUNNER: runner} if runner else {}}
        cluster.objects["Namespace", name] = {"kind": "Namespace", "metadata": metadata}
    return cluster


def test_restoring_leaves_what_other_machines_made_and_names_it(others):
    assert restore(others, force=True) == []
    assert left_standing(others) == {"runner-7d": ["plain", "meshed"], "an unknown machine": ["in"]}


def test_restoring_everywhere_removes_what_other_machines_made(others):
    metadata = {"name": "mine", "labels": {}, "annotations": {RUNNER: runner_name()}}
    others.objects["Namespace", "mine"] = {"kind": "Namespace", "metadata": metadata}
    undone = restore(others, force=True, everywhere=True)
    assert [one.arguments["namespace"] for one in undone] == ["plain", "meshed", "in"]
    assert list(others.objects) == [("Namespace", "mine")]


def test_the_command_does_not_say_that_nothing_was_left_where_something_is(others, monkeypatch, capsys):
    monkeypatch.setattr("fixtures.kube.Kube.connect", lambda *_: others)
    cli.restore(force=True)
    told = capsys.readouterr().err
    assert "left, as the run on runner-7d that made them may be at work: plain, meshed; --all removes them too" in told
    assert "nothing was left" not in told
    cli.restore(force=True, everywhere=True)
    assert "3 entries taken back" in capsys.readouterr().err
    cli.restore(force=True)
    assert "nothing was left to take back" in capsys.readouterr().err


def test_only_the_command_that_knows_force_names_it(cluster, monkeypatch):
    def at_work(*_):
        return "runner-ab12cd", None

    monkeypatch.setattr(restoring, "alive", at_work)
    monkeypatch.setattr("fixtures.kube.Kube.connect", lambda *_: cluster)
    with pytest.raises(EnvironmentProblem, match="runner-ab12cd") as elsewhere:
        restore(cluster)
    assert elsewhere.value.fix == "wait for its end"
    with pytest.raises(EnvironmentProblem, match="runner-ab12cd") as here:
        cli.restore()
    assert "pass --force, which breaks that run off" in here.value.fix
