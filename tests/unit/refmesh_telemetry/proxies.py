"""A real Envoy that plays both sidecars of one hop: the outbound filters in front, the inbound filters behind."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import envoy._bin
from cryptography import x509
from google.protobuf.json_format import MessageToDict
from prometheus_client.parser import text_string_to_metric_families

from refmesh.agent.exposition import Workload
from refmesh.agent.scrape import Scraper
from refmesh.agent.settings import Settings as SidecarSettings
from refmesh.api.peer_authentication import MtlsMode
from refmesh.config.model import Protocol
from refmesh.discovery import filters, routes
from refmesh.discovery.guards import Guard
from refmesh.discovery.inbound import Inbound, InboundPort, inbound_routes
from refmesh.discovery.settings import MeshSettings
from refmesh.discovery.upstream_http import HTTP_OPTIONS, http_options
from tests.unit.refmesh_discovery.authority import TestAuthority

ENVOY = Path(envoy._bin.__path__[0]) / "envoy"
HOST = "reviews.shop.svc.cluster.local"
CLIENT, SERVER = "spiffe://cluster.local/ns/shop/sa/page", "spiffe://cluster.local/ns/shop/sa/reviews"
HTTP2 = {
    "typed_extension_protocol_options": {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
    }
}
TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."


class Application(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: list[dict[str, str]]

    def do_GET(self) -> None:
        self.seen.append({key.lower(): value for key, value in self.headers.items()})
        self.send_response(int(self.path.rpartition("/")[2] or 200))
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: Any) -> None:
        pass


@dataclass
class Hop:
    """Ports of the hop: `client` as the application sees it; `server` and `plain` as peers see the other end."""

    client: int
    server: int
    plain: int
    raw: int
    admin: int
    seen: list[dict[str, str]] = field(default_factory=list)

    def ask(self, path: str = "/200", port: int | None = None, headers: Mapping[str, str] = {}) -> int:
        request = urllib.request.Request(f"http://127.0.0.1:{port or self.client}{path}", headers=dict(headers))
        try:
            with urllib.request.urlopen(request, timeout=5) as reply:
                reply.read()
                return int(reply.status)
        except urllib.error.HTTPError as error:
            error.read()
            return error.code

    def scraper(self, *, server: bool) -> Scraper:
        """The agent's scraper of one of the two pods."""
        if server:
            return Scraper(Workload("reviews-v2", "shop", "reviews", "v2"), SERVER, "127.0.0.1", admin_port=self.admin)
        return Scraper(Workload("page", "shop", "page", "v1"), CLIENT, "127.0.0.1", admin_port=self.admin)


def scrape(scraper: Scraper, query: str = "") -> str:
    """What Prometheus would read; with the query `graph` what the dashboard reads."""
    ours, theirs = socket.socketpair()

    def answer() -> None:
        with theirs:
            scraper.send(theirs, query)

    thread = threading.Thread(target=answer)
    thread.start()
    with ours, ours.makefile("rb") as reply:
        whole = reply.read()
    thread.join()
    head, _, body = whole.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    text, at = b"", 0
    while size := int(body[at : (end := body.index(b"\r\n", at))], 16):
        text += body[end + 2 : end + 2 + size]
        at = end + 4 + size
    return text.decode()


@dataclass(frozen=True)
class Sample:
    """One line of an exposition."""

    name: str
    labels: dict[str, str]
    value: float


