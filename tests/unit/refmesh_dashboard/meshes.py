"""Synthetic snapshots: the sample shop, and a mesh of as many services as wanted."""

from __future__ import annotations

import random

from refmesh.dashboard.view import Certificate, Proxy, Refused, View
from refmesh.telemetry.traffic import Edge

NOW = 1_790_000_000.0


def shop() -> View:
    def edge(source: str, destination: str, rate: float, success: float = 1.0, secure: float = 1.0) -> Edge:
        home = ("unknown", "unknown") if source == "unknown" else ("shop", source)
        return Edge(home, ("shop", destination), rate, success, 4.2, 38.0, secure)

    return View(
        now=NOW,
        edges=(
            edge("unknown", "productpage", 12.5, secure=0.0),
            edge("productpage", "details", 12.5),
            edge("productpage", "reviews", 12.5, 0.982),
            edge("reviews", "ratings", 8.3, 0.91),
            Edge(("shop", "ratings"), ("shop", "mongodb"), 0.0, 1.0, 0.0, 0.0, 0.0, connections=0.02),
        ),
        proxies=tuple(Proxy(f"{name}-v1-6f.shop", in_step=name != "ratings") for name in ("reviews", "ratings")),
        refused=(
            Refused("VirtualService", "shop", "reviews", "spec.http[0].route[0].weight: must be 0 or more, not -1"),
        ),
        certificates=(
            Certificate("issuer of the mesh", NOW + 300 * 86400),
            Certificate("reviews-v1-6f.shop", NOW + 20 * 60),
        ),
    )


def large(services: int) -> View:
    dice = random.Random(4)
    names = [(f"team-{number % 25}", f"service-{number}") for number in range(services)]
    edges = [
        Edge(
            names[source],
            names[min(services - 1, source + dice.randrange(1, 40))],
            dice.expovariate(0.1),
            dice.choice([1.0, 1.0, 0.999, 0.97]),
            dice.uniform(1, 20),
            dice.uniform(20, 400),
            1.0,
        )
        for source in range(services)
        for _ in range(3)
    ]
    unique = {(edge.source, edge.destination): edge for edge in edges}
    proxies = tuple(Proxy(f"{name}-{pod}.{space}", in_step=True) for space, name in names for pod in range(2))
    certificates = tuple(Certificate(proxy.name, NOW + dice.uniform(3600, 86400)) for proxy in proxies)
    ordered = tuple(sorted(unique.values(), key=lambda edge: -edge.rate))
    return View(now=NOW, edges=ordered, proxies=proxies, certificates=certificates)
