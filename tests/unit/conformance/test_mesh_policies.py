"""Policies for the whole mesh: the user's own are never touched, and ours are known again after a dead run."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from conformance import session
from conformance.adapters import Rendered, load
from conformance.adapters.base import for_all
from conformance.checks.levels import levels
from conformance.context import Context
from conformance.ground import Ground, Place
from conformance.intents import Access, AccessRule, Effect, Intent, MeshMtlsMode, Mode
from conformance.mesh_policies import expect_own_policies, in_the_way, marked, withdraw_dead
from conformance.runner import Options
from fixtures.kube import ApiProblem
from fixtures.kube.runner import RUN_LABEL, RUNNER, runner_name
from reports.errors import EnvironmentProblem


class Objects:
    """A cluster that holds objects of any kind, by name."""

    def __init__(self, *items: dict[str, Any]) -> None:
        self.items = {item["metadata"]["name"]: item for item in items}

    def list(self, _: str, kind: str, namespace: str) -> list[dict[str, Any]]:
        return [one for one in self.items.values() if (one["kind"], one["metadata"]["namespace"]) == (kind, namespace)]

    def get(self, _: str, __: str, name: str, ___: str) -> dict[str, Any] | None:
        return self.items.get(name)

    def apply(self, *items: dict[str, Any]) -> None:
        self.items |= {item["metadata"]["name"]: item for item in items}

    def delete(self, _: str, __: str, name: str, ___: str) -> None:
        del self.items[name]


def ours(mesh: str) -> tuple[Any, ...]:
    rendered = load(mesh).render(MeshMtlsMode(Mode.STRICT))
    assert isinstance(rendered, Rendered)
    return rendered.objects


def policy(name: str, mesh: str = "istio", **spec: Any) -> dict[str, Any]:
    (like,) = ours(mesh)
    return {**like, "metadata": {"name": name, "namespace": like["metadata"]["namespace"]}, "spec": spec}


@pytest.mark.parametrize("mesh", ["istio", "refmesh", "kuma"])
def test_no_name_of_ours_is_a_users(mesh: str):
    assert [one["metadata"]["name"] for one in ours(mesh)] == ["meshproof"]


@pytest.mark.parametrize(
    ("spec", "every"),
    [
        ({"mtls": {"mode": "STRICT"}}, True),
        ({"selector": {"matchLabels": {}}}, True),
        ({"selector": {"matchLabels": {"app": "shop"}}}, False),
        ({"targetRef": {"kind": "Mesh"}}, True),
        ({"targetRefs": [{"kind": "GatewayClass", "name": "waypoint"}]}, False),
        ({"targetRef": {"kind": "Dataplane", "labels": {"app": "shop"}}}, False),
    ],
)
def test_which_policies_hold_for_the_whole_mesh(spec: dict[str, Any], every: bool):
    assert for_all({"spec": spec}) is every


@pytest.mark.parametrize("name", ["default", "meshproof", "strict-everywhere"])
def test_a_users_own_policy_stays_as_it_is_and_ends_the_check(name: str):
    own = policy(name, mtls={"mode": "STRICT"})
    cluster = Objects(own, policy("one", selector={"matchLabels": {"app": "shop"}}))
    ctx = SimpleNamespace(
        kube=cluster,
        run="r",
        space=lambda place: place,
        pod=lambda _: None,
        url=lambda *_: "http://server",
        render=load("istio").render,
    )
    with pytest.raises(EnvironmentProblem, match=f"PeerAuthentication istio-system/{name} holds .* --skip MTLS-12"):
        levels(cast("Context", ctx))
    assert cluster.items[name] == own
    assert (
        in_the_way(cast("Any", Objects(policy("one", selector={"matchLabels": {"app": "shop"}}))), ours("istio")) == ()
    )


def permission(name: str, target: dict[str, Any], *, mesh: str = "default", **rule: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": "kuma-system", "labels": {"kuma.io/mesh": mesh}}
    return {
        "kind": "MeshTrafficPermission",
        "metadata": meta,
        "spec": {"targetRef": target, "rules": [{"default": rule}]},
    }


def anybody(kind: str = "Prefix", path: str = "") -> list[dict[str, Any]]:
    return [{"spiffeID": {"type": kind, "value": f"spiffe://default.default.mesh.local{path}"}}]


ALL, SHOP = {"kind": "Mesh"}, {"kind": "Dataplane", "labels": {"app": "shop"}}
CLIENTS = AccessRule(accounts=(("ns", "client"),))


def applied(cluster: Objects, intent: Intent, mesh: str = "kuma") -> None:
    ground = Ground("g", (Place("in", meshed=True),), ())
    Context(cast("Any", cluster), load(mesh), ground, run="r", image="i", alpha=0.01).apply(intent)


@pytest.mark.parametrize("way", ["allow", "allowWithShadowDeny"])
def test_an_allowance_of_the_users_for_the_whole_mesh_leaves_authorization_open(way: str):
    """Kuma's allowances by identity add up: no permission of ours closes what one for the mesh has opened."""
    rule: dict[str, Any] = {way: anybody()}
    users = permission("allow-all", ALL, **rule)
    cluster = Objects(users)
    with pytest.raises(EnvironmentProblem, match="MeshTrafficPermission kuma-system/allow-all holds"):
        applied(cluster, Access("some", "ns", "web", Effect.ALLOW, (CLIENTS,)))
    assert cluster.items == {"allow-all": users}
    applied(cluster, Access("some", "ns", "web", Effect.DENY, (CLIENTS,)))
    assert set(cluster.items) == {"allow-all", "some-0"}


