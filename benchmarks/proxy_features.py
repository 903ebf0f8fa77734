"""Where the generated configuration's costs come from: Envoy's processor time for a request, feature by feature.

Every arm is an Envoy of its own with both sidecars of a hop in it, mutual TLS between them and HTTP/1.1 kept alive all
the way: the least that a hand would write, all that refmesh generates, and that with one feature taken out at a time.
The arms take turns. What an arm spends is its processor time, which depends on what runs beside it far less than
latency does; what is printed of it is its ratio to the hand-written arm in the same round.

    python benchmarks/proxy_features.py --rounds 200
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import Any

from google.protobuf.json_format import MessageToDict
from proxy_config import MINIMAL, listener, tls

from fixtures.images.dependencies import envoy_binary
from fixtures.workloads.pod.certificate import make
from load.statistics import block_order
from refmesh.agent.bootstrap import bootstrap
from refmesh.agent.settings import Settings
from refmesh.api.destination_rule import TrafficPolicy
from refmesh.api.peer_authentication import MtlsMode
from refmesh.config.model import Protocol
from refmesh.discovery import clusters, filters, routes
from refmesh.discovery.guards import Guard
from refmesh.discovery.inbound import Inbound, InboundPort, inbound_routes
from refmesh.discovery.observation import Observation
from refmesh.discovery.settings import MeshSettings

AGAIN, GENERATED, BARE = "hand-minimal-again", "generated", "generated without all of these"
HOST, PORT, SAMPLING = "reviews.shop.svc.cluster.local", 80, 1.0
"""A percent of the traces is recorded, as after an install that says nothing of it."""
PEER = {"refmesh.peer": {"peer": "reviews-v1;shop;reviews;v1"}}
REQUEST = b"GET / HTTP/1.1\r\nHost: reviews\r\n\r\n"
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
TIMEOUT = 20.0
RESAMPLES = 500
Configuration = dict[str, Any]


@dataclass(frozen=True)
class Ports:
    """Where an arm listens: as the client's sidecar, and as the server's."""

    client: int
    server: int


def hop(ports: Ports, app: int, outbound: Any, inbound: Any, upstreams: list[Any]) -> Configuration:
    """Both sidecars as one static configuration; `upstreams`: the clusters towards the server's sidecar and the app."""
    for cluster, port in zip(upstreams, (ports.server, app), strict=True):
        endpoint = {"endpoint": {"address": address(port)}, "metadata": {"filter_metadata": PEER}}
        cluster["type"] = "STATIC"
        cluster["load_assignment"] = {"cluster_name": cluster["name"], "endpoints": [{"lb_endpoints": [endpoint]}]}
    listeners = [
        outbound | {"name": "out", "address": address(ports.client)},
        inbound | {"name": "in", "address": address(ports.server)},
    ]
    return {"static_resources": {"listeners": listeners, "clusters": upstreams}}


def address(port: int) -> Configuration:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def minimal(ports: Ports, app: int) -> Configuration:
    secured = {"transport_socket": tls("UpstreamTlsContext")}
    upstreams = [{"name": "echo", **secured}, {"name": "app"}]
    return hop(ports, app, listener(ports.client, "echo", False), listener(ports.server, "app", True), upstreams)


def generated(ports: Ports, app: int, settings: MeshSettings) -> Configuration:
    """The filters, routes and clusters of the mesh, with certificates and endpoints in place of their sources."""
    table = routes.route_configuration(routes.RouteSpec(HOST, PORT))
    outbound = MessageToDict(filters.http_outbound(settings, "", table))
    inbound = MessageToDict(filters.http_inbound(settings, PORT, Guard(), verified=True, target=HOST))
    del inbound["typedConfig"]["rds"]
    pod = Inbound((InboundPort(PORT, Protocol.HTTP, MtlsMode.STRICT),), MtlsMode.STRICT)
    (own,) = inbound_routes(pod, settings).values()
    inbound["typedConfig"]["routeConfig"] = MessageToDict(own)
    spec = clusters.OutboundCluster(HOST, PORT, "", Protocol.HTTP, TrafficPolicy(), ())
    towards = MessageToDict(clusters.outbound_cluster(spec, settings))
    for name in ("edsClusterConfig", "transportSocketMatches"):
        del towards[name]
    towards["transport_socket"] = tls("UpstreamTlsContext")
    local = MessageToDict(clusters.inbound_cluster(f"inbound|{PORT}||", settings))
    del local["lbPolicy"]  # the address that was asked for: here there is only one
    secured = tls("DownstreamTlsContext", require_client_certificate=True)
    chains = {"filter_chains": [{"filters": [inbound], "transport_socket": secured}]}
    found = hop(ports, app, {"filter_chains": [{"filters": [outbound]}]}, chains, [towards, local])
    whole = bootstrap(Settings("page-1", "shop", "page", "127.0.0.1", ""))
    sources = [item for item in whole["static_resources"]["clusters"] if item["name"] == "xds-grpc"]
    sources[0] = {"name": "xds-grpc", "type": "STATIC", "typed_extension_protocol_options": HTTP2}
    found["static_resources"]["clusters"] += sources  # nobody answers there: spans are made, and sent to nobody
    kept = ("node", "layered_runtime", "watchdogs", "overload_manager", "stats_config")
    return found | {key: whole[key] for key in kept if key in whole}


