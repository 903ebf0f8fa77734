"""Undoing a fault when something else goes wrong at the same time."""

import os
import signal
import time
from types import SimpleNamespace
from typing import Any

import pytest

from chaos import runner, suite
from chaos.experiment import Setup
from chaos.faults import ScaleToZero
from chaos.guard import guard
from chaos.log import LOG_NAMESPACE, pending
from chaos.restoring import restore
from chaos.runner import NotTakenBack, injected, uninterrupted
from chaos.wal import append
from fixtures.kube.runner import RUNNER, runner_name
from reports.errors import EnvironmentProblem


class Cluster:
    """Keeps objects by kind and name; `away` counts the calls that it will not answer."""

    def __init__(self):
        self.objects = {}
        self.away = 0

    def _answer(self):
        if self.away:
            self.away -= 1
            raise EnvironmentProblem("the API server is away")

    def apply(self, *objects):
        self._answer()
        for one in objects:
            if one["kind"] == "Lease" and ("Namespace", LOG_NAMESPACE) not in self.objects:
                raise EnvironmentProblem("forbidden: the namespace is being terminated")
            self.objects[one["kind"], one["metadata"]["name"]] = one
        return list(objects)

    def create_namespace(self, name):
        self.apply({"kind": "Namespace", "metadata": {"name": name}})

    def get(self, _, kind, name, _namespace=None):
        self._answer()
        return self.objects.get((kind, name))

    def list(self, _, kind, _namespace=None, selector=""):  # noqa: ARG002
        self._answer()
        return [one for (its, _name), one in self.objects.items() if its == kind]

    def patch(self, _, kind, name, body, _namespace=None, subresource=""):
        assert subresource == "scale"
        self._answer()
        self.objects[kind, name] = {**self.objects[kind, name], "spec": body["spec"]}
        return {}

    def delete(self, _, kind, name, _namespace=None, **_grace):
        self._answer()
        if kind == "Namespace":
            self.objects.pop(("Lease", "runner"), None)
        return self.objects.pop((kind, name), None) is not None


@pytest.fixture
def cluster():
    one = Cluster()
    one.objects["Deployment", "plane"] = {
        "kind": "Deployment", "metadata": {"name": "plane"}, "spec": {"replicas": 2, "selector": {}},
    }  # fmt: skip
    return one


def fault():
    return ScaleToZero("mesh", "plane")


def begun(cluster):
    """A fault in force, its undo in the log, and nobody in charge of it."""
    append(cluster, fault().plan(cluster))
    fault().inject(cluster)


def replicas(cluster):
    return cluster.objects["Deployment", "plane"]["spec"]["replicas"]


def test_an_api_server_that_is_away_for_a_moment_does_not_leave_a_fault_behind(cluster):
    with injected(cluster, fault()):
        assert replicas(cluster) == 0
        cluster.away = 2
    assert replicas(cluster) == 2
    assert pending(cluster) == []


def test_a_fault_that_cannot_be_taken_back_keeps_its_entry(cluster, monkeypatch):
    monkeypatch.setattr(runner, "UNDO_SECONDS", 0.2)
    with pytest.raises(NotTakenBack, match="away"), injected(cluster, fault()):
        cluster.away = 50
    cluster.away = 0
    assert [entry.undo.fault for entry in pending(cluster)] == ["scale-to-zero"]


def test_the_guard_takes_back_what_is_left(cluster):
    with guard(cluster, "image", "me"):
        begun(cluster)
    assert replicas(cluster) == 2
    assert ("Namespace", LOG_NAMESPACE) not in cluster.objects


def test_the_log_and_the_janitor_stay_where_a_fault_is_in_force(cluster, monkeypatch):
    def refused(*_, **__):
        raise EnvironmentProblem("no")

    def run():
        with guard(cluster, "image", "me"):
            begun(cluster)
            monkeypatch.setattr(cluster, "patch", refused)

    with pytest.raises(EnvironmentProblem, match="not taken back") as raised:
        run()
    assert "chaos restore" in raised.value.fix
    assert {("Namespace", LOG_NAMESPACE), ("Deployment", "meshproof-janitor")} <= set(cluster.objects)
    assert len(pending(cluster)) == 1


def test_no_experiment_follows_a_fault_that_is_in_force(monkeypatch):
    def conduct(*_):
        raise NotTakenBack("it is still there")

    monkeypatch.setattr(suite, "conduct", conduct)
    ready: Any = SimpleNamespace(adapter=SimpleNamespace(name="refmesh"))
    experiment: Any = SimpleNamespace(id="C1", prepare=lambda _: None)
    with pytest.raises(NotTakenBack):
        suite._one(ready, experiment, lambda _: None)


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_no_signal_cuts_an_undo_in_half(number):
    def interrupt(*_):
        raise KeyboardInterrupt

    before = {one: signal.signal(one, interrupt) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    done = []

    def undo():
        with uninterrupted():
            os.kill(os.getpid(), number)
            done.append("undone")

    try:
        with pytest.raises(KeyboardInterrupt):
            undo()
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    assert done == ["undone"]


STEADY: Any = SimpleNamespace(steady=lambda _span: True)
"""A load that is always steady."""


def test_recovery_begins_no_earlier_than_what_must_hold_beside_the_traffic(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    monkeypatch.setattr(runner, "eventually", lambda probe, **_: any(probe() for _ in range(99)))

    def recovered():
        now[0] += 0.5
        return now[0] > 104

    setup = Setup(fault=fault(), url="http://echo/", recovered=recovered)
    assert runner._recovery(STEADY, setup, 100.0, 1.0, 25.0) == 104.0


def test_recovery_at_once_where_nothing_else_must_hold(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "time", lambda: now[0])

    def poll(probe, **_):
        while not probe():
            now[0] += 0.25
        return True

    monkeypatch.setattr(runner, "eventually", poll)
    assert runner._recovery(STEADY, Setup(fault=fault(), url="http://echo/"), 100.0, 1.0, 25.0) == 100.0
