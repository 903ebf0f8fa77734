"""How quickly a change reaches every proxy, and what it costs.

Starts the discovery server with a synthetic cluster in one process and simulated proxies (delta streams over plaintext
loopback, all resources wanted, everything acknowledged at once) in another; changes one endpoint again and again, and
measures from the change to the last acknowledgement. Prints one JSON object; `encodes_per_change` must not depend on
`proxies`, and `ratio` compares many proxies with one.

    python benchmarks/discovery_push.py --proxies 100 500 1000 --services 100 --endpoints 1000 --changes 30
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import resource
import statistics
import time
from typing import Any

import grpc
import grpc.aio
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse

from refmesh.config.store import Store
from refmesh.discovery import ads
from refmesh.discovery.resource import ResourceType
from refmesh.discovery.settings import MeshSettings
from refmesh.discovery.world import Generator
from refmesh.telemetry import metrics

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"


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
    store, first = Store(), []
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


async def proxy(port: int, ready: Any, acks: Any, arrived: Any) -> None:
    """One proxy: clusters, their endpoints, listeners, their routes; acknowledges at once."""
    async with grpc.aio.insecure_channel(
        f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
    ) as channel:
        call = channel.stream_stream(
            METHOD,
            request_serializer=DeltaDiscoveryRequest.SerializeToString,
            response_deserializer=DeltaDiscoveryResponse.FromString,
        )()
        for kind in (ResourceType.CLUSTER, ResourceType.LISTENER):
            request = DeltaDiscoveryRequest(type_url=kind.value)
            request.node.id = "sidecar~11.0.0.0~s0-0.bench~bench.svc.cluster.local"
            await call.write(request)
        seen: set[str] = set()
        while True:
            response = await call.read()
            if response is grpc.aio.EOF:
                return
            await call.write(DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce))
            if response.type_url == ResourceType.CLUSTER.value and response.type_url not in seen:
                names = [item.name for item in response.resources if item.name.startswith("outbound|")]
                await call.write(
                    DeltaDiscoveryRequest(type_url=ResourceType.ENDPOINT.value, resource_names_subscribe=names)
                )
            if response.type_url == ResourceType.ENDPOINT.value:
                if response.type_url not in seen:
                    with ready.get_lock():
                        ready.value += 1
                else:
                    with acks.get_lock():
                        acks.value += 1
                        arrived.value = time.monotonic()
            seen.add(response.type_url)


def clients(port: int, count: int, ready: Any, acks: Any, arrived: Any) -> None:
    async def run() -> None:
        await asyncio.gather(*(proxy(port, ready, acks, arrived) for _ in range(count)))

    asyncio.run(run())


async def reach(counter: Any, value: int) -> None:
    while counter.value < value:  # noqa: ASYNC110 - the counter lives in another process
        await asyncio.sleep(0.001)


async def measure(count: int, options: argparse.Namespace) -> dict[str, Any]:
    store, pods = fill(options.services, options.endpoints)
    generator, hub = Generator(MeshSettings()), ads.Hub()
    started = time.monotonic()
    hub.publish(generator.build(store.snapshot()))
    first_build = time.monotonic() - started
    server, port = await ads.serve(ads.DiscoveryService(hub, MeshSettings(), authenticate=False), "127.0.0.1:0", None)
    context = multiprocessing.get_context("spawn")
    ready, acks, arrived = context.Value("i", 0), context.Value("i", 0), context.Value("d", 0.0)
    worker = context.Process(target=clients, args=(port, count, ready, acks, arrived), daemon=True)
    worker.start()
    await reach(ready, count)
    times, before = [], encodes()
    for change in range(options.changes):
        await asyncio.sleep(0.02)
        target = acks.value + count
        started = time.monotonic()
        store.put("EndpointSlice", endpoint_slice("s0", pods, ready=change % 2 == 1))
        hub.publish(generator.build(store.snapshot()))
        await reach(acks, target)
        times.append(arrived.value - started)
    spent = (encodes() - before) / options.changes
    worker.terminate()
    worker.join()
    await ads.stop(server)
    return {
        "proxies": count,
        "first_build_s": round(first_build, 3),
        "p50_ms": round(statistics.median(times) * 1000, 1),
        "p99_ms": round(sorted(times)[int(len(times) * 0.99)] * 1000, 1),
        "encodes_per_change": spent,
        "max_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def encodes() -> float:
    return sum(metrics.ENCODES.labels(kind.short)._value.get() for kind in ResourceType)  # noqa: SLF001 - prometheus_client has no reader


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--proxies", type=int, nargs="+", default=[1, 100, 500])
    parser.add_argument("--services", type=int, default=100)
    parser.add_argument("--endpoints", type=int, default=1000)
    parser.add_argument("--changes", type=int, default=30)
    options = parser.parse_args()
    rows = [asyncio.run(measure(count, options)) for count in options.proxies]
    ratio = rows[-1]["p50_ms"] / max(rows[0]["p50_ms"], 0.1)
    print(
        json.dumps(
            {"services": options.services, "endpoints": options.endpoints, "runs": rows, "ratio": round(ratio, 1)},
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
