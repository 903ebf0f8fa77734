"""Kinds that the cluster has from elsewhere: read in what it serves, and complained of where that is nothing known."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from refmesh.api.kinds import KINDS, Kind
from refmesh.errors import EnvironmentProblem
from refmesh.install.check import judge_kind
from refmesh.install.definitions import preflight
from refmesh.install.manifests import LABELS
from refmesh.kubeclient import Kube

OF_ISTIO = next(kind for kind in KINDS if kind.name == "PeerAuthentication")
GRANT = next(kind for kind in KINDS if kind.name == "ReferenceGrant")
ROUTE = next(kind for kind in KINDS if kind.name == "HTTPRoute")


def definition(kind: Kind, *served: str, **labels: str) -> dict[str, Any]:
    versions = [{"name": name, "served": True} for name in served] + [{"name": "v1", "served": "v1" in served}]
    return {"metadata": {"name": f"{kind.plural}.{kind.group}", "labels": labels}, "spec": {"versions": versions}}


class Cluster:
    """Has these definitions."""

    def __init__(self, *found: dict[str, Any]) -> None:
        self.found = {one["metadata"]["name"]: one for one in found}

    async def get(self, _api: str, plural: str, name: str) -> dict[str, Any] | None:
        assert plural == "customresourcedefinitions"
        return self.found.get(name)


async def judged(*found: dict[str, Any], given: Path | None = None) -> None:
    await preflight(cast("Kube", Cluster(*found)), given)


@pytest.mark.parametrize("served", [("v1",), ("v1beta1",), ("v1alpha1", "v1beta1")])
async def test_what_can_be_read_is_kept_as_it_is(served: tuple[str, ...]) -> None:
    await judged(definition(OF_ISTIO, *served), definition(ROUTE, "v1"), definition(GRANT, *served))
    await judged()


async def test_a_kind_that_would_be_written_and_never_read_is_refused_at_install() -> None:
    with pytest.raises(EnvironmentProblem) as refused:
        await judged(definition(OF_ISTIO, "v1alpha1"))
    assert "peerauthentications.security.istio.io is served as v1alpha1, and refmesh reads v1 or v1beta1" in str(
        refused.value
    )
    await judged(definition(OF_ISTIO, "v1alpha1", **LABELS))  # refmesh's own, which this install renews


async def test_gateway_api_is_judged_where_it_is_kept() -> None:
    old = definition(GRANT, "v1alpha2")
    with pytest.raises(EnvironmentProblem, match="referencegrants"):
        await judged(old, definition(ROUTE, "v1"))
    await judged(old)
    await judged(old, definition(ROUTE, "v1"), given=Path("crds.yaml"))


def test_check_calls_well_what_is_read() -> None:
    def well(kind: Kind, found: dict[str, Any] | None) -> bool | None:
        finding = judge_kind(kind, found)
        return None if finding is None else finding.ok

    assert well(OF_ISTIO, definition(OF_ISTIO, "v1beta1")) is True
    assert well(OF_ISTIO, definition(OF_ISTIO, "v1alpha1")) is False
    assert well(OF_ISTIO, None) is False
    assert well(ROUTE, None) is True
    assert well(ROUTE, definition(ROUTE, "v1alpha2")) is False
    assert well(GRANT, definition(GRANT, "v1alpha2")) is False
    assert well(GRANT, None) is None
    assert well(GRANT, definition(GRANT, "v1")) is None
