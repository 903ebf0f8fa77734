"""One replica leads: it renews, gives up in time, hands over when it ends, and is replaced once its Lease ran out."""

from __future__ import annotations

from typing import Any

import pytest

from refmesh.config import leadership
from refmesh.config.leadership import Leadership
from refmesh.kubeclient import Conflict


class Leases:
    """The one Lease, with the API server's optimistic locking."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0

    async def get(self, *_: Any) -> dict[str, Any] | None:
        return None if self.lease is None else {**self.lease, "spec": dict(self.lease["spec"])}

    async def create(self, _api: str, _plural: str, body: dict[str, Any], _namespace: str) -> dict[str, Any]:
        if self.lease is not None:
            raise Conflict(409, "there is one")
        return self._keep(body)

    async def replace(self, *arguments: Any) -> dict[str, Any]:
        body = arguments[3]
        assert self.lease is not None
        if body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise Conflict(409, "changed meanwhile")
        return self._keep(body)

    def _keep(self, body: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.lease = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        return self.lease


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(leadership, "time", found)
    return found


def replica(leases: Leases, name: str) -> Leadership:
    return Leadership(leases, "ns", "lease", name)  # type: ignore[arg-type]


async def test_the_first_leads_and_the_second_waits_for_the_whole_duration(clock: Clock) -> None:
    leases = Leases()
    first, second = replica(leases, "first"), replica(leases, "second")
    await first._try()
    await second._try()
    assert (first.leads(), second.leads()) == (True, False)
    clock.now += 6
    await first._try()
    clock.now += 6
    await second._try()
    assert (first.leads(), second.leads()) == (True, False), "the Lease was renewed meanwhile"
    clock.now += 2
    assert not first.leads(), "one that cannot renew stops before another can begin"
    await second._try()
    assert not second.leads()
    clock.now += 9
    await second._try()
    assert second.leads()
    assert leases.lease is not None
    assert leases.lease["spec"]["leaseTransitions"] == 1


async def test_of_two_at_once_one_wins(clock: Clock) -> None:
    leases = Leases()
    await replica(leases, "old")._try()
    clock.now += 11
    one, other = replica(leases, "one"), replica(leases, "other")
    for item in (one, other):
        await item._try()  # has seen the old leader's last word
    clock.now += 11
    stale = await leases.get()
    await one._try()
    assert stale is not None
    with pytest.raises(Conflict):
        await leases.replace("", "", "", other._lease(stale))
    assert one.leads()


async def test_a_leader_that_ends_hands_over_at_once(clock: Clock) -> None:
    leases = Leases()
    first, second = replica(leases, "first"), replica(leases, "second")
    await first._try()
    await first.close()
    assert not first.leads()
    await second._try()
    assert second.leads()
