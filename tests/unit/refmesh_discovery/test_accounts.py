"""Whose certificates a Service's clients accept: in time, not for ever, and without a change for every pod."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from refmesh.config.model import Snapshot
from refmesh.config.store import Store
from refmesh.discovery.accounts import LINGER_SECONDS, Departures, accounts
from tests.unit.refmesh_discovery.helpers import endpoint_slice, pod, service


class Shop:
    """A Service `echo` whose pods come and go, and the clock."""

    def __init__(self) -> None:
        self.store, self.now = Store(), 0.0
        self.departures = Departures(clock=lambda: self.now)
        self.store.put("Service", service("echo"))

    def pod(self, account: str, **fields: Any) -> dict[str, Any]:
        made = pod(f"echo-{account}", f"10.1.0.{ord(account[0])}", account=account, **fields)
        self.store.put("Pod", made)
        return made

    def slice(self, *pods: dict[str, Any]) -> None:
        self.store.put("EndpointSlice", endpoint_slice("echo", list(pods), ready=False))

    def leave(self, account: str) -> None:
        self.store.drop("Pod", ("shop", f"echo-{account}"))

    def snapshot(self) -> Snapshot:
        return self.departures.noted(self.store.snapshot())

    def accounts(self) -> tuple[str, ...]:
        snapshot = self.snapshot()
        return accounts(snapshot, snapshot.services["shop", "echo"])


def starting(account: str, **fields: Any) -> dict[str, Any]:
    return pod(f"echo-{account}", "", account=account, **fields)


def test_pods_that_start_together_become_known_together() -> None:
    shop = Shop()
    shop.store.put("Pod", starting("a"))
    assert shop.accounts() == ()
    shop.store.put("Pod", starting("b"))
    shop.store.put("Pod", starting("c", app="other"))
    shop.store.put("Pod", starting("d", meshed=False))
    assert shop.accounts() == ()
    shop.slice(shop.pod("a"))
    assert shop.accounts() == ("a", "b")
    first, second = shop.pod("a"), shop.pod("b")
    assert shop.accounts() == ("a", "b")  # it has its address, and the slice is late
    shop.slice(first, second)
    assert shop.accounts() == ("a", "b")


def test_who_has_left_counts_for_a_while() -> None:
    shop = Shop()
    shop.slice(shop.pod("a"), shop.pod("b"))
    assert shop.accounts() == ("a", "b")
    shop.leave("a")
    shop.now = 1.0
    assert shop.accounts() == ("a", "b")
    shop.leave("b")
    shop.slice()
    shop.now = 3.0
    assert shop.accounts() == ("a", "b")
    assert shop.departures.seconds_left == LINGER_SECONDS - 2.0
    shop.now = LINGER_SECONDS + 1.0
    assert shop.accounts() == ("b",)
    shop.now = LINGER_SECONDS + 3.0
    assert shop.accounts() == ()
    assert shop.departures.seconds_left is None


def test_a_service_of_the_same_name_begins_anew() -> None:
    shop = Shop()
    shop.slice(shop.pod("a"))
    assert shop.accounts() == ("a",)
    shop.leave("a")
    shop.store.drop("Service", ("shop", "echo"))
    assert shop.snapshot().departed == {}
    shop.store.put("Service", service("echo"))
    assert shop.accounts() == ()


@given(st.lists(st.tuples(st.sets(st.sampled_from("abc")), st.floats(0, 2 * LINGER_SECONDS))))
def test_everybody_who_is_there_is_accepted_and_nobody_for_long_after(steps: list[tuple[set[str], float]]) -> None:
    shop, last_seen = Shop(), dict[str, float]()
    present: set[str] = set()
    for now_present, pause in steps:
        last_seen |= dict.fromkeys(present, shop.now + pause)
        shop.now += pause
        for account in present - now_present:
            shop.leave(account)
        shop.slice(*(shop.pod(account) for account in now_present))
        present = now_present
        found = set(shop.accounts())
        assert present <= found
        assert all(last_seen[account] + LINGER_SECONDS > shop.now for account in found - present)
