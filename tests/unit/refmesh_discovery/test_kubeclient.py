"""The Kubernetes client against a real HTTP server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from refmesh.errors import EnvironmentProblem
from refmesh.kubeclient import Expired, Kube, KubeError, NotServed
from tests.unit.refmesh_discovery.apiserver import ApiServer

PODS = "/api/v1/pods"


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with ApiServer().serving() as found:
        yield found


@pytest.fixture
async def kube(server: ApiServer) -> AsyncIterator[Kube]:
    found = Kube(server.url, None)
    yield found
    await found.close()


async def test_a_list_is_read_in_pages(server: ApiServer, kube: Kube) -> None:
    server.items[PODS] = [{"metadata": {"name": str(index)}} for index in range(5)]
    server.page_size = 2
    page = await kube.page("v1", "pods")
    assert [item["metadata"]["name"] for item in page.items] == ["0", "1", "2", "3", "4"]
    assert page.version == "100"
    assert [token for _, token in server.lists] == ["", "2", "4"]


async def test_a_kind_that_is_not_served_is_told_from_trouble(server: ApiServer, kube: Kube) -> None:
    server.missing.add("/apis/x/v1/things")
    with pytest.raises(NotServed):
        await kube.list("x/v1", "things")
    server.failing = True
    with pytest.raises(KubeError, match="etcd is away") as caught:
        await kube.list("x/v1", "things")
    assert not isinstance(caught.value, NotServed)


async def test_a_watch_gives_events_of_any_length_and_its_end_is_no_error(server: ApiServer, kube: Kube) -> None:
    events = kube.watch("v1", "pods", "7")
    task = asyncio.ensure_future(anext(events))
    await server.watched(PODS)
    server.push(PODS, "ADDED", {"metadata": {"name": "a", "resourceVersion": "8"}, "pad": "x" * 300_000})
    server.push(PODS, "BOOKMARK", {"metadata": {"resourceVersion": "9"}})
    server.cut()
    one = await task
    two = await anext(events)
    assert (one.kind, one.version, two.kind, two.version) == ("ADDED", "8", "BOOKMARK", "9")
    assert [event async for event in events] == []
    assert server.watches == [(PODS, "7")]


async def test_a_version_that_is_too_old_is_expired(server: ApiServer, kube: Kube) -> None:
    server.expired.add(PODS)
    with pytest.raises(Expired):
        await anext(kube.watch("v1", "pods", "1"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "cannot be read"),
        ("{", "not valid YAML"),
        ("[]", "is empty"),
        (yaml.safe_dump({"contexts": []}), "has no entry"),
        (
            yaml.safe_dump(
                {
                    "current-context": "c",
                    "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
                    "clusters": [{"name": "k", "cluster": {"server": "https://127.0.0.1:1"}}],
                    "users": [{"name": "u", "user": {"auth-provider": {}}}],
                }
            ),
            "uses an auth-provider",
        ),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_one_sentence(text: str | None, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    with pytest.raises(EnvironmentProblem, match=sentence):
        Kube.from_kubeconfig(path)


async def test_of_several_kubeconfigs_the_one_with_the_context_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        config = {
            "contexts": [{"name": name, "context": {"cluster": "k", "user": "u"}}],
            "clusters": [{"name": "k", "cluster": {"server": f"http://{name}"}}],
            "users": [{"name": "u", "user": {}}],
        }
        (tmp_path / name).write_text(yaml.safe_dump(config | ({"current-context": "two"} if name == "one" else {})))
    monkeypatch.setenv("KUBECONFIG", f":{tmp_path / 'one'}:{tmp_path / 'two'}")
    for context, server in ((None, "http://two"), ("one", "http://one")):
        kube = Kube.from_kubeconfig(None, context)
        assert kube._server == server
        await kube.close()


async def test_connections_apart_are_not_held_up_by_others() -> None:
    kube = Kube("http://127.0.0.1:1", None, "secret")
    apart = kube.apart()
    assert apart.session().connector is not kube.session().connector
    assert apart._token is kube._token
    await apart.close()
    await kube.close()
