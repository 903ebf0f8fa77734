"""Routes that stand on a ground from its first check on, each over a service of its own.

All are put into the cluster at once, so that a mesh which puts none of them in force is found out after one time limit
and not after one for each check. A route that is refused, or that the mesh has no words for, concerns its own checks
only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TypeVar

from conformance.adapters import Manifest
from conformance.context import LIMITS, LOOK_SECONDS, Context, NotExpressible
from conformance.gates import Gate, Look, gates_open
from conformance.intents import Backend, Intent, Marker
from reports.errors import EnvironmentProblem, MeshproofError

__all__ = ["Route", "Standing", "Stood", "expressible"]

AT_ONCE = 4
"""Routes that are put into the cluster side by side."""
T = TypeVar("T")
W = TypeVar("W")


def expressible(ways: Iterable[W], act: Callable[[W], T]) -> tuple[T, ...]:
    """What comes of each way of writing a configuration that the mesh has words for.

    Raises `NotExpressible` where it has words for none.
    """
    found: list[T] = []
    silent: NotExpressible | None = None
    for way in ways:
        try:
            found.append(act(way))
        except NotExpressible as error:
            silent = error
    if not found and silent is not None:
        raise silent
    return tuple(found)


@dataclass(frozen=True)
class Route:
    """One route: what it takes, and how to see that it is in force."""

    service: str
    intents: Callable[[Context, Marker], tuple[Intent, ...]]
    mark: Backend
    gate: Gate = field(default_factory=Gate)


@dataclass(frozen=True)
class Stood:
    """A route that was put into the cluster."""

    since: float
    marker: Marker
    objects: tuple[Manifest, ...]
    problem: Exception | None = None


class Standing:
    """The routes of one ground, by name."""

    def __init__(self, routes: Mapping[str, Route]) -> None:
        self.routes = dict(routes)

    def put(self, ctx: Context) -> dict[str, Stood]:
        """Put all of them into the cluster, several at a time: the first check waits for it."""
        with ThreadPoolExecutor(AT_ONCE, "routes") as pool:
            stood = pool.map(lambda route: self._put(ctx, route), self.routes.values())
            return dict(zip(self.routes, stood, strict=True))

    def _put(self, ctx: Context, route: Route) -> Stood:
        marker = ctx.marker(route.mark)
        try:
            sent = ctx.apply(*route.intents(ctx, marker))
        except (MeshproofError, NotExpressible) as error:
            return Stood(time.monotonic(), marker, (), error)
        return Stood(time.monotonic(), marker, sent)

    def stood(self, ctx: Context, name: str) -> Stood:
        """A route as it was put into the cluster. Raises why it could not be."""
        found = ctx.shared(self.put, judged=False)[name]
        if found.problem is not None:
            raise found.problem
        return found

    def hold(self, ctx: Context, *names: str) -> tuple[str, ...]:
        """Wait until routes are in force: those of them that the mesh has words for, at least one.

        Returns their names. Raises why a route was refused, or does not come into force.
        """
        at_sight = self._open(ctx, names) if len(names) > 1 else frozenset[str]()

        def held(name: str) -> str:
            stood = self.stood(ctx, name)
            if name not in at_sight:
                self._await(ctx, self.routes[name], stood)
            return name

        return expressible(names, held)

    def _open(self, ctx: Context, names: Iterable[str]) -> frozenset[str]:
        """The routes that one look at all together finds in force: most have been for long when they are asked for.

        What goes wrong here is found again, and told, by whoever waits for the route itself.
        """
        clients: dict[str, dict[str, Look]] = {}
        for name in names:
            route = self.routes[name]
            with suppress(MeshproofError, NotExpressible):
                look = ctx.look(route.service, self.stood(ctx, name).marker, route.gate)
                clients.setdefault(route.gate.client, {})[name] = look
        found = set[str]()
        for client, looks in clients.items():
            with suppress(EnvironmentProblem):
                opened = gates_open(ctx.client(client).batches, tuple(looks.values()))
                found |= {name for name, is_open in zip(looks, opened, strict=True) if is_open}
        return frozenset(found)

    @staticmethod
    def _await(ctx: Context, route: Route, stood: Stood) -> None:
        left = LIMITS.in_force - (time.monotonic() - stood.since)
        ctx.gate(route.service, stood.marker, replace(route.gate, timeout=max(left, LOOK_SECONDS)))