def test_permissions_for_others_leave_authorization_as_it_is():
    cluster = Objects(
        permission("shop", SHOP, allow=anybody()),
        permission("far", ALL, mesh="far", allow=anybody()),
        permission("monitoring", ALL, allow=anybody(path="/ns/monitoring")),
        permission("one", ALL, allow=anybody("Exact", "/ns/ns/sa/client")),
        permission("nobody", ALL, deny=anybody()),
    )
    applied(cluster, Access("some", "ns", "web", Effect.ALLOW, (CLIENTS,)))
    assert {"web-is-called", "some-0"} < set(cluster.items)


def test_a_policy_may_be_in_no_namespace():
    own: dict[str, Any] = {"apiVersion": "x/v1", "kind": "MeshMode", "metadata": {"name": "meshproof"}}
    (made,) = marked((own,), "r")
    users = {**own, "metadata": {"name": "usual", "namespace": None}}
    assert in_the_way(cast("Any", Objects(users)), (made,)) == ("MeshMode usual",)
    host = runner_name().split("/")[0]
    left = Objects({**made, "metadata": {**made["metadata"], "annotations": {RUNNER: f"{host}/1/0"}}})
    assert withdraw_dead(cast("Any", left), (own,)) == ["meshproof"]


def test_a_run_withdraws_at_its_end_what_a_worker_that_was_ended_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (made,) = marked(ours("istio"), "r")
    host = runner_name().split("/")[0]
    left = Objects({**made, "metadata": {**made["metadata"], "annotations": {RUNNER: f"{host}/1/0"}}})
    monkeypatch.setattr(session, "sweep", lambda *_, **__: [])
    monkeypatch.setattr(session, "cleaning_up", lambda: None)
    run = session.Session(
        load("istio"), Options(mesh="istio", run="r", image="i", report_dir=tmp_path), kubeconfig=None, context=None,
        worker="", distributed=True, runner=runner_name(), wait=True, picked={}, offered=1,
    )  # fmt: skip
    run._kube = cast("Any", left)
    run.finish()
    assert left.items == {}


def test_the_next_run_withdraws_what_a_dead_one_left_and_nothing_else():
    (made,) = marked(ours("istio"), "r")
    assert made["metadata"]["labels"] == {RUN_LABEL: "r"}
    alive = Objects(cast("dict[str, Any]", made))
    assert withdraw_dead(cast("Any", alive), ours("istio")) == []
    host, pid, started = runner_name().split("/")
    gone = {**made["metadata"], "annotations": {RUNNER: f"{host}/{pid}/{int(started) + 1}"}}
    dead = Objects({**made, "metadata": gone})
    assert withdraw_dead(cast("Any", dead), ours("istio")) == ["meshproof"]
    assert dead.items == {}
    users = Objects({**made, "metadata": {**gone, "labels": {}}})
    assert withdraw_dead(cast("Any", users), ours("istio")) == []
    assert list(users.items) == ["meshproof"]


def authorization(name: str, **spec: Any) -> dict[str, Any]:
    return {"kind": "AuthorizationPolicy", "metadata": {"name": name, "namespace": "istio-system"}, "spec": spec}


def of(**source: list[str]) -> dict[str, Any]:
    return {"from": [{"source": source}]}