HTTP2 = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
}


def managers(config: Configuration) -> list[Configuration]:
    chains = [chain for item in config["static_resources"]["listeners"] for chain in item["filter_chains"]]
    return [chain["filters"][0]["typedConfig"] for chain in chains]


def without_loggers(config: Configuration, name: str) -> None:
    for manager in managers(config):
        manager["accessLog"] = [log for log in manager["accessLog"] if not log["name"].endswith(name)]


def without_filters(config: Configuration, *names: str) -> None:
    for manager in managers(config):
        manager["httpFilters"] = [one for one in manager["httpFilters"] if not one["name"].startswith(names)]
        table = manager["routeConfig"]
        for key in [key for key in table.get("typedPerFilterConfig", {}) if key.startswith(names)]:
            del table["typedPerFilterConfig"][key]


def without_tracing(config: Configuration) -> None:
    for manager in managers(config):
        manager.pop("tracing", None)


def without_retries(config: Configuration) -> None:
    for manager in managers(config):
        for host in manager["routeConfig"]["virtualHosts"]:
            for route in host["routes"]:
                route["route"].pop("retryPolicy", None)


def without_certificate(config: Configuration) -> None:
    for manager in managers(config):
        manager.pop("forwardClientCertDetails", None)
        manager.pop("setCurrentClientCertDetails", None)


def without_cluster_options(config: Configuration) -> None:
    for cluster in config["static_resources"]["clusters"]:
        if cluster["name"] != "xds-grpc":
            kept = ("name", "type", "load_assignment", "transport_socket", "lbPolicy", "metadata")
            for key in [key for key in cluster if key not in kept]:
                del cluster[key]


def without_bootstrap(config: Configuration) -> None:
    for key in ("layered_runtime", "watchdogs", "overload_manager", "stats_config"):
        config.pop(key, None)


FEATURES: Mapping[str, Callable[[Configuration], None]] = {
    "access log": lambda config: without_loggers(config, ".stdout"),
    "metrics under Istio's names": lambda config: without_loggers(config, ".stats"),
    "tracing": without_tracing,
    "workloads named to each other": lambda config: without_filters(
        config, "envoy.filters.http.header_mutation", "envoy.filters.http.header_to_metadata"
    ),
    "faults and CORS": lambda config: without_filters(config, routes.FAULT_FILTER, routes.CORS_FILTER),
    "authorization": lambda config: without_filters(config, "refmesh.authorization"),
    "retries": without_retries,
    "client certificates in headers": without_certificate,
    "limits of connections and requests": without_cluster_options,
    "bootstrap": without_bootstrap,
}


@dataclass
class Arm:
    """An Envoy with one configuration, and one connection to it."""

    client: socket.socket
    pid: int
    spent: list[float] = field(default_factory=list)
    """Processor seconds a request, round by round."""

    def ask(self, times: int) -> None:
        before = self._processor_seconds()
        for _ in range(times):
            self.client.sendall(REQUEST)
            seen = b""
            while not seen.endswith(b"hello"):
                more = self.client.recv(65536)
                if not more or not (seen + more).startswith(b"HTTP/1.1 200"):
                    raise SystemExit(f"a request was not answered: {(seen + more)[:200]!r}")
                seen += more
        self.spent.append((self._processor_seconds() - before) / times)

    def _processor_seconds(self) -> float:
        # The clock of another process (clock_getcpuclockid(3)): user and system time of all its threads.
        return time.clock_gettime((~self.pid << 3) | 2)


