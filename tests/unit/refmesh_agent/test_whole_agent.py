"""The agent as a process with a real Envoy, a real CA and a control plane that has nothing to say, all on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import http.client
import json
import os
import signal
import sys
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import grpc
import grpc.aio
import pytest
from envoy.service.discovery.v3 import discovery_pb2

from refmesh.agent import admin
from refmesh.ca import service
from refmesh.ca.authority import Authority
from refmesh.ca.news import News
from refmesh.ca.peer import peer_identity
from refmesh.ca.signing import Keyring, LeafPolicy
from refmesh.ca.trust import initial
from refmesh.kubeclient import Kube
from tests.unit.refmesh_ca.helpers import GOOD, IDENTITY, FakeKube

ROOT = Path(__file__).parents[3]


@dataclass
class Sidecar:
    process: asyncio.subprocess.Process
    seen: list[str]
    """Identities that opened a configuration stream."""
    authority: Authority
    asked: list[tuple[str | None, str]]
    """Identity and node id of each question for hints."""

    async def get(self, port: int, path: str) -> tuple[int, bytes]:
        def fetch() -> tuple[int, bytes]:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as reply:
                return reply.status, reply.read()

        return await asyncio.to_thread(fetch)

    async def serial(self) -> str:
        _, body = await self.get(15000, "/certs")
        return next(str(e["serial_number"]) for c in json.loads(body)["certificates"] for e in c["cert_chain"])

    async def uses(self, generation: int) -> None:
        """Wait until it has said that it uses this generation of trust."""
        async with asyncio.timeout(15):
            while self.authority.ledger.in_use() != {"shop/cart-1": generation}:  # noqa: ASYNC110 - no hook
                await asyncio.sleep(0.05)

    def resident_kib(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))

    def children(self) -> dict[str, int]:
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        pids = [int(pid) for task in tasks for pid in task.read_text().split()]
        return {Path(f"/proc/{pid}/comm").read_text().strip(): pid for pid in pids}


class Discovery(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs only
    """Delta ADS that answers every subscription with nothing, once."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def service(self, details: Any) -> Any:
        found = details.method.startswith("/envoy.service.discovery.v3.")
        return grpc.stream_stream_rpc_method_handler(self._stream) if found else None

    async def _stream(self, requests: Any, context: Any) -> AsyncIterator[bytes]:
        self.seen.extend(name.decode() for name in context.auth_context().get("x509_subject_alternative_name", ()))
        async for message in requests:
            request = discovery_pb2.DeltaDiscoveryRequest.FromString(message)
            if not request.response_nonce:
                answer = discovery_pb2.DeltaDiscoveryResponse(type_url=request.type_url, nonce="1")
                yield answer.SerializeToString()


Start = Callable[..., Awaitable[Sidecar]]


@pytest.fixture(autouse=True)
def ports() -> Iterator[None]:
    """Envoy's admin port and the agent's ports are fixed: one test at a time, also among several workers."""
    with Path(tempfile.gettempdir(), "meshproof-agent-ports.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
async def start(ports: None, tmp_path: Path) -> AsyncIterator[Start]:
    kube = cast("Kube", FakeKube({GOOD: ("system:serviceaccount:shop:cart", "istio-ca")}))
    keyring = Keyring.create(policy=LeafPolicy(minimum=timedelta(seconds=2)))
    authority = Authority(initial(keyring), trust_domain="cluster.local", namespace="refmesh-system")
    ca = await service.start(
        authority=authority, kube=kube, names=["localhost"], host="127.0.0.1", port=0, trust_domain="cluster.local"
    )
    asked: list[tuple[str | None, str]] = []

    async def admit(node: str, context: Any) -> str:
        asked.append((peer_identity(context), node))
        return "shop/cart-1"

    discovery, ads = Discovery(), grpc.aio.server()
    ads.add_generic_rpc_handlers((discovery, News(authority, admit, lambda: 1).handler()))
    chain, key = authority.server_credentials(["localhost"])
    credentials = grpc.ssl_server_credentials([(key, chain)], authority.trust_bundle_pem(), require_client_auth=True)
    ads_port = ads.add_secure_port("127.0.0.1:0", credentials)
    await ads.start()
    (tmp_path / "token").write_text(GOOD)
    sidecars: list[Sidecar] = []

    async def begin(**settings: str) -> Sidecar:
        env = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "POD_NAME": "cart-1",
            "POD_NAMESPACE": "shop",
            "SERVICE_ACCOUNT": "cart",
            "POD_IP": "127.0.0.1",
            "REFMESH_ROOT_CERT": authority.trust_bundle_pem().decode(),
            "REFMESH_CONTROL_PLANE": "localhost",
            "REFMESH_CA_PORT": str(ca.port),
            "REFMESH_ADS_PORT": str(ads_port),
            "REFMESH_RUN_DIR": str(tmp_path),
            "REFMESH_TOKEN": str(tmp_path / "token"),
            **settings,
        }
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "refmesh.agent", env=env)
        sidecar = Sidecar(process, discovery.seen, authority, asked)
        sidecars.append(sidecar)
        waiting = await asyncio.create_subprocess_exec(sys.executable, "-m", "refmesh.agent.hooks", "wait", env=env)
        async with asyncio.timeout(20):
            assert await waiting.wait() == 0
        return sidecar

    yield begin
    for sidecar in sidecars:
        with contextlib.suppress(ProcessLookupError):
            sidecar.process.terminate()
        await sidecar.process.wait()
    await ads.stop(0)
    await ca.close()


async def test_ready_means_enrolled_connected_and_answering(start):
    sidecar = await start()
    assert sidecar.seen == [IDENTITY]
    assert await sidecar.get(15021, "/healthz/ready") == (200, b"LIVE\n")
    assert (await sidecar.get(15020, "/healthz/ready"))[0] == 200


async def test_who_asks_whether_it_is_ready_is_not_waited_for(start):
    await start()

    def asked() -> int:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", 15021, timeout=20)) as connection:
            connection.request("GET", "/healthz/ready")
            assert connection.getresponse().read() == b"LIVE\n"
            return admin.active_connections()

    assert await asyncio.to_thread(asked) == 0


async def test_the_agent_is_small(start):
    sidecar = await start()
    assert sidecar.resident_kib() < 25_000


async def test_a_renewed_certificate_reaches_envoy_without_a_restart(start):
    sidecar = await start(REFMESH_CERTIFICATE_SECONDS="2")
    first, envoy = await sidecar.serial(), sidecar.children()["envoy"]
    async with asyncio.timeout(15):
        # Envoy tells nobody that a secret was replaced: it has to be asked
        while await sidecar.serial() == first:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert sidecar.children()["envoy"] == envoy


async def test_a_hint_comes_by_the_proxys_own_connection_and_renews_at_once(start):
    sidecar = await start()
    trust, first = sidecar.authority.trust, await sidecar.serial()
    await sidecar.uses(trust.generation)
    sidecar.authority.adopt(replace(trust, generation=trust.generation + 1))
    await sidecar.uses(trust.generation + 1)
    assert await sidecar.serial() != first
    assert set(sidecar.asked) == {(IDENTITY, "sidecar~127.0.0.1~cart-1.shop~shop.svc.cluster.local")}


async def test_told_to_stop_it_stops_envoy_and_ends_well(start):
    sidecar = await start()
    sidecar.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(20):
        assert await sidecar.process.wait() == 0


async def test_without_envoy_it_ends_so_that_both_are_started_anew(start):
    sidecar = await start()
    os.kill(sidecar.children()["envoy"], signal.SIGKILL)
    async with asyncio.timeout(20):
        assert await sidecar.process.wait() == 1