@pytest.mark.parametrize(
    ("spec", "allows", "denies"),
    [
        ({"rules": [{}]}, True, False),
        ({"rules": [of(principals=["*"])]}, True, False),
        ({"rules": [of(principals=["cluster.local/ns/shop/sa/web"]), of(namespaces=["mp-*"])]}, True, False),
        ({"action": "DENY", "rules": [{"to": [{"operation": {"paths": ["/admin"]}}]}]}, True, True),
        ({"action": "CUSTOM", "provider": {"name": "p"}, "rules": [{}]}, True, True),
        ({"rules": [of(principals=["cluster.local/ns/shop/sa/web"])]}, False, False),
        ({"rules": [of(principals=["*"], namespaces=["shop"])]}, False, False),
        ({"rules": [of(serviceAccounts=["shop/web"])]}, False, False),
        ({"action": "DENY", "rules": [of(serviceAccounts=["shop/web"])]}, False, False),
        ({"action": "AUDIT", "rules": [{}]}, False, False),
        ({"selector": {"matchLabels": {"app": "shop"}}, "rules": [{}]}, False, False),
        ({}, False, False),  # adds nothing to what is allowed; see below
    ],
)
def test_policies_of_the_users_for_the_whole_of_istio_leave_authorization_open(
    spec: dict[str, Any], allows: bool, denies: bool
) -> None:
    for effect, rival in ((Effect.ALLOW, allows), (Effect.DENY, denies)):
        cluster = Objects(authorization("theirs", **spec))
        ends = pytest.raises(EnvironmentProblem, match="istio-system/theirs holds") if rival else nullcontext()
        with ends:
            applied(cluster, Access("some", "ns", "web", effect, (CLIENTS,)), "istio")
        assert set(cluster.items) == {"theirs"} | (set() if rival else {"some"})


def generated(kind: str, name: str, *managers: str, space: str = "mp-r-wt-in") -> dict[str, Any]:
    fields = [{"manager": one} for one in managers]
    return {"kind": kind, "metadata": {"name": name, "namespace": space, "managedFields": fields}}


@pytest.mark.parametrize("kind", ["AuthorizationPolicy", "PeerAuthentication", "Sidecar"])
def test_a_policy_that_others_make_in_every_namespace_is_no_failure_of_the_mesh(kind: str) -> None:
    cluster = cast("Any", Objects(generated(kind, "deny-all", "kyverno"), generated(kind, "ours", "meshproof")))
    with pytest.raises(EnvironmentProblem, match=f"{kind} deny-all is in mp-r-wt-in") as caught:
        expect_own_policies(cluster, load("istio"), ["mp-r-other-in", "mp-r-wt-in"])
    assert "namespaces.labels" in caught.value.fix


@pytest.mark.parametrize("mesh", ["istio", "refmesh", "linkerd", "kuma", "cilium", "none"])
def test_what_the_run_or_its_mesh_made_or_nobody_may_look_at_is_in_nobodys_way(mesh: str) -> None:
    def no_rights(*_: object) -> None:
        raise ApiProblem("no", status=403, message='forbidden: User "ci" cannot list resource')

    expect_own_policies(cast("Any", SimpleNamespace(list=no_rights)), load(mesh), ["s"])
    made = [
        generated("AuthorizationPolicy", "a", "meshproof", "kyverno"),
        generated("Sidecar", "b", f"{mesh}-cp"),
        generated("MeshTrafficPermission", "c"),
        generated("CiliumNetworkPolicy", "d", "kyverno", space="shop"),
        generated("ConfigMap", "e", "kyverno"),
    ]
    expect_own_policies(cast("Any", Objects(*made)), load(mesh), ["mp-r-wt-in"])


CERTAIN = authorization("shut", rules=[of(namespaces=["shop"])])
NOBODY = authorization("shut")


@pytest.mark.parametrize(
    ("policies", "shut"),
    [
        ((NOBODY,), True),
        ((CERTAIN,), True),
        ((authorization("shut", rules=[of(serviceAccounts=["shop/web"])]),), True),
        ((NOBODY, authorization("open", rules=[{}])), False),
        ((authorization("web", selector={"matchLabels": {"app": "web"}}),), False),
        ((authorization("none", action="DENY"),), False),
        ((), False),
    ],
)
def test_a_mesh_that_lets_certain_callers_alone_in_cannot_be_judged(
    policies: tuple[dict[str, Any], ...], shut: bool
) -> None:
    plane = {"metadata": {"name": "istiod"}, "status": {"availableReplicas": 1}}
    cluster = SimpleNamespace(get=lambda *_: plane, list=lambda *_: policies)
    said = load("istio").problem(cast("Any", cluster))
    assert ("AuthorizationPolicy istio-system/shut lets certain callers alone" in said) is shut
    assert shut or not said


def test_who_may_not_look_at_policies_is_told_by_requests() -> None:
    plane = {"metadata": {"name": "istiod"}, "status": {"availableReplicas": 1}}

    def no_rights(*_: object) -> None:
        raise ApiProblem("no", status=403)

    assert load("istio").problem(cast("Any", SimpleNamespace(get=lambda *_: plane, list=no_rights))) == ""
