"""Undoing a fault when something else goes wrong at the same time."""

import os
import signal
import threading
import time
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import Any

import pytest

from chaos import runner, suite, wal
from chaos.experiment import NotHere, Setup
from chaos.faults import ScaleToZero
from chaos.guard import guard
from chaos.interrupts import uninterrupted
from chaos.log import LOG_NAMESPACE, STALE_SECONDS, NotTakenBack, pending
from chaos.restoring import restore
from chaos.runner import injected
from chaos.scene import logged_namespace
from chaos.settings import Settings
from chaos.wal import append
from conformance.adapters import Unsupported
from fixtures.interrupts import end_like_ctrl_c
from fixtures.kube import NotEventually
from reports.errors import EnvironmentProblem
from reports.model import Result, Verdict
from tests.unit.chaos.made_up_cluster import Cluster, refused


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

    with pytest.raises(NotTakenBack, match="not taken back") as raised:
        run()
    assert "chaos restore" in raised.value.fix
    assert {("Namespace", LOG_NAMESPACE), ("Deployment", "meshproof-janitor")} <= set(cluster.objects)
    assert len(pending(cluster)) == 1


def test_an_interrupt_outlives_an_undo_that_fails(cluster, monkeypatch, capsys):
    monkeypatch.setattr(runner, "UNDO_SECONDS", 0.2)

    def run():
        with injected(cluster, fault()):
            cluster.away = 50
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert "chaos restore" in capsys.readouterr().err
    cluster.away = 0
    assert len(pending(cluster)) == 1


@pytest.mark.parametrize("behind", [False, True])
def test_an_interrupt_outlives_a_guard_that_cannot_take_back(cluster, monkeypatch, capsys, behind):
    def run():
        with guard(cluster, "image", "me"):
            try:
                raise KeyboardInterrupt
            finally:
                cluster.away = 50
                if behind:  # what else is taken away on the way out fails too
                    cluster.delete("v1", "Namespace", "meshproof-chaos-1")

    with pytest.raises(KeyboardInterrupt):
        run()
    assert "not taken back" in capsys.readouterr().err


def test_what_cannot_be_reached_outside_the_api_is_no_bug(cluster, monkeypatch):
    def unreachable(*_, **__):
        raise ConnectionError("toxiproxy is away")

    def run():
        with guard(cluster, "image", "me"):
            begun(cluster)
            monkeypatch.setattr(cluster, "list", unreachable)

    with pytest.raises(NotTakenBack, match="toxiproxy is away"):
        run()


def beats(cluster, holder, at="now"):
    """Another runner's heart, whoever held the lease before."""
    spec = {"holderIdentity": holder, "renewTime": at}
    cluster._write({"kind": "Lease", "metadata": {"name": "runner"}, "spec": spec})


def test_a_runner_that_was_overtaken_leaves_the_log_and_the_lease_to_the_other(cluster):
    with guard(cluster, "image", "me"):
        beats(cluster, "other")
        begun(cluster)
    assert replicas(cluster) == 0
    assert len(pending(cluster)) == 1
    assert wal.holds(cluster, "other")


def test_a_runner_that_was_overtaken_beats_no_more(cluster, monkeypatch):
    monkeypatch.setattr(wal, "BEAT_SECONDS", 0.2)
    cluster.create_namespace(LOG_NAMESPACE)
    looks = threading.Semaphore(0)
    with wal.heartbeat(cluster, "me"):
        beats(cluster, "other")
        monkeypatch.setattr(cluster, "_answer", looks.release)
        for _ in range(3):
            assert looks.acquire(timeout=20)
        assert wal.holds(cluster, "other")


def test_no_call_of_a_beat_hangs_until_the_heart_is_taken_for_dead(cluster):
    cluster.create_namespace(LOG_NAMESPACE)
    beats(cluster, "me")
    wal._beat_on(cluster, "me", "me")
    assert len(cluster.limits) == 2
    assert all(wal.BEAT_SECONDS + 2 * one <= STALE_SECONDS / 2 for one in cluster.limits)


