"""How quickly a change reaches every proxy and what it costs, beside a go-control-plane server with the same resources.

Both serve a synthetic cluster to simulated proxies (`xds_peer/`, a Go program, so that the proxies cost little: delta
streams over plaintext loopback, everything wanted, acknowledged at once). One endpoint changes over and over; the time
runs from the change to the last acknowledgement. refmesh builds its resources anew from each change, go-control-plane
is handed them ready made. Their rounds take turns, so that a busy machine hits both.
`encodes_per_change` must not depend on `proxies`. The design's limits are judged: the p99 at 500 and at 1,000 proxies,
and twice the peer's time; a p99 of fewer than a hundred changes is the slowest of them. First of all the proxies
connect in one moment, as they do when a control plane comes back (Envoys would spread it over a second).

    python benchmarks/discovery_push.py --proxies 100 500 1000 --services 100 --endpoints 1000 --changes 30
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fixtures.cluster.golang import find_go, go_environment
from refmesh.config.store import Store
from refmesh.discovery import ads
from refmesh.discovery.resource import ResourceType
from refmesh.discovery.settings import MeshSettings
from refmesh.discovery.world import Generator
from refmesh.telemetry import metrics

GO = (1, 26)
PEER = Path(__file__).parent / "xds_peer"
LIMIT_RATIO, LIMIT_P99_MS = 2.0, {500: 150.0, 1000: 300.0}
"""Of a change until the last acknowledgement; the p99 by the number of proxies."""
LIMIT_HERD_S = 10.0
"""Until every proxy has everything, where all of them connect in one moment, as after a control plane was away."""


def service(index: int) -> dict[str, Any]:
    name = f"s{index}"
    address = f"10.{index // 65536 % 256}.{index // 256 % 256}.{index % 256}"
    return {
        "metadata": {"name": name, "namespace": "bench"},
        "spec": {
            "clusterIPs": [address],
            "selector": {"app": name},
            "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
        },
    }


def pod(name: str, app: str, number: int) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "bench", "labels": {"app": app}},
        "spec": {
            "serviceAccountName": app,
            "containers": [{"name": "app", "ports": [{"containerPort": 8080, "name": "http"}]}],
            "initContainers": [{"name": "refmesh-proxy"}],
        },
        "status": {"podIP": f"11.{number // 65536 % 256}.{number // 256 % 256}.{number % 256}"},
    }


def endpoint_slice(app: str, pods: list[dict[str, Any]], ready: bool) -> dict[str, Any]:
    return {
        "metadata": {"name": app, "namespace": "bench", "labels": {"kubernetes.io/service-name": app}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [
            {
                "addresses": [item["status"]["podIP"]],
                "conditions": {"ready": ready or index > 0},
                "targetRef": {"kind": "Pod", "name": item["metadata"]["name"]},
            }
            for index, item in enumerate(pods)
        ],
    }


def fill(services: int, endpoints: int) -> tuple[Store, list[dict[str, Any]]]:
    store = Store()
    first: list[dict[str, Any]] = []
    each = max(1, endpoints // services)
    for index in range(services):
        app = f"s{index}"
        pods = [pod(f"{app}-{number}", app, index * each + number) for number in range(each)]
        store.put("Service", service(index))
        for item in pods:
            store.put("Pod", item)
        store.put("EndpointSlice", endpoint_slice(app, pods, ready=True))
        first = first or pods
    return store, first


@dataclass
class Contender:
    """A server with its proxies."""

    name: str
    change: Callable[[int], Awaitable[None]]
    """Make the n-th change."""
    proxies: asyncio.subprocess.Process
    seconds: list[float] = field(default_factory=list)

    async def round(self, number: int) -> None:
        """One change, and the time to its last acknowledgement. Both processes read the same wall clock."""
        started = time.time_ns()
        await self.change(number)
        self.seconds.append((int(await said(self.proxies, "acked")) - started) / 1e9)


async def said(process: asyncio.subprocess.Process, word: str) -> str:
    """The rest of the process's next line, which starts with a word."""
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode().split()
    if line[:1] != [word]:
        raise SystemExit(f"the peer said {line} instead of {word}")
    return " ".join(line[1:])


