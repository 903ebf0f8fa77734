"""What is not held against a mesh: that it changes no pods, and that nobody said where its control plane is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from conformance.adapters import Adapter, load
from conformance.checks.admission import kept, on_node, twice
from conformance.checks.crash import crash
from conformance.checks.injection import changes_pods
from conformance.checks.joining import first_request, jobs
from conformance.checks.lifecycle import moves
from conformance.checks.uninstalling import uninstalled
from conformance.checks.wide import away, injector_down, upgrade
from conformance.context import Context, NotExpressible
from conformance.ground import Ground
from conformance.planes import is_mesh, plane_of

BARE = {"namespace-labels": "istio-injection=enabled"}


def context(adapter: Adapter) -> Context:
    return Context(cast("Any", None), adapter, cast("Ground", None), run="r", image="i", alpha=1e-5)


@pytest.mark.parametrize("body", [on_node, twice, kept, crash, moves, injector_down, uninstalled, first_request, jobs])
@pytest.mark.parametrize("mesh", [load("cilium"), load("gateway-api", {"per-node": "true"})], ids=lambda one: one.name)
def test_a_mesh_that_changes_no_pods_is_not_blamed_for_it(body: Any, mesh: Adapter):
    with pytest.raises(NotExpressible, match="changes none"):
        body(context(mesh))


@pytest.mark.parametrize("mesh", ["none", "refmesh", "consul"])  # by namespace, or pod by pod
def test_whoever_changes_pods_is_judged_and_so_is_no_mesh(mesh: str):
    changes_pods(context(load(mesh)))


@pytest.mark.parametrize("body", [away, upgrade, uninstalled])
def test_a_control_plane_that_nobody_named_is_not_missing(body: Any):
    with pytest.raises(NotExpressible, match="--set control-plane=NAMESPACE/NAME"):
        body(context(load("gateway-api", BARE)))


def test_a_mesh_is_one_whoever_knows_its_control_plane():
    bare, named = load("gateway-api", BARE), load("gateway-api", {"control-plane": "mesh/plane"})
    assert [is_mesh(one) for one in (bare, named, load("none"))] == [True, True, False]
    assert plane_of(named) == ("mesh", "plane")
    assert plane_of(load("none")) is None


def test_a_way_out_that_nobody_named_is_no_failure_of_lc_05():
    ctx = context(load("gateway-api", BARE))
    cast("Any", ctx).pod = lambda _: SimpleNamespace()
    with pytest.raises(NotExpressible, match="opt-out-labels"):
        moves(ctx)
