"""The delta xDS protocol for one proxy, as a state machine without I/O.

Requests, new worlds and the passing of time go in; responses come out of `responses`. What was sent is not kept per
resource: a proxy is in step with a table, and the difference between that table and the current one is what it lacks.
However many changes pile up while a proxy is slow, it costs nothing and gets one response.

Order: clusters, endpoints, listeners, routes. Listeners and routes wait until what they name has been acknowledged;
endpoints never wait, because Envoy acknowledges clusters only once it has their endpoints. Clusters are removed last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from refmesh.discovery.difference import changes, difference
from refmesh.discovery.rejections import Rejections
from refmesh.discovery.resource import Encoded, ResourceType, Table
from refmesh.discovery.world import Tables

__all__ = ["STALL_SECONDS", "ProxyState", "Response", "answered", "delivery", "rejection"]

STALL_SECONDS = 5.0
"""How long an unanswered push may hold back others. A proxy that does not answer at all is the connection's problem."""

_EMPTY: Table = MappingProxyType({})
_WILDCARD = "*"
_WAITS_FOR: Mapping[ResourceType, tuple[ResourceType, ...]] = {
    ResourceType.CLUSTER: (),
    ResourceType.ENDPOINT: (),
    # A listener whose secret is on its way does not open before it has come; Envoy asks once it has the listener.
    ResourceType.SECRET: (),
    ResourceType.LISTENER: (ResourceType.CLUSTER, ResourceType.ENDPOINT),
    ResourceType.ROUTE: (ResourceType.CLUSTER, ResourceType.ENDPOINT, ResourceType.LISTENER),
}
_MAX_NAMES = 200_000
_MAX_OUTSTANDING = 64
_LONGEST_REASON = 2000


@dataclass(frozen=True)
class Response:
    """One delta response."""

    kind: ResourceType
    nonce: str
    resources: tuple[Encoded, ...]
    removed: tuple[str, ...]


class _Push(NamedTuple):
    """A response without an answer: when it was sent, and what it carried."""

    at: float
    resources: tuple[Encoded, ...]


@dataclass
class _Subscription:
    """What the proxy wants of one type, and which table it is in step with."""

    kind: ResourceType
    started: bool = False
    wildcard: bool = False
    answered: bool = False
    """Whether anything has been sent."""
    names: set[str] = field(default_factory=set)
    table: Table = field(default_factory=lambda: _EMPTY)
    own: Table = field(default_factory=lambda: _EMPTY)
    known: dict[str, str] = field(default_factory=dict)
    """Versions the proxy said it has when it connected, until the first comparison."""
    forced: set[str] = field(default_factory=set)
    """Names to answer for even if nothing changed: newly subscribed, or needed again by an updated cluster."""
    held: set[str] = field(default_factory=set)
    """Clusters to remove once nothing names them any more."""
    outstanding: dict[str, _Push] = field(default_factory=dict)
    """Pushes without an answer, by nonce."""
    rejected: Rejections = field(init=False)

    def __post_init__(self) -> None:
        self.rejected = Rejections(self.kind)


def answered(request: Any, outstanding: Mapping[str, Any]) -> str | None:
    """The nonce of the push that a request answers; None for one that answers none, or one long forgotten."""
    return request.response_nonce if request.response_nonce in outstanding else None


def rejection(request: Any) -> str:
    """Why the proxy keeps what it had instead of what it was sent, in one line; empty where it took it.

    What a pod says stands in logs, on terminals and on pages: it cannot begin a line of its own there.
    """
    if not request.HasField("error_detail"):
        return ""
    text = "".join(sign if sign.isprintable() else " " for sign in request.error_detail.message[:_LONGEST_REASON])
    return " ".join(text.split()) or "rejected without a reason"


def delivery() -> Mapping[ResourceType, tuple[ResourceType, ...]]:
    """The types in the order in which they are sent, each with those that must be acknowledged before."""
    return _WAITS_FOR