def configurations(app: int) -> dict[str, tuple[Ports, Configuration]]:
    """The arms by name, each with ports of its own."""
    settings = MeshSettings(observation=Observation(sampling=SAMPLING))
    made: dict[str, Callable[[Ports], Configuration]] = {
        name: lambda ports: minimal(ports, app) for name in (MINIMAL, AGAIN)
    }
    made[GENERATED] = lambda ports: generated(ports, app, settings)

    def stripped(ports: Ports, strips: Iterable[Callable[[Configuration], None]]) -> Configuration:
        config = generated(ports, app, settings)
        for strip in strips:
            strip(config)
        return config

    for name, strips in {**{name: [strip] for name, strip in FEATURES.items()}, BARE: [*FEATURES.values()]}.items():
        made[name] = partial(stripped, strips=strips)
    found = {}
    for name, build in made.items():
        ports = Ports(*free_ports(2))
        found[name] = (ports, build(ports))
    return found


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [item.getsockname()[1] for item in sockets]


def serve(server: socket.socket) -> None:
    """The application: the same words to every request, on as many connections as come."""

    def answer(connection: socket.socket) -> None:
        with connection:
            seen = b""
            while more := connection.recv(65536):
                seen += more
                while b"\r\n\r\n" in seen:
                    seen = seen.partition(b"\r\n\r\n")[2]
                    connection.sendall(REPLY)

    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def start(stack: ExitStack, folder: Path, name: str, ports: Ports, config: Configuration) -> Arm:
    file = folder / f"{name.replace(' ', '-').replace(chr(39), '')}.json"
    file.write_text(json.dumps(config).replace("/etc/minimal", str(folder)))
    log = stack.enter_context(file.with_suffix(".log").open("wb"))
    command = [str(envoy_binary()), "-c", str(file), "--concurrency", "1", "-l", "warn", "--disable-hot-restart"]
    env = os.environ | {"REFMESH_PEER": "page;shop;page;v1"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log, env=env)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            client = socket.create_connection(("127.0.0.1", ports.client), timeout=TIMEOUT)
            return Arm(stack.enter_context(closing(client)), process.pid)
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{name}: {file.with_suffix('.log').read_text()[-2000:]}") from None
            time.sleep(0.05)


def measure(rounds: int, requests: int, seed: int) -> dict[str, Any]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "both.pem").write_bytes(make(["bench"]))
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        arms = {
            name: start(stack, folder, name, ports, config)
            for name, (ports, config) in configurations(server.getsockname()[1]).items()
        }
        for arm in arms.values():
            arm.ask(requests)  # connections and caches turn warm
            arm.spent.clear()
        for order in block_order(list(arms), rounds, seed):
            for name in order:
                arms[name].ask(requests)
    return report({name: arm.spent for name, arm in arms.items()}, seed)


def report(spent: Mapping[str, list[float]], seed: int) -> dict[str, Any]:
    """Ratios to the hand-written arm; of a feature, what it adds to the ratio."""
    source, rounds = random.Random(seed), len(spent[MINIMAL])

    def ratios(chosen: Sequence[int]) -> dict[str, float]:
        # What runs beside an arm only ever adds to what it spends: the quicker rounds say most of it.
        low = {name: quantiles([values[index] for index in chosen], n=4)[0] for name, values in spent.items()}
        whole = low[GENERATED]
        return {
            **{f"{name} / {MINIMAL}": low[name] / low[MINIMAL] for name in (GENERATED, AGAIN, BARE)},
            **{name: (whole - low[name]) / low[MINIMAL] for name in FEATURES},
        }

    resampled = [ratios(source.choices(range(rounds), k=rounds)) for _ in range(RESAMPLES)]

    def shown(name: str, value: float) -> dict[str, Any]:
        twentieths = quantiles([found[name] for found in resampled], n=40)
        return {"ratio": round(value, 3), "95 %": [round(twentieths[0], 3), round(twentieths[-1], 3)]}

    found = {name: shown(name, value) for name, value in ratios(range(rounds)).items()}
    features = sorted(FEATURES, key=lambda name: -found[name]["ratio"])
    return {
        "rounds": rounds,
        "microseconds of the hand-minimal hop": round(quantiles(spent[MINIMAL], n=4)[0] * 1e6),
        **{name: value for name, value in found.items() if name not in FEATURES},
        "of which": {name: found[name] for name in features},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--requests", type=int, default=100, help="by each arm in each round")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(json.dumps(measure(given.rounds, given.requests, given.seed), indent=1))


if __name__ == "__main__":
    main()
