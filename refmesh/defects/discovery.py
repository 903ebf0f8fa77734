"""Defects in config and in discovery's protocol: what proxies get to hear, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from refmesh.api.kinds import KINDS, parse
from refmesh.config.model import Key, key_of
from refmesh.config.store import Source
from refmesh.defects.defect import Defect
from refmesh.defects.makers import changes_late
from refmesh.discovery import stream
from refmesh.kubeclient import KubeError

__all__ = ["DEFECTS"]

_STREAM = "refmesh.discovery.stream"
_UNBROKEN, _GAP, _LATE, _PATIENCE = 2.0, 0.3, 15.0, 15.0
"""Seconds."""
_ROUTES = {"HTTPRoute": "http_routes", "VirtualService": "virtual_services"}


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
    """Recognise no answer, so that every push waits as if the one before had been lost; and be patient with that."""
    _ = sound
    stream.STALL_SECONDS = _PATIENCE
    return lambda _request, _outstanding: None


def _always_the_first(sound: Callable[[str, bytes], str]) -> Callable[[str, bytes], str]:
    """Give every content of a resource the same version, so that no change is seen."""
    return lambda name, _value: sound(name, b"")


def _bad_object_raises(sound: Callable[..., bool]) -> Callable[..., bool]:
    """Let the mistake in one object end the reading of all of its kind."""

    def take(watcher: Any, source: Source, obj: Any) -> bool:
        for kind in KINDS:
            if kind.name == source.name and (reason := getattr(parse(kind, obj, ""), "reason", "")):
                raise ValueError(reason)
        return sound(watcher, source, obj)

    return take


def _emptied(sound: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """When a watch of endpoints breaks off, forget them; and have it break off every few seconds."""

    async def follow(watcher: Any, source: Any) -> None:
        if source.name == "EndpointSlice":
            watcher._kube = _Cut(watcher._kube, lambda: watcher._note(source, changed=forget()))  # noqa: SLF001

            def forget() -> bool:
                return bool(watcher._store.keep(source.name, frozenset()))  # noqa: SLF001 - the seam

        await sound(watcher, source)

    return follow


class _Cut:
    """The API server, whose watches of endpoints break off."""

    def __init__(self, kube: Any, broken: Callable[[], None]) -> None:
        self._kube, self._broken = kube, broken

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kube, name)

    async def watch(self, api_version: str, plural: str, version: str) -> AsyncIterator[Any]:
        events = self._kube.watch(api_version, plural, version)
        if plural != "endpointslices":
            async for event in events:
                yield event
            return
        try:
            async with asyncio.timeout(_UNBROKEN):
                async for event in events:
                    yield event
        except TimeoutError:
            self._broken()
            raise KubeError(500, "the watch broke off") from None


def _changed_late(sound: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Take in a new route at once, and its changes when nobody waits for them any more."""
    return changes_late(sound, _ROUTES, _LATE)


def _deleted_first(sound: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Take a route that changes for one that was deleted, and for a new one a moment later."""

    async def follow(watcher: Any, source: Source) -> None:
        store = watcher._store  # noqa: SLF001 - the seam
        put, drop = store.put, store.drop
        latest, away = dict[Key, Any](), set[Key]()

        def take(kind: str, obj: Any) -> bool:
            if kind != source.name:
                return bool(put(kind, obj))
            key = key_of(obj)
            before = latest.get(key, obj)
            latest[key] = obj
            if key in away:
                return False
            if before["spec"] == obj["spec"]:
                return bool(put(kind, obj))
            away.add(key)
            asyncio.get_running_loop().call_later(_GAP, back, key)
            return bool(drop(kind, key))

        def back(key: Key) -> None:
            away.discard(key)
            if key in latest:
                watcher._note(source, changed=put(source.name, latest[key]))  # noqa: SLF001

        def forget(kind: str, key: Key) -> bool:
            if kind == source.name:
                latest.pop(key, None)
            return bool(drop(kind, key))

        if source.name in _ROUTES:
            store.put, store.drop = take, forget
        await sound(watcher, source)

    return follow


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
        "refmesh.config.watcher:Watcher._take",
        _bad_object_raises,
    ),
    Defect(
        "endpoints-emptied-on-watch-error",
        "When a watch of endpoints breaks off, as it does every few seconds, there are none until the next list.",
        "discovery",
        "refmesh.config.watcher:Watcher._follow",
        _emptied,
    ),
    Defect(
        "route-changes-late",
        "A new route is in force at once, its changes after a quarter of a minute.",
        "discovery",
        "refmesh.config.watcher:Watcher._follow",
        _changed_late,
    ),
    Defect(
        "changed-route-deleted-first",
        "A route that changes is taken for deleted first, and for a new one a moment later.",
        "discovery",
        "refmesh.config.watcher:Watcher._follow",
        _deleted_first,
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