@asynccontextmanager
async def started(program: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(program, *arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


def build_peer(directory: Path) -> Path:
    go, program = find_go(GO), directory / "xds_peer"
    print("building the peer", file=sys.stderr)
    subprocess.run([go, "build", "-o", program, "."], cwd=PEER, env=go_environment(go), check=True)
    return program


def resources(directory: Path, world: Any, suffix: str) -> None:
    """Write what every proxy shares as one response a type: the encoded resources are its fields already."""
    for kind in ResourceType:
        name = f"EDS.{suffix}" if kind is ResourceType.ENDPOINT else kind.short
        (directory / name).write_bytes(b"".join(item.wire for item in world.shared[kind].values()))


async def measure(count: int, options: argparse.Namespace, program: Path, directory: Path) -> dict[str, Any]:
    store, pods = fill(options.services, options.endpoints)
    generator, hub = Generator(MeshSettings()), ads.Hub()
    begun = time.monotonic()
    worlds = []
    for ready in (False, True):
        store.put("EndpointSlice", endpoint_slice("s0", pods, ready=ready))
        worlds.append(generator.build(store.snapshot()))
        resources(directory, worlds[-1], "a" if ready else "b")
    first_build = time.monotonic() - begun
    hub.publish(worlds[-1])
    # The simulated proxies all say that they are of one pod.
    discovery = ads.DiscoveryService(hub, MeshSettings(), authenticate=False, most_of_a_pod=1 << 20)
    server, port = await ads.serve(discovery, "127.0.0.1:0", None)

    async def change_refmesh(number: int) -> None:
        store.put("EndpointSlice", endpoint_slice("s0", pods, ready=number % 2 == 1))
        hub.publish(generator.build(store.snapshot()))

    async with started(program, "serve", str(directory)) as peer:

        async def change_peer(number: int) -> None:
            assert peer.stdin is not None
            peer.stdin.write(b"a\n" if number % 2 == 1 else b"b\n")
            await peer.stdin.drain()

        peer_port = await said(peer, "port")
        async with AsyncExitStack() as stack:
            contenders, herds = [], []
            for name, change, to in (("refmesh", change_refmesh, port), ("go", change_peer, peer_port)):
                begun = time.monotonic()
                proxies = await stack.enter_async_context(started(program, "proxies", f"127.0.0.1:{to}", str(count)))
                await said(proxies, "ready")
                herds.append(time.monotonic() - begun)
                contenders.append(Contender(name, change, proxies))
            before = encodes()
            for number in range(options.changes):
                for one in contenders:
                    await asyncio.sleep(0.02)
                    await one.round(number)
            spent = (encodes() - before) / options.changes
    await ads.stop(server)
    ours_s, theirs_s = (one.seconds for one in contenders)
    ours, ratio = quantiles("refmesh", ours_s), round(statistics.median(ours_s) / statistics.median(theirs_s), 2)
    limit = LIMIT_P99_MS.get(count)
    return {
        "proxies": count,
        "first_build_s": round(first_build, 3),
        **ours,
        **quantiles("go_control_plane", theirs_s),
        "ratio_p50": ratio,
        "ratio_limit": LIMIT_RATIO,
        "ratio_met": ratio <= LIMIT_RATIO,
        "herd_s": round(herds[0], 2),
        "go_control_plane_herd_s": round(herds[1], 2),
        "herd_limit_s": LIMIT_HERD_S,
        "herd_met": herds[0] <= LIMIT_HERD_S,
        **({} if limit is None else {"p99_limit_ms": limit, "p99_met": ours["refmesh_p99_ms"] <= limit}),
        "encodes_per_change": spent,
        "max_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def quantiles(name: str, seconds: list[float]) -> dict[str, float]:
    return {
        f"{name}_p50_ms": round(statistics.median(seconds) * 1000, 1),
        f"{name}_p99_ms": round(sorted(seconds)[int(len(seconds) * 0.99)] * 1000, 1),
    }


def encodes() -> float:
    return sum(float(metrics.ENCODES.labels(kind.short)._value.get()) for kind in ResourceType)  # noqa: SLF001 - prometheus_client has no reader


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--proxies", type=int, nargs="+", default=[100, 500, 1000])
    parser.add_argument("--services", type=int, default=100)
    parser.add_argument("--endpoints", type=int, default=1000)
    parser.add_argument("--changes", type=int, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        program = build_peer(Path(directory))
        rows = [asyncio.run(measure(count, options, program, Path(directory))) for count in options.proxies]
    print(json.dumps({"services": options.services, "endpoints": options.endpoints, "runs": rows}, indent=1))


if __name__ == "__main__":
    main()
