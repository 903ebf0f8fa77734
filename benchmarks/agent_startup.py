"""What a sidecar's start takes and what it holds at rest: agent and Envoy, beside what each of them costs bare.

A sidecar is started as in a pod, from exec of the agent until Envoy is ready: enrolled by token, connected to discovery
over mTLS, with all of its first configuration. CA and discovery are refmesh's own, in this process, on loopback. Its
peers take turns with it: an Envoy whose bootstrap has the very same listeners, clusters and certificates statically,
one without any, and an interpreter that does nothing. Memory is judged by the design's limit for agent and Envoy
together: RSS has pages of program files in it, which pods of one image share; anonymous memory each has to itself.
Below 100 starts the p99 is the slowest one.

    python benchmarks/agent_startup.py --services 50 --starts 20
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import fcntl
import json
import os
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from discovery_push import endpoint_slice, pod, service
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse
from google.protobuf.json_format import MessageToDict

from fixtures.images.dependencies import envoy_binary
from refmesh.agent import admin
from refmesh.agent.bootstrap import bootstrap
from refmesh.agent.places import AGENT_PORT
from refmesh.agent.settings import Settings
from refmesh.agent.sidecar import envoy_arguments
from refmesh.ca import service as ca_service
from refmesh.ca.authority import Authority
from refmesh.ca.news import News
from refmesh.ca.signing import Keyring
from refmesh.ca.trust import initial
from refmesh.config.store import Store
from refmesh.discovery import ads
from refmesh.discovery.credentials import RenewedCredentials
from refmesh.discovery.observation import Observation
from refmesh.discovery.resource import ResourceType
from refmesh.discovery.settings import MeshSettings
from refmesh.discovery.world import Generator, World
from refmesh.kubeclient import Kube

SIDECAR, BARE, NOTHING, EMPTY = "refmesh", "bare envoy", "envoy without configuration", "empty python"
KINDS = {"rss": "Rss", "pss": "Pss", "anonymous": "Anonymous"}
LIMIT_MB = 60
"""For agent and Envoy together at rest: the design's own."""
ROOT = Path(__file__).resolve().parent.parent
NAMESPACE, APP, POD = "bench", "s0", "s0-0"
CLAIMS = json.dumps({"aud": ["istio-ca"], "exp": 2**32}).encode()
TOKEN = f"e30.{base64.urlsafe_b64encode(CLAIMS).decode().rstrip('=')}.unsigned"
PATIENCE_SECONDS = 60.0
POLL_SECONDS = 0.002
Json = dict[str, Any]


class Reviewer:
    """Answers TokenReviews as an API server would, for one token."""

    async def create(self, _api: str, _plural: str, body: Json, _namespace: str | None = None) -> Json:
        user = {"username": f"system:serviceaccount:{NAMESPACE}:{APP}"}
        known = body["spec"]["token"] == TOKEN
        return {"status": {"authenticated": known, "user": user, "audiences": body["spec"]["audiences"]}}


def world_of(services: int, settings: MeshSettings) -> World:
    """Services of two pods each; the sidecar's own pod is the first."""
    store = Store()
    for index in range(services):
        app = f"s{index}"
        pods = [pod(f"{app}-{number}", app, 2 * index + number) for number in range(2)]
        if index == 0:
            pods[0]["status"]["podIP"] = "127.0.0.1"
        store.put("Service", service(index))
        for item in pods:
            store.put("Pod", item)
        store.put("EndpointSlice", endpoint_slice(app, pods, ready=True))
    return Generator(settings).build(store.snapshot())


# ----------------------------------------------------------------------------------------- the same, written statically
def static_bootstrap(world: World, settings: Settings, authority: Authority) -> Json:
    """A bootstrap that has all that the sidecar's proxy gets, and its own certificate, in itself."""
    found = world.snapshot.pods[NAMESPACE, POD]
    tables = {
        kind: {**world.tables_of(found).get(kind, {}), **world.own(found).get(kind, {})}
        for kind in (ResourceType.CLUSTER, ResourceType.ENDPOINT, ResourceType.LISTENER, ResourceType.ROUTE)
    }
    endpoints = _messages(tables[ResourceType.ENDPOINT], ClusterLoadAssignment)
    routes = _messages(tables[ResourceType.ROUTE], RouteConfiguration)
    clusters = [_with(one, endpoints) for one in _messages(tables[ResourceType.CLUSTER], Cluster).values()]
    listeners = list(_messages(tables[ResourceType.LISTENER], Listener).values())
    config = bootstrap(settings)
    del config["dynamic_resources"]
    static = config["static_resources"]
    kept = [one for one in static["clusters"] if one["name"] != "sds-grpc"]
    made = {
        "clusters": [*kept, *clusters],
        "listeners": [*static["listeners"], *listeners],
        "secrets": _secrets(authority),
    }
    return config | {"static_resources": _inlined(made, routes)}


def _messages(table: Mapping[str, Any], kind: Callable[[], Any]) -> dict[str, Json]:
    messages = {}
    for name, item in table.items():
        message = kind()
        DeltaDiscoveryResponse.FromString(item.wire).resources[0].resource.Unpack(message)
        messages[name] = MessageToDict(message)
    return messages


