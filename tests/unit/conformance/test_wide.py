"""The control plane away and replaced: judges, turns of processes, and that it is put back whatever happens."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from conformance.checks import wide
from conformance.checks.capture_judges import Admitted
from conformance.checks.lifecycle_judges import Load
from conformance.checks.wide import Away, upgrade
from conformance.checks.wide_judges import Down, Upgrade, judge_down, judge_upgrade
from conformance.outage import UNDO, Turns, restore, stopped
from fixtures.kube.runner import RUNNER, runner_name
from reports.model import Verdict

PASS, FAIL, OPEN = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
INJECTED = Admitted("a pod", "", ("proxy", "shop"), ("proxy",))
PLAIN = Admitted("a pod", "", ("shop",))
REFUSED = Admitted("a pod", "failed calling webhook")
CLOSED = Down(("Fail", "Fail"), REFUSED, INJECTED)


@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        (CLOSED, PASS),
        (Down(("Ignore",), PLAIN, INJECTED), PASS),
        (Down((), PLAIN, PLAIN), FAIL),  # plain Kubernetes
        (replace(CLOSED, during=PLAIN), FAIL),  # declared closed, is open
        (Down(("Ignore",), REFUSED, INJECTED), FAIL),
        (replace(CLOSED, after=PLAIN), FAIL),  # never heals
        (replace(CLOSED, after=REFUSED), FAIL),
        (replace(CLOSED, after=Admitted("a pod", 'pods "a" is forbidden: exceeded quota: q')), OPEN),
        (replace(CLOSED, during=INJECTED), OPEN),
        (replace(CLOSED, declared=("Fail", "Ignore")), OPEN),
    ],
)
def test_without_an_injector_pods_fare_as_declared(history, verdict):
    assert judge_down(history).verdict is verdict


LOAD = Load(160, (), ("server",))
UPGRADE = Upgrade(4.0, LOAD, LOAD, 40.0, True, LOAD, True)


@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        (UPGRADE, PASS),
        (replace(UPGRADE, replaced=None), FAIL),  # plain Kubernetes
        (replace(UPGRADE, replaced=False), OPEN),  # an old pod of it took too long to end
        (replace(UPGRADE, kept=replace(LOAD, errors=("status 503",))), FAIL),  # its loss stops traffic
        (replace(UPGRADE, fresh=replace(LOAD, errors=("reset",))), FAIL),
        (replace(UPGRADE, kept=replace(LOAD, queued=9), fresh=replace(LOAD, errors=("reset",))), FAIL),
        (replace(UPGRADE, replaced=False, rollout=replace(LOAD, errors=("reset",))), FAIL),
        (replace(UPGRADE, rollout=replace(LOAD, errors=("reset",))), FAIL),
        (replace(UPGRADE, in_force=False), FAIL),
        (replace(UPGRADE, kept=Load(3, (), ())), OPEN),
        (replace(UPGRADE, fresh=Load(0, (), ())), OPEN),  # all of them hang, and leave no record
        (replace(UPGRADE, fresh=replace(LOAD, sent=120)), OPEN),  # some do
        (replace(UPGRADE, fresh=replace(LOAD, queued=1)), OPEN),
        (replace(UPGRADE, rollout=Load(3, (), ())), OPEN),
        (replace(UPGRADE, injected=True), OPEN),  # another control plane is there
        (replace(UPGRADE, injected=True, kept=replace(LOAD, errors=("status 503",))), FAIL),
    ],
)
def test_requests_do_not_notice_the_control_plane(history, verdict):
    assert judge_upgrade(history).verdict is verdict


def test_whoever_was_away_is_named_and_replaced(monkeypatch):
    """A second revision, or Linkerd's injector, has a Deployment of its own."""
    monkeypatch.setattr(wide, "marked", lambda *_: (None, None))
    ours = ("mesh", "plane"), ("mesh", "injector")
    changed: list[str] = []

    @contextlib.contextmanager
    def start(_: object):
        yield SimpleNamespace(finish=list)

    def pods(_: str, kind: str, __: str, selector: object = None) -> list[dict[str, Any]]:
        own = str(selector)
        return [{"metadata": {"uid": f"{own}-{changed.count(own)}"}}] if kind == "Pod" else []

    kube = SimpleNamespace(
        get=lambda _, __, name, ___: {"spec": {"selector": {"matchLabels": name}}},
        list=pods,
        patch=lambda _, __, name, *___: changed.append(name),
        wait_rollout=lambda *_: None,
    )
    seen = Away(ours, replace(CLOSED, during=INJECTED), 4.0, LOAD, LOAD)
    ctx: Any = SimpleNamespace(
        kube=kube,
        run="r",
        shared=lambda _: seen,
        url=lambda _: "http://server/",
        client=lambda: SimpleNamespace(start=start),
        watch=lambda probe, _: probe(),
        space=lambda place: place,
        apply=lambda _: (),
        gate=lambda *_: None,
    )
    history = upgrade(ctx)
    assert changed == ["plane", "injector", "injector", "plane"]  # and back again
    assert (history.planes, history.replaced, history.injected) == (("mesh/plane", "mesh/injector"), True, True)
    told = judge_upgrade(replace(history, injected=False, rollout=LOAD)).reason
    assert "in 4 s without mesh/plane and mesh/injector" in told