CLAIMS = ["2020-01-01T00:00:00.000000Z", "2099-01-01T00:00:00.000000Z", ""]
"""Times that another machine's clock may tell."""


@pytest.fixture
def soon(monkeypatch):
    """What stands still is dead within a moment."""
    monkeypatch.setattr(wal, "STALE_SECONDS", 0.3)
    monkeypatch.setattr(wal, "LOOK_SECONDS", 0.05)


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_heart_that_stands_still_is_dead_whatever_time_it_claims(cluster, soon, claim):
    cluster.create_namespace(LOG_NAMESPACE)
    beats(cluster, "other", claim)
    begun(cluster)
    with wal.heartbeat(cluster, "me"):
        assert wal.holds(cluster, "me")
    beats(cluster, "other", claim)
    assert [one.fault for one in restore(cluster)] == ["scale-to-zero"]


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_heart_that_beats_is_alive_whatever_time_it_claims(cluster, monkeypatch, soon, claim):
    def look():
        beats(cluster, "other", f"{claim}{cluster.written}")

    cluster.create_namespace(LOG_NAMESPACE)
    look()
    begun(cluster)
    monkeypatch.setattr(cluster, "_answer", look)
    with (
        pytest.raises(EnvironmentProblem, match=r"another chaos run \(other\) is at work"),
        wal.heartbeat(cluster, "me"),
    ):
        pytest.fail("two are at work")
    with pytest.raises(EnvironmentProblem, match=r"\(other\) is at work"):
        restore(cluster)
    assert replicas(cluster) == 0


@pytest.mark.parametrize("before", [None, "", "dead"])
def test_of_two_that_begin_at_the_same_moment_one_is_refused(cluster, monkeypatch, soon, before):
    cluster.create_namespace(LOG_NAMESPACE)
    if before is not None:
        beats(cluster, before)
    real = wal._beat

    def late(*arguments):
        monkeypatch.setattr(wal, "_beat", real)
        beats(cluster, "other")
        real(*arguments)

    monkeypatch.setattr(wal, "_beat", late)
    with pytest.raises(EnvironmentProblem, match="at the same moment"), wal.heartbeat(cluster, "me"):
        pytest.fail("two are at work")
    assert wal.holds(cluster, "other")


def test_restoring_leaves_the_ground_of_a_run_that_has_begun_meanwhile(cluster, monkeypatch):
    begun(cluster)

    def scaled(*_, **__):
        cluster.create_namespace(LOG_NAMESPACE)
        beats(cluster, "other")

    monkeypatch.setattr(cluster, "patch", scaled)
    with pytest.raises(EnvironmentProblem, match=r"\(other\) is at work"):
        restore(cluster)
    assert ("Namespace", LOG_NAMESPACE) in cluster.objects


def experiments(*ids):
    return [
        SimpleNamespace(
            id=one, title=one, proves=(), expected=Verdict.PASS, prepare=lambda _, one=one: one
        )
        for one in ids
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("stays", "verdicts"),
    [("C2", ["unsupported", "inconclusive", "not-run"]), ("end", ["unsupported", "unsupported", "unsupported"])],
)
def test_what_was_found_out_before_a_fault_stayed_is_kept(monkeypatch, stays, verdicts):
    @contextmanager
    def scene(*_):
        yield SimpleNamespace(adapter=adapter)
        if stays == "end":
            raise NotTakenBack("it is still there")

    def conduct(_, setup, __):
        if setup == stays:
            raise NotTakenBack("it is still there")
        raise NotHere("nothing to break")

    adapter: Any = SimpleNamespace(name="refmesh", problem=lambda _: "", render=lambda _: Unsupported("no"))
    monkeypatch.setattr(suite, "EXPERIMENTS", {one.id: one for one in experiments("C1", "C2", "C3")})
    monkeypatch.setattr(suite, "scene", scene)
    monkeypatch.setattr(suite, "restore", lambda _: None)
    monkeypatch.setattr(suite, "_gate", lambda _: None)
    monkeypatch.setattr(suite, "conduct", conduct)
    kube: Any = None
    with pytest.raises(NotTakenBack) as raised:
        suite.run(kube, adapter, "image")
    assert [(one.id, one.verdict.value) for one in raised.value.results] == list(
        zip(["C1", "C2", "C3"], verdicts, strict=True)
    )
    assert all("still there" in one.reason for one in raised.value.results if one.verdict is not Verdict.UNSUPPORTED)