def _with(cluster: Json, endpoints: Mapping[str, Json]) -> Json:
    """A cluster with its endpoints in itself."""
    if cluster.get("type") != "EDS":
        return cluster
    found = {key: value for key, value in cluster.items() if key != "edsClusterConfig"}
    return found | {"type": "STATIC", "loadAssignment": endpoints[cluster["name"]]}


def _inlined(part: Any, routes: Mapping[str, Json]) -> Any:
    """The same without a source of configuration: routes in their places, secrets by the names of static ones."""
    if isinstance(part, list):
        return [_inlined(item, routes) for item in part]
    if not isinstance(part, dict):
        return part
    found = {key: _inlined(value, routes) for key, value in part.items() if key not in {"sdsConfig", "sds_config"}}
    if "rds" in found:
        found["routeConfig"] = _inlined(routes[found.pop("rds")["routeConfigName"]], routes)
    return found


def _secrets(authority: Authority) -> list[Json]:
    chain, key = authority.server_credentials([APP])
    pair = {"certificate_chain": {"inline_string": chain.decode()}, "private_key": {"inline_string": key.decode()}}
    trusted = {"trusted_ca": {"inline_string": authority.trust_bundle_pem().decode()}}
    return [{"name": "default", "tls_certificate": pair}, {"name": "ROOTCA", "validation_context": trusted}]


# ----------------------------------------------------------------------------------------------------------- measuring
@dataclass
class Arm:
    """What was seen of all starts: milliseconds, and kilobytes by process and kind."""

    milliseconds: dict[str, list[float]] = field(default_factory=dict)
    kilobytes: dict[str, list[dict[str, int]]] = field(default_factory=dict)
    clusters: int = 0

    def took(self, what: str, seconds: float) -> None:
        self.milliseconds.setdefault(what, []).append(1000 * seconds)

    def holds(self, who: str, pid: int) -> None:
        self.kilobytes.setdefault(who, []).append(memory(pid))

    def report(self) -> Json:
        times = {
            what: {"p50_ms": round(statistics.median(all_), 1), "p99_ms": round(sorted(all_)[-1 - len(all_) // 100], 1)}
            for what, all_ in self.milliseconds.items()
        }
        memories = {who: {f"{kind}_mb": self.megabytes(who, kind) for kind in KINDS} for who in self.kilobytes}
        return {**times, **memories, **({"clusters": self.clusters} if self.clusters else {})}

    def megabytes(self, who: str, kind: str) -> float:
        return round(statistics.median(one[kind] for one in self.kilobytes[who]) / 1024, 1)

    def median(self, what: str) -> float:
        return statistics.median(self.milliseconds[what])


def memory(pid: int) -> dict[str, int]:
    """Kilobytes of a process, as proc(5) says of smaps_rollup."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    sizes = {key: int(rest.split()[0]) for key, _, rest in (line.partition(":") for line in lines)}
    return {kind: sizes[name] for kind, name in KINDS.items()}


def child_of(pid: int, name: str) -> int:
    """The child of a process with a program's name."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    for child in (int(word) for task in tasks for word in task.read_text(encoding="ascii").split()):
        if Path(f"/proc/{child}/comm").read_text(encoding="ascii").strip() == name:
            return child
    raise SystemExit(f"process {pid} has no child {name}")


async def becomes(process: asyncio.subprocess.Process, told: Callable[[], bool], log: Path) -> None:
    """Wait until `told` holds, asking from another thread: CA and discovery are on this loop."""

    def wait() -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not told():
            if time.monotonic() > deadline or process.returncode is not None:
                raise SystemExit(f"it did not start:\n{log.read_text(encoding='utf-8')[-3000:]}")
            time.sleep(POLL_SECONDS)

    await asyncio.to_thread(wait)


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def clusters() -> int:
    """How many clusters the Envoy has that runs now."""
    _, body = admin.admin("GET", "/stats?filter=^cluster_manager%5C.active_clusters$")
    return int(body.rpartition(b":")[2])


@asynccontextmanager
async def program(folder: Path, *command: str, **variables: str) -> AsyncIterator[asyncio.subprocess.Process]:
    with (folder / "log").open("wb") as log:
        # Compiled modules are kept, as the image has them.
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder), **variables}
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log, env=environment)
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            await process.wait()


async def start_sidecar(arm: Arm, folder: Path, variables: Mapping[str, str], rest: float) -> None:
    begun = time.perf_counter()
    async with program(folder, sys.executable, "-m", "refmesh.agent", **variables) as process:
        await becomes(process, lambda: answers(AGENT_PORT), folder / "log")
        agent = time.perf_counter() - begun
        await becomes(process, admin.ready, folder / "log")
        arm.took("ready", time.perf_counter() - begun)
        arm.took("agent serves", agent)
        await asyncio.sleep(rest)
        arm.clusters = await asyncio.to_thread(clusters)
        arm.holds("agent", process.pid)
        arm.holds("envoy", child_of(process.pid, "envoy"))


