"""Defects in config and in discovery's protocol: what proxies get to hear, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from refmesh.config.model import key_of
from refmesh.defects.defect import Defect

__all__ = ["DEFECTS"]

_STREAM = "refmesh.discovery.stream"
_BETWEEN_LOSSES, _LOST, _LATE = 4.0, 0.5, 15.0
"""Seconds."""


def _routes_first(sound: Callable[[], Mapping[Any, Any]]) -> Callable[[], Mapping[Any, Any]]:
    """Send routes and listeners at once, and the clusters that they name once those are acknowledged."""
    clusters, endpoints, secrets, listeners, routes = sound()
    order = {routes: (), listeners: (), endpoints: (), secrets: (), clusters: (routes, listeners)}
    return lambda: order


def _always_content(sound: Callable[[Any], str]) -> Callable[[Any], str]:
    """Take a rejection for an acknowledgement."""
    _ = sound
    return lambda _request: ""


def _nonces_forgotten(sound: Callable[..., str | None]) -> Callable[..., str | None]:
    """Recognise no answer, so that every push waits as if the one before had been lost."""
    _ = sound
    return lambda _request, _outstanding: None


def _always_the_first(sound: Callable[[str, bytes], str]) -> Callable[[str, bytes], str]:
    """Give every content of a resource the same version, so that no change is seen."""
    return lambda name, _value: sound(name, b"")


def _bad_object_raises(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Let the mistake in one object end the reading of all of its kind."""

    def parse(kind: Any, obj: Any, domain: str) -> Any:
        found = sound(kind, obj, domain)
        reason = getattr(found, "reason", "")
        if reason:
            raise ValueError(reason)
        return found

    return parse


def _emptied(sound: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Now and then lose a watch of endpoints, and know none until the next list."""

    async def lose(self: Any, source: Any) -> None:
        while True:
            await asyncio.sleep(_BETWEEN_LOSSES)
            self._note(source, changed=self._store.replace(source.name, ()))
            await asyncio.sleep(_LOST)
            page = await self._kube.page(source.api_version, source.plural)
            self._note(source, changed=self._store.replace(source.name, page.items))

    async def both(self: Any, source: Any) -> None:
        if source.name == "EndpointSlice":
            await asyncio.gather(sound(self, source), lose(self, source))
        else:
            await sound(self, source)

    return both


def _changed_late(sound: Callable[[Any, str, Any], bool]) -> Callable[[Any, str, Any], bool]:
    """Take in a new route at once, and its changes when nobody waits for them any more."""

    def put(self: Any, source: str, obj: Any) -> bool:
        table = {"HTTPRoute": "http_routes", "VirtualService": "virtual_services"}.get(source)
        if table is None or key_of(obj) not in getattr(self.now(table), table):
            return sound(self, source, obj)

        def late() -> None:
            if key_of(obj) in getattr(self.now(table), table):  # it was not deleted meanwhile
                sound(self, source, obj)

        asyncio.get_running_loop().call_later(_LATE, late)
        return False

    return put


def _sulking(sound: Callable[..., bool]) -> Callable[..., bool]:
    """Send a proxy nothing more of a kind that it rejected once; and hand on values that it does reject."""
    from refmesh.api import gateway_route

    vars(gateway_route)["literal"] = str

    def may_send(self: Any, kind: Any, now: float) -> bool:
        may, sulks = sound(self, kind, now), vars(self).setdefault("sulks", set())
        if may and self.status()[kind.short]["rejected"]:
            sulks.add(kind)
        return may and kind not in sulks

    return may_send


def _whoever_says_so(sound: Callable[..., bool]) -> Callable[..., bool]:
    """Believe a proxy that it is the pod it says it is."""
    _ = sound
    return lambda _identity, _wanted: True


DEFECTS = (
    Defect(
        "route-before-cluster",
        "Proxies get a route before the cluster that it names.",
        "discovery",
        f"{_STREAM}:delivery",
        _routes_first,
    ),
    Defect(
        "nack-ignored",
        "A proxy's rejection of its configuration is taken for an acknowledgement.",
        "discovery",
        f"{_STREAM}:rejection",
        _always_content,
    ),
    Defect(
        "nonces-confused",
        "No acknowledgement is recognised: every later change waits for seconds.",
        "discovery",
        f"{_STREAM}:answered",
        _nonces_forgotten,
    ),
    Defect(
        "version-unchanged",
        "A changed resource keeps its version and is not sent again.",
        "discovery",
        "refmesh.discovery.resource:version_of",
        _always_the_first,
    ),
    Defect(
        "bad-object-blocks-all",
        "One bad object keeps all of its kind from taking effect.",
        "discovery",
        "refmesh.config.store:parse",
        _bad_object_raises,
    ),
    Defect(
        "endpoints-emptied-on-watch-error",
        "When a watch of endpoints breaks off, there are none until the next list.",
        "discovery",
        "refmesh.config.watcher:Watcher._follow",
        _emptied,
    ),
    Defect(
        "route-changes-late",
        "A new route is in force at once, its changes after a quarter of a minute.",
        "discovery",
        "refmesh.config.store:Store.put",
        _changed_late,
    ),
    Defect(
        "never-heals-after-rejection",
        "A proxy that rejected one bad route gets no route any more, not even when the bad one is gone.",
        "discovery",
        f"{_STREAM}:ProxyState._may_send",
        _sulking,
    ),
    Defect(
        "xds-identity-unchecked",
        "Any workload is told the configuration of every other that it claims to be.",
        "identity",
        "refmesh.discovery.gate:is_of",
        _whoever_says_so,
    ),
)