NO_CLUSTER: Any = None


def scene_of(monkeypatch, conduct, *ids):
    """The suite on a scene of nothing, with these experiments."""

    @contextmanager
    def scene(*_):
        yield SimpleNamespace(adapter=adapter)

    adapter: Any = SimpleNamespace(name="refmesh", problem=lambda _: "", render=lambda _: Unsupported("no"))
    monkeypatch.setattr(suite, "EXPERIMENTS", {one.id: one for one in experiments(*ids)})
    monkeypatch.setattr(suite, "scene", scene)
    monkeypatch.setattr(suite, "restore", lambda _: None)
    monkeypatch.setattr(suite, "_gate", lambda _: None)
    monkeypatch.setattr(suite, "conduct", conduct)
    return adapter


def test_what_was_found_out_before_an_interrupt_is_handed_out(monkeypatch):
    def conduct(_, setup, __):
        if setup == "C2":
            raise KeyboardInterrupt
        raise KeyError("podIP")

    adapter, kube = scene_of(monkeypatch, conduct, "C1", "C2"), NO_CLUSTER
    kept: list[Result] = []
    with pytest.raises(KeyboardInterrupt):
        suite.run(kube, adapter, "image", keep=kept.append)
    assert [(one.id, one.verdict.value) for one in kept] == [("C1", "inconclusive")]
    assert "KeyError: 'podIP'" in kept[0].reason
    assert "Traceback" in str(kept[0].evidence[0].data)


def test_experiments_that_lack_a_right_are_inconclusive_and_name_it(monkeypatch):
    def scene(*_):
        raise refused("patch", "ClusterRole")

    adapter = scene_of(monkeypatch, None, "C1", "P1")
    monkeypatch.setattr(suite, "scene", scene)
    found = suite.run(NO_CLUSTER, adapter, "image")
    assert [(one.id, one.verdict.value) for one in found] == [("C1", "inconclusive"), ("P1", "inconclusive")]
    assert all('User "ci" cannot patch resource "ClusterRole"' in one.reason for one in found)


def test_a_sham_that_could_not_be_tried_was_not_run(monkeypatch):
    def conduct(*_):
        raise EnvironmentProblem("away")

    adapter = scene_of(monkeypatch, conduct, "A1")
    sham = experiments("A1")[0]
    sham.expected = Verdict.INCONCLUSIVE
    monkeypatch.setattr(suite, "EXPERIMENTS", {"A1": sham})
    assert [one.verdict.value for one in suite.run(NO_CLUSTER, adapter, "image")] == ["not-run"]


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

    def fail():
        with uninterrupted():
            os.kill(os.getpid(), number)
            raise EnvironmentProblem("the API server is away")

    try:
        with pytest.raises(KeyboardInterrupt):
            undo()
        with pytest.raises(KeyboardInterrupt):
            fail()
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    assert done == ["undone"]


def test_a_signal_during_an_undo_counts_as_the_first():
    put_back = end_like_ctrl_c()

    def undo():
        with uninterrupted():
            os.kill(os.getpid(), signal.SIGINT)

    try:
        with pytest.raises(KeyboardInterrupt):
            undo()
        os.kill(os.getpid(), signal.SIGTERM)  # while the rest is taken away
        with pytest.raises(KeyboardInterrupt):
            undo()
    finally:
        put_back()


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(time, "time", lambda: self.now)
        monkeypatch.setattr(runner, "eventually", self.poll)

    def poll(self, probe, *, timeout, **_):
        end = self.now + timeout
        while self.now <= end:
            with suppress(EnvironmentProblem):
                if probe():
                    return
            self.now += 0.5
        raise NotEventually("it", timeout, None, 1)