class ProxyState:
    """One proxy's stream. Feed it with `request` and `offer`, then send what `responses` gives."""

    def __init__(self) -> None:
        self._subscriptions = {kind: _Subscription(kind) for kind in ResourceType}
        self._shared: Tables = MappingProxyType({})
        self._own: Tables = MappingProxyType({})
        self._nonce = 0
        self._unfollowed: set[str] = set()
        """Clusters sent before anything was said of endpoints: a proxy that connects again asks type by type."""

    # ---------------------------------------------------------------------------------------------------------- input
    def offer(self, shared: Tables, own: Tables) -> None:
        """Take the current world: what all proxies of the namespace share, and what is this proxy's alone."""
        self._shared, self._own = shared, own

    def request(self, request: Any) -> str | None:
        """Take a request (DeltaDiscoveryRequest). Gives the error message of a NACK, else None."""
        try:
            subscription = self._subscriptions[ResourceType(request.type_url)]
        except ValueError:
            return None  # a type refmesh does not serve: silence is the protocol's way of saying so
        nack = None
        nonce = answered(request, subscription.outstanding)
        if nonce is not None:
            carried = subscription.outstanding.pop(nonce).resources
            nack = rejection(request) or None
            if nack is None:
                subscription.rejected.forget(item.name for item in carried)
            else:
                subscription.rejected.add([item.name for item in carried], nack, request.error_detail.message)
        self._subscribe(subscription, request)
        return nack

    def _subscribe(self, subscription: _Subscription, request: Any) -> None:
        added, dropped = list(request.resource_names_subscribe), list(request.resource_names_unsubscribe)
        if not subscription.started:
            subscription.started = True
            # The first request without names asks for everything, as older clients do.
            subscription.wildcard = not added
            subscription.known = dict(request.initial_resource_versions)
            if subscription.kind is ResourceType.ENDPOINT:
                # It may have the endpoints of these already, and waits for them all the same.
                subscription.forced |= self._unfollowed.intersection(added)
                self._unfollowed.clear()
        if _WILDCARD in added:
            added.remove(_WILDCARD)
            if not subscription.wildcard:
                subscription.wildcard = True
                subscription.table, subscription.own = _EMPTY, _EMPTY
        for name in dropped:
            if name == _WILDCARD:
                subscription.wildcard = False
            subscription.names.discard(name)
            subscription.forced.discard(name)
        subscription.rejected.forget(dropped)
        for name in added[: _MAX_NAMES - len(subscription.names)]:
            subscription.names.add(name)
            # Asking again for what one already has means: send it again.
            if name not in subscription.known:
                subscription.forced.add(name)

    # --------------------------------------------------------------------------------------------------------- output
    def responses(self, now: float) -> list[Response]:
        """What to send now. Call it after every input, and again when `wake` says so."""
        found = []
        for kind in delivery():
            if self._may_send(kind, now) and (response := self._respond(kind, now)) is not None:
                found.append(response)
                if kind is ResourceType.CLUSTER:
                    # An updated cluster waits for its endpoints anew, even if they did not change.
                    wanted = self._subscriptions[ResourceType.ENDPOINT]
                    sent = {item.name for item in response.resources}
                    wanted.forced |= sent & wanted.names
                    if not wanted.started:
                        self._unfollowed |= sent
        if (removal := self._removal(now)) is not None:
            found.append(removal)
        return found

    def wake(self, now: float) -> float | None:
        """Seconds until waiting for an answer ends; None when nothing is waiting."""
        sent = [push for subscription in self._subscriptions.values() for push in subscription.outstanding.values()]
        late = [push.at + STALL_SECONDS - now for push in sent]
        return min((seconds for seconds in late if seconds > 0), default=None)

    @property
    def in_step(self) -> bool:
        """Whether the proxy has acknowledged everything there is for it."""
        return all(
            not item.outstanding
            and not item.held
            and not item.forced
            and item.table is self._shared.get(item.kind, _EMPTY)
            for item in self._subscriptions.values()
            if item.started
        )

    def status(self) -> dict[str, Any]:
        """For people: per type, how many resources, whether acknowledged, why and how many of them were rejected."""
        return {
            item.kind.short: {
                "wanted": len(item.table) + len(item.own) if item.wildcard else len(item.names),
                "acknowledged": not item.outstanding,
                "rejected": item.rejected.first,
                "kept": len(item.rejected),
            }
            for item in self._subscriptions.values()
            if item.started
        }

    # ------------------------------------------------------------------------------------------------------ internals
    def _waiting(self, kind: ResourceType, now: float) -> bool:
        return any(now - push.at < STALL_SECONDS for push in self._subscriptions[kind].outstanding.values())

    def _may_send(self, kind: ResourceType, now: float) -> bool:
        subscription = self._subscriptions[kind]
        if not subscription.started:
            return False
        if kind is ResourceType.ENDPOINT and subscription.forced:
            return True
        # One push of changes at a time: what happens meanwhile is sent in one piece afterwards.
        return not self._waiting(kind, now) and not any(self._waiting(other, now) for other in delivery()[kind])

    def _respond(self, kind: ResourceType, now: float) -> Response | None:
        subscription = self._subscriptions[kind]
        table, own = self._shared.get(kind, _EMPTY), self._own.get(kind, _EMPTY)
        changed, gone = _difference(subscription, table, own)
        for name in subscription.forced:
            item = own.get(name) or table.get(name)
            if item is not None:
                changed[name] = item
            else:
                gone.add(name)
        subscription.forced = set()
        subscription.table, subscription.own = table, own
        if kind is ResourceType.CLUSTER:
            subscription.held = (subscription.held | gone) - set(changed)
            subscription.held = {name for name in subscription.held if name not in table and name not in own}
            gone = set()
        if kind is ResourceType.SECRET:
            gone = set()  # whoever names a secret that is gone goes on with it until told otherwise
        # Who asks for everything there is waits for an answer, even where there is nothing.
        unanswered = subscription.wildcard and not subscription.answered
        if not changed and not gone and not unanswered:
            return None
        return self._send(subscription, changed.values(), gone, now)

    def _removal(self, now: float) -> Response | None:
        """Remove clusters once everything that could name them has been replaced and acknowledged."""
        subscription = self._subscriptions[ResourceType.CLUSTER]
        if not subscription.held or any(self._waiting(kind, now) for kind in ResourceType):
            return None
        behind = [
            kind
            for kind in (ResourceType.LISTENER, ResourceType.ROUTE)
            if self._subscriptions[kind].started
            and self._subscriptions[kind].table is not self._shared.get(kind, _EMPTY)
        ]
        if behind:
            return None
        gone, subscription.held = subscription.held, set()
        return self._send(subscription, (), gone, now)

    def _send(
        self, subscription: _Subscription, changed: Iterable[Encoded], gone: Iterable[str], now: float
    ) -> Response:
        self._nonce += 1
        subscription.answered = True
        nonce = str(self._nonce)
        while len(subscription.outstanding) >= _MAX_OUTSTANDING:
            subscription.outstanding.pop(next(iter(subscription.outstanding)))
        sent, removed = tuple(changed), tuple(sorted(gone))
        subscription.rejected.forget(removed)
        subscription.outstanding[nonce] = _Push(now, sent)
        return Response(subscription.kind, nonce, sent, removed)


