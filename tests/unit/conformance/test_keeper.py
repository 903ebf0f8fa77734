"""How long the pods of a ground are waited for, in virtual time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

import pytest

from conformance import keeper
from conformance.adapters import load
from conformance.catalogue import ground_of
from conformance.context import LIMITS
from fixtures.kube import ApiProblem, NotEventually
from fixtures.kube.missing_images import Missing
from reports.errors import EnvironmentProblem

if TYPE_CHECKING:
    from fixtures.kube import Kube


class SlowCluster:
    """Two namespaces of one run; one of its pods becomes Ready every so many seconds, up to a number."""

    def __init__(self, every: float, most: int, *waiting: dict[str, Any]) -> None:
        self.now, self.every, self.most = 0.0, every, most
        self.waiting = [{"name": "c", "image": one["image"], "state": {"waiting": one}} for one in waiting]

    def monotonic(self) -> float:
        return self.now

    def wait_pods_ready(self, _space: str, *, count: int, timeout: float) -> None:
        due = self.every * count
        if count <= self.most and due <= self.now + timeout:
            self.now = max(self.now, due)
            return
        self.now += timeout
        raise NotEventually("pods", timeout, None, 1)

    def list(self, _version: str, kind: str, namespace: str = "", selector: str = "") -> list[dict[str, Any]]:
        if kind == "Namespace":
            assert selector == "meshproof.io/run=r"
            return [{"metadata": {"name": name}} for name in ("mine", "other")]
        if namespace == "mine":
            return [{"metadata": {"name": "p", "uid": "waiting"}, "status": {"containerStatuses": self.waiting}}]
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        return [
            {"metadata": {"uid": str(i)}, "status": ready} for i in range(min(int(self.now / self.every), self.most))
        ]


@pytest.fixture
def awaited(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    made: list[keeper.Keeper] = []

    def wait(cluster: SlowCluster, count: int) -> float:
        monkeypatch.setattr("conformance.keeper.time.monotonic", cluster.monotonic)
        one = keeper.Keeper(cast("Kube", cluster), load("none"), run="r", image="i", runner="x")
        made.append(one)
        one._await_pods("mine", count)
        return cluster.now

    cast("Any", wait).again = lambda: made[-1]._await_pods("mine", 1)
    yield wait
    for one in made:
        one.close()


def test_a_slow_cluster_is_waited_for_as_long_as_more_pods_become_ready(awaited):
    assert awaited(SlowCluster(every=20.0, most=30), 12) == 240.0


def test_a_cluster_that_is_stuck_is_given_up_after_the_limit(awaited):
    cluster = SlowCluster(every=5.0, most=4)
    with pytest.raises(NotEventually):
        awaited(cluster, 9)
    assert LIMITS.ground_ready <= cluster.now <= 20.0 + LIMITS.ground_ready + 2 * keeper.LOOK_SECONDS


def pull(image: str, reason: str = "ErrImagePull", message: str = "") -> dict[str, Any]:
    return {"image": image, "reason": reason, "message": message}


GONE = 'failed to resolve reference "i": i: not found'
LIMITED = 'Back-off pulling image "i": 429 Too Many Requests: toomanyrequests'


@pytest.mark.parametrize(
    "waiting",
    [
        pull("i", message=GONE),
        pull("i", message="lookup registry.exmaple.com: no such host"),
        pull("proxy", "InvalidImageName"),
        pull("proxy", "ErrImageNeverPull"),
        pull("meshproof.local/meshproof:1", "ImagePullBackOff"),
    ],
    ids=lambda one: one["reason"] + one["message"][:6],
)
def test_an_image_that_can_never_be_had_is_not_waited_for(awaited, waiting):
    cluster = SlowCluster(20.0, 0, pull("proxy"), waiting)
    with pytest.raises(EnvironmentProblem, match="cannot get the image") as caught:
        awaited(cluster, 1)
    assert cluster.now == keeper.LOOK_SECONDS
    assert ("--image" in caught.value.fix) is (waiting["image"] == "i")


def test_a_registry_that_is_asked_too_much_for_now_is_asked_again(awaited):
    assert awaited(SlowCluster(20.0, 1, pull("i", "ImagePullBackOff", LIMITED)), 1) == 20.0
    assert awaited(SlowCluster(20.0, 1, pull("proxy", message=GONE)), 1) == 20.0


def test_an_image_that_does_not_come_is_named_after_the_limit_and_given_up_sooner_the_next_time(awaited):
    cluster = SlowCluster(5.0, 0, pull("corp/proxy", message="connection refused"))
    with pytest.raises(
        EnvironmentProblem, match=r"the image corp/proxy for the container c of the pod p,.*refused\n"
    ) as caught:
        awaited(cluster, 1)
    assert "nodes can pull it" in caught.value.fix
    assert "--image" not in caught.value.fix
    given_up_at = cluster.now
    assert LIMITS.ground_ready <= given_up_at <= LIMITS.ground_ready + keeper.LOOK_SECONDS
    with pytest.raises(EnvironmentProblem, match="the image corp/proxy"):
        awaited.again()
    assert cluster.now == given_up_at + keeper.LOOK_SECONDS


class NoImage:
    """A cluster that takes every object, and cannot get the image."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def create_namespace(self, *_: object) -> None:
        """Taken."""

    def apply(self, *_: object, **__: object) -> None:
        """Taken."""

    def patch(self, *_: object) -> None:
        """Taken."""

    def wait_pods_ready(self, _space: str, *, count: int, timeout: float) -> None:
        self.closed.wait(0.01)
        raise NotEventually(f"{count} pods", timeout, None, 1)

    def list(self, _version: str, kind: str, *_: object, **__: object) -> list[dict[str, Any]]:
        if kind == "Node":
            return [{"status": {"allocatable": {"cpu": "2"}}}]
        waiting = {"name": "c", "image": "i", "state": {"waiting": {"reason": "ErrImagePull", "message": GONE}}}
        return [{"metadata": {"name": "p", "uid": "u"}, "status": {"containerStatuses": [waiting]}}]


