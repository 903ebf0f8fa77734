"""A real Envoy on loopback, fed by the real discovery server and a small secret server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import envoy._bin
import grpc
import grpc.aio
from cryptography import x509
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest, DiscoveryResponse
from google.protobuf.any_pb2 import Any as PackedAny

from refmesh.agent import statistics
from refmesh.discovery import ads
from refmesh.discovery.settings import MeshSettings
from refmesh.discovery.stream import ProxyState
from tests.unit.refmesh_discovery.authority import TestAuthority
from tests.unit.refmesh_discovery.helpers import MemoryCluster

ENVOY = Path(envoy._bin.__path__[0]) / "envoy"
POD = ("shop", "echo-v1")


def _cluster(name: str, port: int) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


def _bootstrap(port: int) -> dict[str, Any]:
    source = {"ads": {}, "resource_api_version": "V3"}
    return {
        "node": {"id": f"sidecar~127.0.0.1~{POD[1]}.{POD[0]}~shop.svc.cluster.local", "cluster": "echo.shop"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
            },
            "cds_config": source,
            "lds_config": source,
        },
        "stats_config": statistics.settings()["stats_config"],
        "static_resources": {"clusters": [_cluster("xds-grpc", port), _cluster("sds-grpc", port)]},
    }


def _secret_handler(authority: TestAuthority) -> Any:
    chain, key = authority.issue([x509.UniformResourceIdentifier("spiffe://cluster.local/ns/shop/sa/echo")])
    leaf, roots = Secret(name="default"), Secret(name="ROOTCA")
    leaf.tls_certificate.certificate_chain.inline_bytes = chain
    leaf.tls_certificate.private_key.inline_bytes = key
    roots.validation_context.trusted_ca.inline_bytes = authority.trust_bundle_pem()
    secrets = {"default": leaf, "ROOTCA": roots}

    async def stream(requests: AsyncIterator[Any], context: Any) -> None:
        async for request in requests:
            if request.response_nonce:
                continue
            found = []
            for name in request.resource_names:
                packed = PackedAny()
                packed.Pack(secrets[name])
                found.append(packed)
            await context.write(
                DiscoveryResponse(version_info="1", nonce="1", type_url=request.type_url, resources=found)
            )

    method = grpc.stream_stream_rpc_method_handler(
        stream,
        request_deserializer=DiscoveryRequest.FromString,
        response_serializer=DiscoveryResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(
        "envoy.service.secret.v3.SecretDiscoveryService", {"StreamSecrets": method}
    )


@dataclass
class EnvoyUnderTest:
    """Envoy, what feeds it, and its admin port."""

    cluster: MemoryCluster
    hub: ads.Hub
    admin: str
    log: Path

    @property
    def state(self) -> ProxyState | None:
        found = self.hub.streams.get(POD)
        return found[0] if found is not None else None

    def publish(self) -> None:
        self.hub.publish(self.cluster.world())

    async def settled(self, timeout: float = 20.0, what: str = "the start") -> None:
        """Wait until Envoy has acknowledged everything; TimeoutError says after `what` it has not."""
        try:
            async with asyncio.timeout(timeout):
                while self.state is None or not self.state.in_step or len(self.state.status()) < 4:  # noqa: ASYNC110 - no hook
                    await asyncio.sleep(0.002)
        except TimeoutError:
            raise TimeoutError(f"Envoy is not in step after {what}") from None

    async def get(self, path: str) -> Any:
        async with aiohttp.ClientSession() as session, session.get(f"http://{self.admin}/{path}") as reply:
            return await reply.json()


@asynccontextmanager
async def running_envoy(cluster: MemoryCluster, folder: Path) -> AsyncIterator[EnvoyUnderTest]:
    hub = ads.Hub()
    service = ads.DiscoveryService(hub, MeshSettings(), authenticate=False)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((service.handler(), _secret_handler(TestAuthority())))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    hub.publish(cluster.world())
    config, log, admin = folder / "envoy.json", folder / "envoy.log", folder / "admin"
    config.write_text(json.dumps(_bootstrap(port)))
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            ENVOY, "-c", config, "--admin-address-path", admin, "--concurrency", "1", "--use-dynamic-base-id",
            "--disable-hot-restart", stdout=out, stderr=out,
        )  # fmt: skip
    try:
        async with asyncio.timeout(30):
            while not (admin.exists() and admin.read_text()):
                assert process.returncode is None, log.read_text()
                await asyncio.sleep(0.01)
        yield EnvoyUnderTest(cluster, hub, admin.read_text(), log)
    finally:
        process.terminate()
        await process.wait()
        await server.stop(0)
