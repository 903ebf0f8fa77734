"""Gateway API's definitions are the pinned ones, wherever they are fetched from."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from fixtures.cluster.parts import PARTS
from fixtures.cluster.programs import directory
from refmesh.errors import EnvironmentProblem
from refmesh.install import gateway_api

CRDS: list[dict[str, Any]] = [
    {"kind": "CustomResourceDefinition", "metadata": {"name": f"{name}.gateway.networking.k8s.io"}, "spec": {"x": 1}}
    for name in ("httproutes", "gateways")
]


def fetched(
    monkeypatch: pytest.MonkeyPatch, module: list[dict[str, Any]], release: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], str]:
    monkeypatch.delenv("REFMESH_GATEWAY_API_CRDS", raising=False)
    monkeypatch.setattr(gateway_api, "PINS", {gateway_api.VERSION: gateway_api.digest(CRDS)})
    monkeypatch.setattr(gateway_api, "_from_module", lambda: module)
    monkeypatch.setattr(gateway_api, "_from_release", lambda: release)
    return gateway_api.definitions(None)


def test_the_version_in_use_is_the_pinned_one_and_the_clusters() -> None:
    assert list(gateway_api.PINS) == [gateway_api.VERSION], "pin the digest of the version in use, and no other"
    assert PARTS["gateway-api"].version == gateway_api.VERSION


@pytest.mark.skipif(not directory("gateway-api").is_dir(), reason="the Go module has not been fetched here yet")
def test_what_is_pinned_is_what_the_module_has_that_go_sum_pins() -> None:
    files = sorted((directory("gateway-api") / "standard").glob("*.yaml"))
    found = [crd for file in files for crd in gateway_api.parse(file.read_text(encoding="utf-8"))]
    assert gateway_api.digest(found) == gateway_api.PINS[gateway_api.VERSION]


def test_the_digest_is_of_what_the_definitions_say() -> None:
    text = yaml.safe_dump_all(reversed(CRDS), default_flow_style=True)
    assert gateway_api.digest(gateway_api.parse(text)) == gateway_api.digest(CRDS)
    other = copy.deepcopy(CRDS)
    other[0]["spec"]["x"] = 2
    assert len({gateway_api.digest(one) for one in (CRDS, other, CRDS[:1])}) == 3


def test_the_pinned_definitions_are_taken_from_either_place(monkeypatch: pytest.MonkeyPatch) -> None:
    found, where = fetched(monkeypatch, CRDS, [])
    assert (found, where) == (CRDS, f"Go module sigs.k8s.io/gateway-api@{gateway_api.VERSION}")
    found, where = fetched(monkeypatch, [], CRDS)
    assert (found, where) == (CRDS, f"the release {gateway_api.VERSION} of the Gateway API project")
    assert fetched(monkeypatch, [], [])[0] == []


@pytest.mark.parametrize("module", [True, False])
def test_others_are_refused_and_named(monkeypatch: pytest.MonkeyPatch, module: bool) -> None:
    other = CRDS[:1]
    with pytest.raises(EnvironmentProblem) as refused:
        fetched(monkeypatch, other if module else [], other)
    place = "Go module" if module else "the release"
    for named in (place, gateway_api.digest(other), gateway_api.digest(CRDS), "--gateway-api-crds FILE"):
        assert named in str(refused.value)