def test_who_waits_for_a_ground_does_not_wait_for_the_end_of_its_turn():
    one = keeper.Keeper(cast("Kube", NoImage()), load("none"), run="r", image="i", runner="x")
    ground = ground_of("wt")
    one.begin([ground])
    asked = ThreadPoolExecutor(1).submit(one.ensure, ground)
    try:
        with pytest.raises(EnvironmentProblem, match="cannot get the image i"):
            asked.result(timeout=LIMITS.ground_ready / 4)
    finally:
        one.close()


def test_while_pods_wait_for_an_image_that_is_said_once(monkeypatch):
    monkeypatch.setattr(keeper, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(LIMITS, "ground_ready", 0.2)
    told: list[str] = []
    one = keeper.Keeper(cast("Kube", NoImage()), load("none"), run="r", image="i", runner="x", tell=told.append)
    assert one._started(ground_of("wt")) is False
    assert one._started(ground_of("rt")) is False  # of the same image
    one.close()
    assert told == [f"wt: waiting for the image i (ErrImagePull: {GONE})"]


def test_what_is_said_of_an_image_fits_a_line():
    missing = Missing("p", "c", "i", "ErrImagePull", "a word " * 100)
    assert len(missing.line("wt")) < 200
    silent = Missing("p", "c", "i", "ErrImageNeverPull", "")
    assert silent.line("wt") == "wt: waiting for the image i (ErrImageNeverPull)"


class NoNamespaces(NoImage):
    """A cluster whose policies allow no namespace of ours."""

    def create_namespace(self, *_: object) -> None:
        raise ApiProblem("no namespace without an owner", status=403, message="denied")

    def patch(self, *_: object) -> None:
        raise ApiProblem("there is no such namespace", status=404)


def test_why_a_ground_cannot_be_created_is_told_where_there_is_not_even_a_namespace():
    one = keeper.Keeper(cast("Kube", NoNamespaces()), load("none"), run="r", image="i", runner="x")
    ground = ground_of("wt")
    one.begin([ground])
    try:
        with pytest.raises(ApiProblem, match="without an owner"):
            one.ensure(ground)
    finally:
        one.close()