async def start_envoy(arm: Arm, folder: Path, config: Json, settings: Settings, rest: float) -> None:
    path = folder / "static.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    command = envoy_arguments(settings, str(envoy_binary()), str(path))
    begun = time.perf_counter()
    async with program(folder, *command, REFMESH_PEER=settings.peer) as process:
        await becomes(process, admin.ready, folder / "log")
        arm.took("ready", time.perf_counter() - begun)
        await asyncio.sleep(rest)
        arm.clusters = await asyncio.to_thread(clusters)
        arm.holds("envoy", process.pid)


async def start_empty(arm: Arm, folder: Path) -> None:
    begun = time.perf_counter()
    async with program(folder, sys.executable, "-c", "pass") as process:
        await process.wait()
        arm.took("ready", time.perf_counter() - begun)
    async with program(folder, sys.executable, "-c", "import signal; print(flush=True); signal.pause()") as process:
        await becomes(process, lambda: (folder / "log").stat().st_size > 0, folder / "log")
        arm.holds("python", process.pid)


@contextlib.contextmanager
def alone() -> Any:
    """The ports of a sidecar are fixed; the tests that start one take the same lock."""
    with Path(tempfile.gettempdir(), "meshproof-agent-ports.lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


async def measure(options: argparse.Namespace, folder: Path) -> Json:
    mesh = MeshSettings(observation=Observation(sampling=1.0))
    world, hub = world_of(options.services, mesh), ads.Hub()
    hub.publish(world)
    authority = Authority(initial(Keyring.create()), trust_domain=mesh.trust_domain, namespace="refmesh-system")
    ca = await ca_service.start(
        authority=authority, kube=cast("Kube", Reviewer()), names=["localhost"], host="127.0.0.1", port=0,
        trust_domain=mesh.trust_domain,
    )  # fmt: skip
    discovery, credentials = ads.DiscoveryService(hub, mesh), RenewedCredentials(authority, ["localhost"])

    async def admit(node: str, context: Any) -> str:
        found = await discovery.gate.admit(node, context)
        return f"{found.namespace}/{found.name}"

    news = News(authority, admit, lambda: len(hub.streams))
    server, port = await ads.serve(discovery, "127.0.0.1:0", credentials.start(), [news.handler()])
    (folder / "token").write_text(TOKEN, encoding="ascii")
    variables = {
        "PYTHONPATH": str(ROOT),
        "POD_NAME": POD,
        "POD_NAMESPACE": NAMESPACE,
        "SERVICE_ACCOUNT": APP,
        "POD_IP": "127.0.0.1",
        "REFMESH_ROOT_CERT": authority.trust_bundle_pem().decode(),
        "REFMESH_CONTROL_PLANE": "localhost",
        "REFMESH_CA_PORT": str(ca.port),
        "REFMESH_ADS_PORT": str(port),
        "REFMESH_RUN_DIR": str(folder),
        "REFMESH_TOKEN": str(folder / "token"),
        "REFMESH_ENVOY": str(envoy_binary()),
    }
    settings = Settings.from_environment(variables)
    static = static_bootstrap(world, settings, authority)
    nothing = {"node": static["node"], "admin": static["admin"]}
    arms = {name: Arm() for name in (SIDECAR, BARE, NOTHING, EMPTY)}
    try:
        for number in range(options.starts + 1):
            if number == 1:  # the first of each only fills the caches of the disk
                arms = {name: Arm() for name in arms}
            with alone():
                await start_sidecar(arms[SIDECAR], folder, variables, options.rest)
                await start_envoy(arms[BARE], folder, static, settings, options.rest)
                await start_envoy(arms[NOTHING], folder, nothing, settings, options.rest)
            await start_empty(arms[EMPTY], folder)
    finally:
        await ads.stop(server)
        credentials.close()
        await ca.close()
    return {"services": options.services, "starts": options.starts, **report(arms)}


def report(arms: Mapping[str, Arm]) -> Json:
    mine, bare, empty = arms[SIDECAR], arms[BARE], arms[EMPTY]
    whole = {kind: mine.megabytes("agent", kind) + mine.megabytes("envoy", kind) for kind in KINDS}
    return {
        **{name: arm.report() for name, arm in arms.items()},
        "ratios": {
            "ready / bare envoy": round(mine.median("ready") / bare.median("ready"), 2),
            "agent serves / empty python": round(mine.median("agent serves") / empty.median("ready"), 2),
            "envoy rss / bare envoy": round(mine.megabytes("envoy", "rss") / bare.megabytes("envoy", "rss"), 2),
            "agent rss / empty python": round(mine.megabytes("agent", "rss") / empty.megabytes("python", "rss"), 2),
        },
        "agent + envoy at rest": {
            "limit_mb": LIMIT_MB,
            **{f"{kind}_mb": f"{size:.1f} {'pass' if size <= LIMIT_MB else 'miss'}" for kind, size in whole.items()},
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--services", type=int, default=50, help="in the mesh, of two pods each")
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--rest", type=float, default=1.5, help="seconds from ready until memory is read")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        print(json.dumps(asyncio.run(measure(options, Path(directory))), indent=1))


if __name__ == "__main__":
    main()
