"""A real Envoy with a listener for each set of policies: the generated filters and routes, and an answer of its own."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import envoy._bin
from cryptography import x509
from google.protobuf.json_format import MessageToDict

from refmesh.agent.bootstrap import RUNTIME
from refmesh.discovery.resource import ResourceType
from tests.unit.refmesh_discovery.authority import TestAuthority
from tests.unit.refmesh_discovery.helpers import MemoryCluster, all_messages

ENVOY = Path(envoy._bin.__path__[0]) / "envoy"
POD = ("shop", "echo-v1")
ROUTE = "inbound|8080||"
CHAIN, MUTUAL_CHAIN = "8080-plaintext", "8080-mtls"
SEEN = ("authorization", "x-payload", "x-user")
"""Headers of a request that the answer repeats as an application would have seen them."""
EXTENSIONS = "type.googleapis.com/envoy.extensions"
Objects = Sequence[tuple[str, dict[str, Any]]]


@dataclass(frozen=True)
class Answer:
    """What came back: the status, and the path and headers that an application would have seen."""

    status: int
    path: str
    seen: Mapping[str, str]


@dataclass(frozen=True)
class Guarded:
    """The ports of the listeners, by the name of their policies."""

    ports: Mapping[str, int]
    log: Path
    authority: TestAuthority = field(default_factory=TestAuthority)

    def ask(
        self,
        name: str,
        path: str = "/",
        *,
        method: str = "GET",
        host: str = "echo",
        headers: str = "",
        port: int = 0,
        peer: str = "",
    ) -> Answer:
        """Send exactly these bytes; `headers` are whole lines.

        `port`: where the client wanted to go, as the redirect rules restore it in a pod. `peer`: over mutual TLS, with
        a certificate of this identity.
        """
        lines = [f"{method} {path} HTTP/1.1", f"host: {host}", "connection: close", *headers.splitlines()]
        with ExitStack() as stack:
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", self.ports[name]), 20))
            if port:
                connection.sendall(f"PROXY TCP4 127.0.0.1 127.0.0.1 40000 {port}\r\n".encode())
            if peer:
                connection = stack.enter_context(self._as(peer).wrap_socket(connection))
            connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            text = b""
            while b"\r\n\r\n" not in text and (part := connection.recv(65536)):
                text += part
        head = text.decode("latin-1").partition("\r\n\r\n")[0].split("\r\n")
        found = dict(line.split(": ", 1) for line in head[1:])
        seen = {name: found[f"x-seen-{name}"] for name in SEEN if f"x-seen-{name}" in found}
        return Answer(int(head[0].split()[1]), found.get("x-path", ""), seen)

    def _as(self, peer: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with tempfile.TemporaryDirectory() as folder:
            both = Path(folder) / "pair.pem"
            both.write_bytes(b"".join(self.authority.issue([x509.UniformResourceIdentifier(peer)])))
            context.load_cert_chain(both)
        return context

    def allows(self, name: str, path: str = "/", **request: Any) -> bool:
        """Whether the request got through; anything but 200 and 403 is a mistake of the test."""
        answer = self.ask(name, path, **request)
        assert answer.status in {200, 403}, answer
        return answer.status == 200


def listener(name: str, objects: Objects, authority: TestAuthority | None = None) -> dict[str, Any]:
    """The plaintext chain of the echo's HTTP port under these policies, and that for mutual TLS beside it."""
    cluster = MemoryCluster().with_echo()
    for kind, item in objects:
        cluster.put(kind, item)
    world = cluster.world()
    inbound = MessageToDict(all_messages(world, POD, ResourceType.LISTENER)["virtualInbound"])
    routes = MessageToDict(all_messages(world, POD, ResourceType.ROUTE)[ROUTE])
    (host,) = routes["virtualHosts"]
    (route,) = host["routes"]
    del route["route"]
    route["directResponse"] = {"status": 200}
    seen = {"x-path": ":path"} | {f"x-seen-{header}": header for header in SEEN}
    routes["responseHeadersToAdd"] = [{"header": {"key": key, "value": f"%REQ({of})%"}} for key, of in seen.items()]
    chains = []
    for found in (CHAIN, MUTUAL_CHAIN):
        (chain,) = [item for item in inbound["filterChains"] if item["name"] == found]
        chain["filterChainMatch"] = {"transportProtocol": "raw_buffer" if found == CHAIN else "tls"}
        manager = chain["filters"][0]["typedConfig"]
        del manager["rds"]
        manager["routeConfig"] = routes
        chains.append(chain)
    chains[1]["transportSocket"]["typedConfig"] = _mutual_tls(authority or TestAuthority())
    address = {"socketAddress": {"address": "127.0.0.1", "portValue": 0}}
    return {"name": name, "address": address, "listenerFilters": LISTENER_FILTERS, "filterChains": chains}


