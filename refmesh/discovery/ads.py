"""The delta ADS server: one gRPC stream per proxy over mutual TLS, each driven by a `ProxyState`.

Who may have what is decided by the certificate, not by what the proxy says: the identity that the CA signed must be the
one of the pod that the node id names.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import grpc.aio
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse

from refmesh.config.model import Key, Pod
from refmesh.discovery.gate import Gate
from refmesh.discovery.hub import Hub
from refmesh.discovery.resource import ResourceType
from refmesh.discovery.settings import MeshSettings
from refmesh.discovery.stream import ProxyState, Response
from refmesh.discovery.world import World
from refmesh.telemetry import metrics

__all__ = ["DiscoveryService", "Hub", "serve"]

log = logging.getLogger(__name__)

_SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
_SHUTDOWN_SECONDS = 0.5
_MOST_OF_A_POD = 3
"""Streams of one pod at a time: a proxy has one, and those that it has left are not known to have gone at once. Each
keeps what it was sent until its peer has read it."""
_OPTIONS = [
    # A proxy that vanished without a word is noticed within 40 s.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.max_concurrent_streams", 100),
    ("grpc.so_reuseport", 0),
]


class DiscoveryService:
    """Serves every proxy from the hub's world."""

    def __init__(
        self, hub: Hub, settings: MeshSettings, *, authenticate: bool = True, most_of_a_pod: int = _MOST_OF_A_POD
    ) -> None:
        self._hub, self._most_of_a_pod = hub, most_of_a_pod
        self.gate = Gate(hub, settings, authenticate=authenticate)
        """Lets in whom this serves."""
        self._open: dict[Key, list[tuple[ProxyState, str]]] = {}
        """The streams of each pod, the newest last: what its proxy has, and where from."""

    def handler(self) -> Any:
        """The gRPC handler. Responses are assembled from bytes that are encoded once for all proxies."""
        method = grpc.stream_stream_rpc_method_handler(
            self._stream,
            request_deserializer=DeltaDiscoveryRequest.FromString,
            response_serializer=_assemble,
        )
        return grpc.method_handlers_generic_handler(_SERVICE, {"DeltaAggregatedResources": method})

    async def _stream(self, requests: AsyncIterator[Any], context: Any) -> None:
        first = await anext(aiter(requests), None)
        if first is None:
            return
        pod = await self.gate.admit(first.node.id, context)
        of_pod = self._open.setdefault(pod.key, [])
        if len(of_pod) >= self._most_of_a_pod:
            metrics.REFUSED.labels("streams").inc()
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "this pod has too many streams")
        state, wake = ProxyState(), asyncio.Event()
        self._note(pod.key, state, first)
        stop_listening = self._hub.listen(wake)
        stream = self._hub.streams[pod.key] = (state, context.peer())
        of_pod.append(stream)
        metrics.CONNECTED.set(len(self._hub.streams))
        reader = asyncio.create_task(self._read(pod.key, state, requests, wake))
        try:
            await self._push(pod, state, context, wake, reader)
        finally:
            stop_listening()
            reader.cancel()
            of_pod[:] = [one for one in of_pod if one is not stream]
            if of_pod:
                self._hub.streams[pod.key] = of_pod[-1]
            else:
                del self._open[pod.key], self._hub.streams[pod.key]
            metrics.CONNECTED.set(len(self._hub.streams))

    async def _push(
        self, pod: Pod, state: ProxyState, context: Any, wake: asyncio.Event, reader: asyncio.Task[None]
    ) -> None:
        offered: World | None = None
        since, pending = time.monotonic(), False
        while not reader.done():
            world = self._hub.world
            if world is not None and world is not offered:
                pod = world.snapshot.pods.get(pod.key, pod)
                state.offer(world.tables_of(pod), world.own(pod))
                # A proxy that connects gets a world that may be old: its time counts from now.
                since = world.created if offered is not None else since
                offered, pending = world, True
            for response in state.responses(time.monotonic()):
                metrics.PUSHED.labels(response.kind.short).inc(len(response.resources))
                await context.write(response)
            if pending and state.in_step:
                pending = False
                metrics.CONVERGENCE_SECONDS.observe(time.monotonic() - since)
            if self._hub.world is offered:
                await _wait(wake, state.wake(time.monotonic()))
            wake.clear()

    async def _read(self, pod: Key, state: ProxyState, requests: AsyncIterator[Any], wake: asyncio.Event) -> None:
        try:
            async for request in requests:
                self._note(pod, state, request)
                wake.set()
        finally:
            wake.set()

    def _note(self, pod: Key, state: ProxyState, request: Any) -> None:
        nack = state.request(request)
        if nack is not None:
            short = ResourceType(request.type_url).short
            metrics.NACKS.labels(short).inc()
            log.error("proxy %s/%s rejected %s and keeps what it had: %s", *pod, short, nack)


async def _wait(event: asyncio.Event, seconds: float | None) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def _assemble(response: Response) -> bytes:
    """The wire form of a response: a small head of its own, then the shared bytes of each resource."""
    head = DeltaDiscoveryResponse(
        type_url=response.kind.value, nonce=response.nonce, removed_resources=response.removed
    ).SerializeToString()
    parts = [head]
    parts.extend(item.wire for item in response.resources)
    return b"".join(parts)


async def serve(
    service: DiscoveryService, address: str, credentials: Any | None, others: Sequence[Any] = ()
) -> tuple[Any, int]:
    """Start serving, and `others` (gRPC handlers) on the same port; gives the running server and its port.

    Without credentials the port is plaintext (tests only).
    """
    server = grpc.aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers((service.handler(), *others))
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    await server.start()
    return server, port


async def stop(server: Any) -> None:
    """End every stream and stop serving."""
    await server.stop(_SHUTDOWN_SECONDS)