class OneDeployment:
    """The calls that an outage makes, on one deployment without pods."""

    def __init__(self, replicas: int = 2, annotations: dict[str, str] | None = None) -> None:
        self.replicas = replicas
        self.annotations = dict(annotations or {})
        self.waited = 0

    def get(self, *_: object) -> dict[str, Any]:
        return {
            "metadata": {"name": "mesh", "annotations": dict(self.annotations)},
            "spec": {"replicas": self.replicas, "selector": {"matchLabels": {"app": "mesh"}}},
        }

    def list(self, _: str, kind: str, *__: object) -> list[dict[str, Any]]:
        return [self.get()] if kind == "Deployment" else [{}] * self.replicas

    def patch(self, _: str, __: str, ___: str, body: dict[str, Any], ____: str) -> None:
        self.replicas = body["spec"]["replicas"]
        for key, value in body["metadata"]["annotations"].items():
            if value is None:
                self.annotations.pop(key, None)
            else:
                self.annotations[key] = value

    def wait_rollout(self, *_: object) -> None:
        self.waited += 1


WHERE = ("mesh-system", "mesh")


@pytest.mark.parametrize("end", [None, KeyboardInterrupt, ValueError])
def test_what_was_taken_away_is_put_back_however_the_block_ends(end):
    cluster: Any = OneDeployment()

    def body() -> None:
        with stopped(cluster, WHERE):
            assert cluster.replicas == 0
            assert cluster.annotations == {UNDO: "2", RUNNER: runner_name()}
            if end is not None:
                raise end

    if end is None:
        body()
    else:
        with pytest.raises(end):
            body()
    assert (cluster.replicas, cluster.annotations, cluster.waited) == (2, {}, 1)


def test_pods_that_answer_nobody_are_gone_though_the_api_has_them_still():
    cluster = OneDeployment()
    ended: list[str] = []

    def pods(_: str, kind: str, *__: object) -> list[dict[str, Any]]:
        return [{"metadata": {"name": "mesh-1"}}]

    def delete(_: str, __: str, name: str, ___: str, *, grace: int) -> None:
        assert (cluster.replicas, grace) == (0, 1)
        ended.append(name)

    kube: Any = SimpleNamespace(
        get=cluster.get, list=pods, patch=cluster.patch, delete=delete, wait_rollout=cluster.wait_rollout
    )
    with stopped(kube, WHERE, silent=lambda pod: pod["metadata"]["name"] in ended):
        assert ended == ["mesh-1"]
    assert (cluster.replicas, cluster.annotations, cluster.waited) == (2, {}, 1)


def test_the_next_run_puts_back_what_a_dead_one_took_and_nothing_else():
    host, pid, started = runner_name().split("/")
    dead: Any = OneDeployment(0, {UNDO: "3", RUNNER: f"{host}/{pid}/{int(started) + 1}"})
    alive: Any = OneDeployment(0, {UNDO: "3", RUNNER: runner_name()})
    untouched: Any = OneDeployment(1)
    assert restore(dead, WHERE)
    assert (dead.replicas, dead.annotations) == (3, {})
    assert not restore(alive, WHERE)
    assert not restore(untouched, WHERE)
    assert not restore(dead, None)
    assert (alive.replicas, untouched.replicas) == (0, 1)


def test_who_must_be_alone_waits_for_all_others():
    order: list[str] = []
    begun = threading.Event()
    one, other, last = Turns("unit"), Turns("unit"), Turns("unit")

    def wide() -> None:
        last.take(alone=False)
        begun.set()
        last.take(alone=True)
        order.append("alone")

    thread = threading.Thread(target=wide)
    try:
        one.take(alone=False)
        thread.start()
        begun.wait(20)
        one.take(alone=False)  # between two of its checks it keeps its turn
        other.take(alone=False)
        one.close()
        order.append("beside")
    finally:
        for each in (one, other):
            each.close()
        thread.join(20)
        last.close()
        last.end()
    assert order == ["beside", "alone"]
