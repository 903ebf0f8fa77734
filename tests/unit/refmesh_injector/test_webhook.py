from __future__ import annotations

import base64
import io
import json
import ssl
from typing import Any, cast

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refmesh.ca.authority import Authority
from refmesh.ca.signing import Keyring
from refmesh.ca.trust import initial
from refmesh.injector import webhook
from refmesh.injector.policy import CONFIGURATION, VALIDATOR
from refmesh.kubeclient import Kube
from tests.unit.refmesh_injector.pods import CONFIG, pod


def admission(obj: Any) -> bytes:
    request = {"uid": "u-1", "object": obj, "namespace": "shop"}
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


def test_a_pod_gets_its_patch():
    response = webhook.review(admission(pod()), CONFIG)["response"]
    assert response["uid"] == "u-1"
    assert response["allowed"]
    operations = json.loads(base64.b64decode(response["patch"]))
    assert any(operation["path"] == "/spec/initContainers" for operation in operations)


def test_an_opted_out_pod_is_allowed_unchanged():
    original = pod()
    original["metadata"]["labels"]["sidecar.istio.io/inject"] = "false"
    assert webhook.review(admission(original), CONFIG)["response"] == {"uid": "u-1", "allowed": True}


def test_a_bad_annotation_denies_the_pod_with_a_sentence():
    original = pod()
    original["metadata"]["annotations"] = {"traffic.sidecar.istio.io/excludeInboundPorts": "x"}
    response = webhook.review(admission(original), CONFIG)["response"]
    assert not response["allowed"]
    assert "'x' is not a port number" in response["status"]["message"]


_json: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
)
_podlike = st.fixed_dictionaries(
    {},
    optional={
        "metadata": _json,
        "spec": _json
        | st.fixed_dictionaries({}, optional={"containers": _json, "initContainers": _json, "volumes": _json}),
    },
)


@given(_podlike)
def test_anything_shaped_like_a_pod_gets_an_answer(obj):
    response = webhook.review(admission(obj), CONFIG)["response"]
    assert isinstance(response["allowed"], bool)


@given(st.binary(max_size=200) | _json.map(lambda value: json.dumps(value).encode()))
def test_garbage_is_refused_and_nothing_else(body):
    with pytest.raises(ValueError, match="AdmissionReview"):
        webhook.review(body, CONFIG)


class FakeKube:
    def __init__(self) -> None:
        self.configuration: dict[str, Any] | None = None
        self.replaced = 0

    async def get(self, _api: str, _plural: str, name: str, _namespace: str | None = None) -> Any:
        if name == VALIDATOR:
            return None
        assert name == CONFIGURATION
        return json.loads(json.dumps(self.configuration)) if self.configuration else None

    async def replace(self, _api: str, _plural: str, _name: str, body: Any, _namespace: str | None = None) -> Any:
        self.configuration = body
        self.replaced += 1


async def test_the_bundle_is_written_once_and_only_where_it_is_missing():
    kube = FakeKube()
    assert not await webhook.set_bundle(cast("Kube", kube), "ROOT")
    kube.configuration = {"webhooks": [{"clientConfig": {}}, {"clientConfig": {"caBundle": "old"}}]}
    assert await webhook.set_bundle(cast("Kube", kube), "ROOT")
    assert [hook["clientConfig"]["caBundle"] for hook in kube.configuration["webhooks"]] == ["ROOT", "ROOT"]
    assert await webhook.set_bundle(cast("Kube", kube), "ROOT")
    assert kube.replaced == 1


@pytest.fixture
async def serving():
    authority = Authority(initial(Keyring.create()), trust_domain="cluster.local", namespace="refmesh-system")
    service = await webhook.start(
        authority=authority,
        kube=cast("Kube", FakeKube()),
        names=["localhost"],
        host="127.0.0.1",
        port=0,
        namespace="refmesh-system",
        trust_domain="cluster.local",
        image="mesh:1",
    )
    trust = ssl.create_default_context(cadata=authority.trust_bundle_pem().decode())
    async with aiohttp.ClientSession(
        f"https://localhost:{service.port}", connector=aiohttp.TCPConnector(ssl=trust)
    ) as session:
        yield service, session
    await service.close()


@pytest.fixture
async def served(serving):
    return serving[1]


async def test_a_webhook_that_leaves_answers_and_ends_each_connection(serving):
    service, session = serving
    for leaving, said in ((False, None), (True, "close")):
        if leaving:
            service.leave()
        async with session.post("/inject", data=admission(pod())) as reply:
            assert reply.status == 200
            assert reply.headers.get("Connection") == said


async def test_https_with_the_meshs_root(served):
    async with served.post("/inject", data=admission(pod())) as reply:
        assert reply.status == 200
        assert (await reply.json())["response"]["allowed"]


async def test_other_methods_paths_and_sizes_are_refused(served):
    async with served.get("/inject") as reply:
        assert reply.status == 405
    async with served.post("/other") as reply:
        assert reply.status == 404
    async with served.post("/inject", data=b"x") as reply:
        assert reply.status == 400
    async with served.post("/inject", data=io.BytesIO(b" " * (webhook.MAX_BODY_BYTES + 1))) as reply:
        assert reply.status == 413


async def test_what_no_api_server_stores_is_not_reviewed(served):
    for size, status in ((3 << 20, 400), ((3 << 20) + 1, 413)):
        async with served.post("/validate", data=io.BytesIO(b" " * size)) as reply:
            assert reply.status == status
