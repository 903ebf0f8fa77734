"""The scene on meshes that say things in different ways."""

from types import SimpleNamespace
from typing import Any

import pytest

from chaos import suite
from chaos.meshing import forgery, meshing, unfit
from chaos.model import ATTACKS, Attempt
from chaos.objects import Forgery, inside, outside
from chaos.settings import Settings
from conformance.adapters import Adapter, Rendered, Unsupported, load
from conformance.adapters.none import NoMesh
from conformance.intents import Inject
from load.ground import objects as _objects
from reports.model import Verdict


def test_linkerd_is_made_strict_by_its_namespace():
    strict = meshing("linkerd").strict("ours")
    assert strict.annotations == {"config.linkerd.io/default-inbound-policy": "all-authenticated"}
    assert strict.problem == ""


@pytest.mark.parametrize("mesh", ["cilium", "consul", "gateway-api"])
def test_a_mesh_without_words_for_it_says_why(mesh):
    assert meshing(mesh).strict("ours").problem


@pytest.mark.parametrize("mesh", ["refmesh", "istio"])
def test_a_mesh_with_istios_words_is_made_strict_by_an_object(mesh):
    assert [one["kind"] for one in meshing(mesh).strict("ours").objects] == ["PeerAuthentication"]
    assert meshing(mesh).strict("ours").annotations == {}


@pytest.mark.parametrize(("mesh", "container"), [("istio", "istio-proxy"), ("cilium", ""), ("none", "")])
def test_the_container_that_a_mesh_puts_into_its_pods_is_known(mesh, container):
    assert meshing(mesh).proxy == container


def test_who_has_no_rights_offers_what_the_meshs_own_would():
    linkerd = "{}.ours.serviceaccount.identity.linkerd.cluster.local"
    assert forgery(load("linkerd"), "ours") == Forgery(linkerd.format("default"), (), linkerd.format("echo"))
    assert forgery(load("istio"), "ours").alpn[-1] == "http/1.1"
    assert forgery(load("refmesh"), "ours") == Forgery("spiffe://cluster.local/ns/ours/sa/default")
    (pod,) = outside("out", "i", "echo:80", forgery(load("linkerd"), "ours"), meshing("linkerd"))
    command = pod["spec"]["containers"][0]["command"]
    assert command[command.index("--server-name") + 1] == linkerd.format("echo")
    assert "--alpn" not in command


def names(objects, kind):
    return [one["metadata"]["name"] for one in objects if one["kind"] == kind]


def test_kuma_lets_the_workloads_be_called():
    kuma = meshing("kuma")
    assert names(inside("ours", "i", kuma), "MeshTrafficPermission") == ["echo-is-called", "between-is-called"]
    assert names(_objects("ours", "i", kuma), "MeshTrafficPermission") == ["echo-is-called"]


def test_clients_have_a_service_where_the_mesh_knows_no_pod_without():
    for mesh, wanted in (("consul", True), ("istio", False)):
        for objects in (inside("ours", "i", meshing(mesh)), _objects("ours", "i", meshing(mesh))):
            assert ("driver" in names(objects, "Service")) is wanted


@pytest.mark.parametrize(("mesh", "account"), [("consul", "driver"), ("istio", None)])
def test_the_load_driver_runs_as_the_account_of_its_service_where_that_is_its_identity(mesh, account):
    objects = _objects("ours", "i", meshing(mesh))
    (driver,) = (one for one in objects if one["kind"] == "Pod")
    assert driver["spec"].get("serviceAccountName") == account
    assert ("driver" in names(objects, "ServiceAccount")) is (account is not None)


class Served:
    """A client without rights that is served, or refused."""

    def __init__(self, through):
        self.through = through

    def attempts(self):
        return tuple(Attempt(1.0, attack, True, self.through, "200") for attack in ATTACKS)


def gate(adapter: Adapter, *, through=True):
    done = SimpleNamespace(requests=5, errors=0)
    driver = SimpleNamespace(start=lambda _: SimpleNamespace(wait=lambda: done))
    lax = meshing(adapter).strict("x").problem
    scene: Any = SimpleNamespace(
        driver=driver,
        outsider=Served(through),
        space="x",
        settings=Settings(strict_timeout=0.1 if through else 20),
        lax=lax,
    )
    return suite._gate(scene)


def test_what_a_mesh_has_no_words_for_is_not_held_against_it():
    verdict, reason = gate(load("cilium")) or (None, "")
    assert verdict is Verdict.UNSUPPORTED
    assert "ztunnel" in reason


def test_what_was_asked_for_and_not_done_is_a_failure_still():
    verdict, _ = gate(NoMesh()) or (None, "")
    assert verdict is Verdict.FAIL


def test_a_mesh_that_refuses_unasked_is_judged():
    assert gate(load("consul"), through=False) is None


class PerPod(NoMesh):
    def render(self, intent):
        if isinstance(intent, Inject):
            return Unsupported("no") if not intent.workload else Rendered()
        return super().render(intent)


def test_a_mesh_without_an_opt_in_injects_nothing():
    assert not meshing(PerPod()).injects


def test_a_mesh_that_starts_pods_of_one_service_only_is_told_so_before_any_pod_is_started(monkeypatch):
    consul = load("consul")
    monkeypatch.setattr(type(consul), "problem", lambda *_: "")
    monkeypatch.setattr(suite, "restore", lambda _: pytest.fail("something was begun"))
    kube: Any = None
    results = suite.run(kube, consul, "image")
    assert {one.verdict for one in results} == {Verdict.UNSUPPORTED}
    assert "exactly one Service" in results[0].reason


@pytest.mark.parametrize("mesh", ["istio", "linkerd", "kuma", "cilium", "none"])
def test_other_meshes_start_the_pods_of_the_scene(mesh):
    assert unfit(load(mesh)) == ""