STEADY: Any = SimpleNamespace(steady=lambda _span: True)
"""A load that is always steady."""
SETTINGS = Settings(recover_timeout=25, ready_timeout=60, steady_span=1)


def recovery(load: Any = STEADY, **wanted):
    return runner._recovery(load, Setup(fault=fault(), url="http://echo/", **wanted), 90.0, 100.0, SETTINGS)


def test_recovery_begins_no_earlier_than_what_must_hold_beside_the_traffic(monkeypatch):
    clock = Clock(monkeypatch)
    assert recovery(recovered=lambda: clock.now > 104).whole == 104.5


def test_what_cannot_be_told_for_a_moment_does_not_hold(monkeypatch):
    Clock(monkeypatch)
    answers = iter([True, EnvironmentProblem("away"), True, True, True])

    def recovered():
        answer = next(answers)
        if isinstance(answer, EnvironmentProblem):
            raise answer
        return answer

    assert recovery(recovered=recovered).whole == 101.0


def test_recovery_at_once_where_nothing_else_must_hold(monkeypatch):
    Clock(monkeypatch)
    assert recovery().whole == 100.0


def test_the_mesh_has_its_time_from_the_return_of_what_the_fault_took(monkeypatch):
    clock = Clock(monkeypatch)
    found = recovery(ready=lambda: clock.now >= 140, recovered=lambda: clock.now >= 160)
    assert (found.steady, found.ready, found.whole) == (100.0, 140.0, 160.0)


def test_a_pod_that_does_not_come_is_told_from_traffic_that_is_not_steady(monkeypatch):
    clock = Clock(monkeypatch)
    found = recovery(ready=lambda: False)
    assert (found.steady, found.ready, found.whole) == (100.0, None, None)
    assert clock.now > 160
    broken = recovery(SimpleNamespace(steady=lambda _: False), ready=lambda: False)
    assert (broken.steady, broken.whole) == (None, None)


def test_a_namespace_that_was_not_deleted_keeps_its_entry(cluster):
    def stuck(*_, **__):
        raise EnvironmentProblem("away")

    def run():
        cluster.namespace = lambda name, **_: held(name)
        with logged_namespace(cluster, "meshproof-chaos-1", {}, {}):
            pass

    @contextmanager
    def held(name):
        cluster.create_namespace(name)
        yield name
        stuck()

    with pytest.raises(EnvironmentProblem):
        run()
    assert [entry.undo.arguments["namespace"] for entry in pending(cluster)] == ["meshproof-chaos-1"]


def test_another_interrupt_does_not_keep_the_guard_from_going(cluster, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    real = cluster.list

    def impatient(*arguments, **query):
        monkeypatch.setattr(cluster, "list", real)
        os.kill(os.getpid(), signal.SIGINT)
        return real(*arguments, **query)

    def run():
        with guard(cluster, "image", "me"):
            begun(cluster)
            monkeypatch.setattr(cluster, "list", impatient)
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            run()
    finally:
        signal.signal(signal.SIGINT, before)
    assert replicas(cluster) == 2
    assert ("Namespace", LOG_NAMESPACE) not in cluster.objects


@pytest.mark.parametrize(
    ("wanted", "phases", "landed"),
    [(0, [], True), (0, ["Failed"], True), (0, ["Pending"], False), (0, ["Running"], False), (1, [], False)],
)
def test_a_control_plane_is_at_0_where_none_is_wanted_and_none_is_to_come(cluster, wanted, phases, landed):
    cluster.objects["Deployment", "plane"]["spec"]["replicas"] = wanted
    for number, phase in enumerate(phases):
        cluster.objects["Pod", f"plane-{number}"] = {"kind": "Pod", "metadata": {}, "status": {"phase": phase}}
    assert bool(fault().landed(cluster)) is landed
