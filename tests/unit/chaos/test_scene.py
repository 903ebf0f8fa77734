"""What the scene looks at before an experiment may begin, on a cluster of nothing."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from chaos import scene as scenes
from chaos.log import LOG_NAMESPACE
from chaos.meshing import meshing
from chaos.objects import Forgery, outside
from chaos.settings import Settings
from conformance.adapters import load
from fixtures.kube import ApiProblem
from reports.errors import EnvironmentProblem


def made(monkeypatch, *sidecars):
    """A scene in which the client without rights has these containers beside its own."""
    for name in ("logged_namespace", "Driver", "Outsider"):
        monkeypatch.setattr(scenes, name, lambda *_: nullcontext())
    monkeypatch.setattr(scenes, "guard", lambda *_: nullcontext(lambda _: None))
    waited: list[str] = []
    monkeypatch.setattr(scenes, "wait_ready", lambda _, space, *__: waited.append(space))
    containers = [{"name": name} for name in ("prober", *sidecars)]
    kube: Any = SimpleNamespace(
        apply=lambda *_, **__: None,
        get=lambda *_: {"spec": {"containers": containers}, "metadata": {}},
        waited=waited,
    )
    return scenes.scene(kube, load("istio"), "image", Settings(), lambda _: None)


def test_a_client_without_rights_that_somebody_took_into_the_mesh_fails_no_mesh(monkeypatch):
    with (
        pytest.raises(EnvironmentProblem, match="prober is to be outside of the mesh"),
        made(monkeypatch, "istio-proxy"),
    ):
        pytest.fail("an experiment could begin")
    with made(monkeypatch):
        pass


def test_no_experiment_begins_before_the_janitor_looks(monkeypatch):
    with made(monkeypatch) as ready:
        assert ready.kube.waited[-1] == LOG_NAMESPACE


@pytest.mark.parametrize(
    ("mesh", "field", "mark"),
    [
        ("istio", "labels", ("sidecar.istio.io/inject", "false")),
        ("linkerd", "annotations", ("linkerd.io/inject", "disabled")),
    ],
)
def test_the_client_without_rights_says_that_it_stays_out(mesh, field, mark):
    (pod,) = outside("out", "image", "echo:80", Forgery(""), meshing(mesh))
    assert mark in pod["metadata"][field].items()


@pytest.mark.parametrize(("holder", "taken"), [("me", False), ("other", True), ("", True)])
def test_nothing_is_broken_by_a_run_that_was_overtaken(holder, taken):
    kube: Any = SimpleNamespace(get=lambda *_: {"spec": {"holderIdentity": holder}})
    nothing: Any = None
    ready = scenes.Scene(kube, nothing, "x", nothing, nothing, Settings(), holder="me")
    with pytest.raises(EnvironmentProblem, match="taken this cluster over") if taken else nullcontext():
        ready.expect_held()


def test_events_are_those_of_both_namespaces_or_unknown():
    def refuse(*_):
        raise ApiProblem("events are not for you", status=403)

    nothing: Any = SimpleNamespace(namespace="out")
    kube: Any = SimpleNamespace(list=lambda _, kind, space: [{kind: space}])
    ready = scenes.Scene(kube, nothing, "in", nothing, nothing, Settings())
    assert ready.events() == [{"Event": "in"}, {"Event": "out"}]
    kube.list = refuse
    assert ready.events() is None