def _difference(subscription: _Subscription, table: Table, own: Table) -> tuple[dict[str, Encoded], set[str]]:
    """What the proxy lacks, and what it has too many, of the names it wants."""
    changed: dict[str, Encoded] = {}
    gone: set[str] = set()
    known, subscription.known = subscription.known, {}
    if known:
        # The first comparison after a reconnect is with what the proxy says it has.
        wanted = {**table, **own} if subscription.wildcard else {}
        wanted |= {name: item for name in subscription.names if (item := own.get(name) or table.get(name)) is not None}
        changed = {name: item for name, item in wanted.items() if known.get(name) != item.version}
        gone = {name for name in known if name not in wanted}
        return changed, gone
    for old, new, between in ((subscription.table, table, changes), (subscription.own, own, difference)):
        different, leavers = between(old, new)
        if new is table and own:
            # A resource of the proxy's own stands in front of the shared one of its name.
            different = {name: item for name, item in different.items() if name not in own}
        elif new is own:
            behind = {name: table[name] for name in leavers if name in table}
            different = {**behind, **different} if behind else different
        if subscription.wildcard:
            changed |= different
        elif len(different) > len(subscription.names):
            changed |= {name: item for name in subscription.names if (item := different.get(name)) is not None}
        else:
            changed |= {name: item for name, item in different.items() if name in subscription.names}
        gone |= {
            name
            for name in leavers
            if name not in table and name not in own and (subscription.wildcard or name in subscription.names)
        }
    return changed, gone