LISTENER_FILTERS = [
    {
        "name": "proxy",
        "typedConfig": {
            "@type": f"{EXTENSIONS}.filters.listener.proxy_protocol.v3.ProxyProtocol",
            "allowRequestsWithoutProxyProtocol": True,
        },
    },
    {"name": "tls", "typedConfig": {"@type": f"{EXTENSIONS}.filters.listener.tls_inspector.v3.TlsInspector"}},
]


def _mutual_tls(authority: TestAuthority) -> dict[str, Any]:
    """What the agent's secrets stand for, in place of their names."""
    chain, key = authority.server_credentials(["echo"])
    return {
        "@type": f"{EXTENSIONS}.transport_sockets.tls.v3.DownstreamTlsContext",
        "requireClientCertificate": True,
        "commonTlsContext": {
            "tlsCertificates": [
                {"certificateChain": {"inlineString": chain.decode()}, "privateKey": {"inlineString": key.decode()}}
            ],
            "validationContext": {"trustedCa": {"inlineString": authority.trust_bundle_pem().decode()}},
        },
    }


@contextmanager
def guarded_envoy(policies: Mapping[str, Objects], folder: Path) -> Iterator[Guarded]:
    """Run Envoy with a listener for each entry."""
    authority = TestAuthority()
    with envoy_with([listener(name, objects, authority) for name, objects in policies.items()], folder) as found:
        yield replace(found, authority=authority)


@contextmanager
def envoy_with(listeners: Sequence[dict[str, Any]], folder: Path) -> Iterator[Guarded]:
    """Run Envoy with these listeners."""
    admin, config = folder / "admin", folder / "envoy.json"
    bootstrap = {
        "node": {"id": "test", "cluster": "test"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "layered_runtime": RUNTIME,
        "static_resources": {"listeners": list(listeners)},
    }
    config.write_text(json.dumps(bootstrap))
    with (folder / "envoy.log").open("wb") as log:
        process = subprocess.Popen(
            [ENVOY, "-c", config, "--admin-address-path", admin, "--concurrency", "1", "--use-dynamic-base-id",
             "--disable-hot-restart", "-l", "warning", "--file-flush-interval-msec", "20"],
            stdout=log,
            stderr=log,
        )  # fmt: skip
    try:
        log_file = folder / "envoy.log"
        yield Guarded(_ports(process, admin, log_file, len(listeners)), log_file)
    finally:
        process.terminate()
        process.wait()


def _ports(process: subprocess.Popen[bytes], admin: Path, log: Path, expected: int) -> dict[str, int]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-3000:]
        if admin.exists() and admin.read_text():
            with urllib.request.urlopen(f"http://{admin.read_text()}/listeners?format=json", timeout=5) as reply:
                found = json.load(reply).get("listener_statuses", [])
            if len(found) == expected:
                return {item["name"]: item["local_address"]["socket_address"]["port_value"] for item in found}
        time.sleep(0.01)
    raise AssertionError(log.read_text()[-3000:])
