"""A Gateway that names another Secret, and a replica that starts: no port is closed while a Secret is being read."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any, cast

import pytest

from refmesh import arguments
from refmesh.config.certificates import READING_SECONDS, CertificateReader
from refmesh.config.forerunners import Forerunners
from refmesh.config.model import Key, Snapshot
from refmesh.discovery.resource import ResourceType
from refmesh.kubeclient import Kube
from refmesh.server import ControlPlane
from tests.unit.refmesh_discovery.helpers import all_messages
from tests.unit.refmesh_ingress.classic_doors import istio_gateway, mutual, secure, virtual
from tests.unit.refmesh_ingress.doorways import gateway, gateway_class, https, key_pair, route, router_pod

DOOR = ("shop", "front-1")


class Secrets:
    """Answers nothing about a Secret until it is let."""

    def __init__(self) -> None:
        self.asked: dict[Key, asyncio.Future[Any]] = {}

    async def get(self, _api: str, _plural: str, name: str, namespace: str) -> Any:
        return await self._asked((namespace, name))

    def _asked(self, key: Key) -> asyncio.Future[Any]:
        return self.asked.setdefault(key, asyncio.get_running_loop().create_future())

    async def answer(self, key: Key, **data: str) -> None:
        """Have one read, and wait until it was."""
        encoded = {name.replace("_", "."): base64.b64encode(text.encode()).decode() for name, text in data.items()}
        self._asked(key).set_result({"metadata": {"resourceVersion": "1"}, "data": encoded} if data else None)
        await asyncio.sleep(0)


class Plane(ControlPlane):
    """A control plane of which nothing runs but the reader of Secrets."""

    def __init__(self, secrets: Secrets) -> None:
        super().__init__(arguments.parse(["--namespace", "refmesh-system"]), cast("Kube", secrets))
        self.now = 0.0
        self._forerunners = Forerunners(clock=lambda: self.now)

    def put(self, source: str, *objects: dict[str, Any]) -> None:
        for one in objects:
            self._store.put(source, one)

    def snapshot(self) -> Snapshot:
        return self._store.snapshot()

    def seen(self, door: Key) -> tuple[Any, set[str]]:
        """The listeners of a gateway and the certificates that it has."""
        self._publish(self.snapshot())
        world = self._hub.world
        assert world is not None
        listeners = all_messages(world, door, ResourceType.LISTENER)
        return listeners, set(all_messages(world, door, ResourceType.SECRET))


def pair() -> dict[str, str]:
    made = key_pair()
    return {"tls_crt": made.chain, "tls_key": made.key}


def of_gateway_api(plane: Plane, secret: str, generation: int) -> Key:
    made = gateway(https("web", secret=secret))
    made["metadata"]["generation"] = generation
    plane.put("GatewayClass", gateway_class())
    plane.put("Gateway", made)
    plane.put("HTTPRoute", route())
    plane.put("Pod", router_pod())
    return DOOR


def of_istio(plane: Plane, secret: str, generation: int) -> Key:
    door = router_pod("door", "10.1.8.1", "x")
    door["metadata"] |= {"namespace": "shop", "labels": {"istio": "ingressgateway"}}
    plane.put("Pod", door)
    plane.put("IstioGateway", istio_gateway(secure(secret, "a.example"), generation=generation))
    plane.put("VirtualService", virtual("a.example"))
    return "shop", "door"


Opened = Callable[[Plane, str, int], Key]


async def serving(opened: Opened) -> tuple[Secrets, Plane, Key]:
    """A gateway whose Secret `old` has been read."""
    secrets = Secrets()
    plane = Plane(secrets)
    door = opened(plane, "old", 1)
    plane.seen(door)
    await secrets.answer(("shop", "old"), **pair())
    return secrets, plane, door


@pytest.mark.parametrize("opened", [of_gateway_api, of_istio])
async def test_a_gateway_that_names_another_secret_keeps_its_certificate_until_that_is_read(opened: Opened) -> None:
    secrets, plane, door = await serving(opened)
    plane.now += READING_SECONDS
    before = plane.seen(door)
    assert before[0].keys() == {"0.0.0.0_443"}
    assert before[1] == {"kubernetes://shop/old"}
    opened(plane, "new", 2)
    assert plane.seen(door) == before
    assert plane.seen(door) == before, "also when something else is published"
    await secrets.answer(("shop", "new"), **pair())
    after = plane.seen(door)
    assert after[0].keys() == {"0.0.0.0_443"}
    assert after[1] == {"kubernetes://shop/new"}
    assert plane.snapshot().certificates.keys() == {("shop", "new")}, "nobody names the other one any more"
    await plane._certificates.close()


@pytest.mark.parametrize("opened", [of_gateway_api, of_istio])
async def test_it_waits_no_longer_than_a_moment(opened: Opened) -> None:
    _, plane, door = await serving(opened)
    before = plane.seen(door)
    opened(plane, "new", 2)
    assert plane.seen(door) == before
    plane.now += READING_SECONDS
    assert plane.seen(door) == ({}, set())
    await plane._certificates.close()


async def test_what_is_known_not_to_be_there_is_not_waited_for() -> None:
    secrets, plane, door = await serving(of_gateway_api)
    plane.seen(door)
    of_gateway_api(plane, "none", 2)
    plane.seen(door)
    await secrets.answer(("shop", "none"))
    assert plane.seen(door) == ({}, set())
    await plane._certificates.close()


async def test_a_server_with_client_certificates_waits_for_both_secrets() -> None:
    secrets, plane, door = await serving(of_istio)
    before = plane.seen(door)
    plane.put("IstioGateway", istio_gateway(mutual("new", "a.example"), generation=2))
    assert plane.seen(door) == before
    both = pair()
    await secrets.answer(("shop", "new"), **both)
    assert plane.seen(door) == before
    await secrets.answer(("shop", "new-cacert"), cacert=both["tls_crt"])
    assert plane.seen(door)[1] == {"kubernetes://shop/new", "kubernetes://shop/new-cacert#ca"}
    await plane._certificates.close()


async def test_the_first_world_of_a_replica_has_the_certificates() -> None:
    secrets = Secrets()
    plane = Plane(secrets)
    door = of_gateway_api(plane, "cert", 1)
    reading = asyncio.create_task(plane._read_secrets())
    await secrets.answer(("shop", "cert"), **pair())
    await reading
    assert plane.seen(door)[1] == {"kubernetes://shop/cert"}
    await plane._certificates.close()


async def test_nobody_waits_for_secrets_that_nobody_names_any_more() -> None:
    secrets, known = Secrets(), dict[Key, Any]()
    reader = CertificateReader(cast("Kube", secrets), known.__setitem__)
    reader.want({("shop", "a"), ("shop", "b")})
    waiting = asyncio.create_task(reader.read())
    await secrets.answer(("shop", "a"))
    assert not waiting.done()
    reader.want({("shop", "a")})
    await waiting
    assert known.keys() == {("shop", "a"), ("shop", "b")}
    assert known["shop", "b"] is None
    await reader.close()
