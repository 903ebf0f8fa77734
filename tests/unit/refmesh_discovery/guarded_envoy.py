"""A real Envoy with a listener for each set of policies: the generated filters and routes, and an answer of its own."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import envoy._bin
from google.protobuf.json_format import MessageToDict

from refmesh.agent.bootstrap import RUNTIME
from refmesh.discovery.resource import ResourceType
from tests.unit.refmesh_discovery.helpers import MemoryCluster, all_messages

ENVOY = Path(envoy._bin.__path__[0]) / "envoy"
POD = ("shop", "echo-v1")
ROUTE = "inbound|8080||"
CHAIN = "8080-plaintext"
Objects = Sequence[tuple[str, dict[str, Any]]]


@dataclass(frozen=True)
class Answer:
    """What came back: the status, and the path that an application would have seen."""

    status: int
    path: str


@dataclass(frozen=True)
class Guarded:
    """The ports of the listeners, by the name of their policies."""

    ports: Mapping[str, int]
    log: Path

    def ask(self, name: str, path: str = "/", *, method: str = "GET", host: str = "echo", headers: str = "") -> Answer:
        """Send exactly these bytes; `headers` are whole lines."""
        lines = [f"{method} {path} HTTP/1.1", f"host: {host}", "connection: close", *headers.splitlines()]
        with socket.create_connection(("127.0.0.1", self.ports[name]), 5) as connection:
            connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            text = b""
            while b"\r\n\r\n" not in text and (part := connection.recv(65536)):
                text += part
        head = text.decode("latin-1").partition("\r\n\r\n")[0].split("\r\n")
        found = dict(line.split(": ", 1) for line in head[1:])
        return Answer(int(head[0].split()[1]), found.get("x-path", ""))

    def allows(self, name: str, path: str = "/", **request: Any) -> bool:
        """Whether the request got through; anything but 200 and 403 is a mistake of the test."""
        answer = self.ask(name, path, **request)
        assert answer.status in {200, 403}, answer
        return answer.status == 200


def listener(name: str, objects: Objects) -> dict[str, Any]:
    """The plaintext chain of the echo's HTTP port under these policies."""
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
    routes["responseHeadersToAdd"] = [{"header": {"key": "x-path", "value": "%REQ(:PATH)%"}}]
    (chain,) = [item for item in inbound["filterChains"] if item["name"] == CHAIN]
    del chain["filterChainMatch"]
    manager = chain["filters"][0]["typedConfig"]
    del manager["rds"]
    manager["routeConfig"] = routes
    address = {"socketAddress": {"address": "127.0.0.1", "portValue": 0}}
    return {"name": name, "address": address, "filterChains": [chain]}


@contextmanager
def guarded_envoy(policies: Mapping[str, Objects], folder: Path) -> Iterator[Guarded]:
    """Run Envoy with a listener for each entry."""
    with envoy_with([listener(name, objects) for name, objects in policies.items()], folder) as found:
        yield found


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