def samples(text: str, name: str) -> list[Sample]:
    """The samples of one metric, as a Prometheus client reads them."""
    return [
        Sample(sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    ]


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [item.getsockname()[1] for item in sockets]


def _secured(authority: TestAuthority, identity: str, kind: str) -> dict[str, Any]:
    chain, key = authority.issue([x509.UniformResourceIdentifier(identity)])
    common = {
        "tls_certificates": [
            {"certificate_chain": {"inline_string": chain.decode()}, "private_key": {"inline_string": key.decode()}}
        ],
        "validation_context": {"trusted_ca": {"inline_string": authority.trust_bundle_pem().decode()}},
    }
    more = {"require_client_certificate": True} if kind == "DownstreamTlsContext" else {}
    config = {"@type": f"{TLS}{kind}", "common_tls_context": common, **more}
    return {"name": "envoy.transport_sockets.tls", "typed_config": config}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _inbound(settings: MeshSettings, *, verified: bool) -> dict[str, Any]:
    """The inbound filter, with its routes in place of their name."""
    found = MessageToDict(filters.http_inbound(settings, 80, Guard(), verified=verified, target=HOST))
    del found["typedConfig"]["rds"]
    ports = Inbound((InboundPort(80, Protocol.HTTP, MtlsMode.PERMISSIVE),), MtlsMode.PERMISSIVE)
    (table,) = inbound_routes(ports, settings).values()
    found["typedConfig"]["routeConfig"] = MessageToDict(table)
    return found


def _listener(
    port: int, network_filter: Any, socket_config: dict[str, Any] | None = None, direction: str = "INBOUND"
) -> dict[str, Any]:
    as_dict = network_filter if isinstance(network_filter, dict) else MessageToDict(network_filter)
    chain: dict[str, Any] = {"filters": [as_dict]}
    if socket_config is not None:
        chain["transport_socket"] = socket_config
    return {"name": f"l{port}", "address": _address(port), "filter_chains": [chain], "traffic_direction": direction}


def _cluster(name: str, port: int, metadata: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _address(port)}, "metadata": {"filter_metadata": metadata}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        **more,
    }


def bootstrap(hop: Hop, app: int, settings: MeshSettings, control_plane: int = 1) -> dict[str, Any]:
    """The hop as Envoy's static configuration, of the filters that the mesh generates."""
    authority = TestAuthority()
    upstream = _secured(authority, CLIENT, "UpstreamTlsContext")
    downstream = _secured(authority, SERVER, "DownstreamTlsContext")
    peer = {"refmesh.peer": {"peer": "reviews-v2;shop;reviews;v2"}}
    host = {"metadata": {"filter_metadata": {"refmesh.peer": {"host": HOST}}}}
    options = MessageToDict(http_options(Protocol.HTTP, http1=True, write_b3=settings.write_b3))
    generated = {"typed_extension_protocol_options": {HTTP_OPTIONS: options}}
    return {
        "node": {"id": "test", "cluster": "test"},
        "admin": {"address": _address(hop.admin)},
        "static_resources": {
            "listeners": [
                _listener(
                    hop.client,
                    filters.http_outbound(settings, "", routes.single_cluster("out", "server")),
                    direction="OUTBOUND",
                ),
                _listener(hop.server, _inbound(settings, verified=True), downstream),
                _listener(hop.plain, _inbound(settings, verified=False)),
                _listener(hop.raw, filters.tcp(settings, "outbound", "raw", target=HOST)),
            ],
            "clusters": [
                _cluster("server", hop.server, peer, {"transport_socket": upstream, **host, **generated}),
                _cluster("raw", hop.plain, peer, {}),
                _cluster("inbound|80||", app, {}, generated),
                _cluster("xds-grpc", control_plane, {}, HTTP2),
                {"name": "BlackHoleCluster", "type": "STATIC", "connect_timeout": "1s"},
            ],
        },
    }


@contextlib.contextmanager
def running_hop(folder: Path, settings: MeshSettings | None = None, control_plane: int = 1) -> Iterator[Hop]:
    """Start application and Envoy; gone afterwards."""
    seen: list[dict[str, str]] = []
    handler = type("Recording", (Application,), {"seen": seen})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client, inbound, plain, raw, admin = free_ports(5)
    hop = Hop(client, inbound, plain, raw, admin, seen)
    config = folder / "envoy.json"
    whole = bootstrap(hop, server.server_address[1], settings or MeshSettings(), control_plane)
    config.write_text(json.dumps(whole))
    sidecar = SidecarSettings("page-1", "shop", "page", "127.0.0.1", "", peer="page;shop;page;v1")
    named = {"REFMESH_PEER": sidecar.peer, "OTEL_RESOURCE_ATTRIBUTES": sidecar.resource}
    with (folder / "envoy.log").open("wb") as log:
        process = subprocess.Popen(
            [ENVOY, "-c", config, "--concurrency", "1", "--use-dynamic-base-id", "--disable-hot-restart"],
            stdout=log, stderr=log, env={**os.environ, **named},
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 30
            while True:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{hop.admin}/ready", timeout=1):
                        break
                except OSError:
                    assert process.poll() is None, (folder / "envoy.log").read_text()
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
            yield hop
        finally:
            process.terminate()
            process.wait()
            server.shutdown()
            server.server_close()
