from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
import yaml

from refmesh.ca.signing import ISSUER_LIFETIME, Keyring
from refmesh.errors import EnvironmentProblem, UsageProblem
from refmesh.install import check, gateway_api, proxies
from refmesh.install.check import judge_objects, judge_rejections, judge_roots, judge_secret, judge_webhooks
from refmesh.install.installer import new_enough, sidecar_form
from refmesh.install.offline import inject_object
from refmesh.kubeclient import Kube
from tests.unit.refmesh_injector.pods import CONFIG, pod

SECRET = {"data": {key: base64.b64encode(value).decode() for key, value in Keyring.create().dump().items()}}
ROOT = SECRET["data"]["root-cert.pem"]
NOW = datetime.now(UTC)
CRD = {"kind": "CustomResourceDefinition", "metadata": {"name": "httproutes.gateway.networking.k8s.io"}}


def test_certificates_are_judged_by_what_is_left():
    assert judge_secret(SECRET, NOW).ok
    assert not judge_secret(SECRET, NOW + ISSUER_LIFETIME - timedelta(days=10)).ok


@pytest.mark.parametrize("secret", [None, {}, {"data": {}}, {"data": {"root-cert.pem": "x", "ca-cert.pem": "!"}}])
def test_missing_or_damaged_keys_are_found(secret):
    assert not judge_secret(secret, NOW).ok


def hooks(*bundles: str | None) -> dict[str, Any]:
    return {
        "webhooks": [{"name": f"h{i}", "clientConfig": {"caBundle": b} if b else {}} for i, b in enumerate(bundles)]
    }


def test_webhooks_must_trust_the_cas_root():
    assert judge_webhooks(hooks(ROOT, ROOT), SECRET).ok
    assert "h1" in judge_webhooks(hooks(ROOT, "other"), SECRET).detail
    assert "h0" in judge_webhooks(hooks(None), SECRET).detail
    assert not judge_webhooks(None, SECRET).ok
    assert not judge_webhooks(hooks(), SECRET).ok
    assert not judge_webhooks(hooks(ROOT), None).ok


def test_pods_that_a_restart_of_their_node_would_end_are_named():
    old, new = Keyring.create().root_pem.decode(), base64.b64decode(ROOT).decode()

    def told(name: str, roots: str) -> dict[str, Any]:
        workload = {"kind": "Pod", **pod(), "metadata": {"namespace": "shop", "name": name}}
        return inject_object(workload, replace(CONFIG, root_pem=roots))

    assert judge_roots([told("a", new), told("b", old + new), told("c", new.replace("\n", "\r\n"))], SECRET) == []
    (finding,) = judge_roots([told("a", new), told("b", old), *[told(f"b{n}", old) for n in range(5)]], SECRET)
    assert finding.ok  # they are well until then
    assert finding.detail.startswith("6 pods")
    assert "restart their workloads: shop/b, shop/b0, shop/b1, shop/b2, shop/b3 and others" in finding.detail
    for damaged in (None, {}, {"data": {"root-cert.pem": "!"}}):
        assert judge_roots([told("b", old)], damaged) == []
    assert judge_roots([pod()], SECRET) == []


def judged_object(name: str, generation: int = 1, **conditions: str) -> tuple[str, dict[str, Any]]:
    said = [
        {"type": kind, "status": value.partition(" ")[0], "message": value.partition(" ")[2]}
        for kind, value in conditions.items()
    ]
    metadata = {"namespace": "shop", "name": name, "generation": generation}
    return "VirtualService", {"metadata": metadata, "status": {"observedGeneration": 1, "conditions": said}}


def test_objects_with_errors_are_named_with_the_reason():
    good = judged_object("good", Accepted="True in force", PassedAnalysis="True nothing")
    new = judged_object("new", 2, Accepted="False x", PassedAnalysis="False x")
    assert judge_objects([good, new, judged_object("newer")]).ok
    assert "2 not judged yet" in judge_objects([good, new, judged_object("newer")]).detail
    bad = judged_object("bad", Accepted="True part", ResolvedRefs="False no host", PassedAnalysis="False errors")
    finding = judge_objects([good, bad, *[judged_object(f"b{n}", PassedAnalysis="False e") for n in range(6)]])
    assert not finding.ok
    assert "VirtualService shop/bad: no host" in finding.detail
    assert "and 2 more" in finding.detail


def a_proxy(name: str, **rejected: str) -> dict[str, Any]:
    types = {kind: {"wanted": 3, "acknowledged": True, "rejected": why} for kind, why in rejected.items()}
    return {"proxy": f"{name}.shop", "types": types, "in_step": True}


def test_proxies_that_reject_their_configuration_are_named_with_kind_and_reason():
    good = a_proxy("good", CDS="", LDS="")
    assert judge_rejections([good, {"proxy": "new.shop"}]).detail == "none of 2 connected proxies rejects any"
    finding = judge_rejections([good, a_proxy("cart", CDS="no such type", LDS="", SDS="no key")])
    assert not finding.ok
    assert finding.detail == (
        "rejected by 1 of 2 proxies: cart.shop keeps its old CDS: no such type; cart.shop keeps its old SDS: no key"
    )
    many = judge_rejections([a_proxy(f"p{number}", LDS="no") for number in range(8)])
    assert "rejected by 8 of 8 proxies" in many.detail
    assert many.detail.endswith("; and 3 more")


def test_what_a_silent_replica_knows_is_not_called_well():
    finding = judge_rejections([a_proxy("good", LDS="")], 1)
    assert not finding.ok
    assert finding.detail == "none of 1 connected proxies rejects any; 1 replica did not answer"
    assert judge_rejections([a_proxy("cart", LDS="no")], 2).detail.endswith("LDS: no; 2 replicas did not answer")


class Cluster:
    """An API server with refmesh and nothing else, which lets nobody forward a port."""

    async def get(self, _api: str, kind: str, name: str, namespace: str = "") -> dict[str, Any] | None:
        container = {"image": "refmesh:1", "args": ["--replicas=1"]}
        spec = {"replicas": 1, "template": {"spec": {"containers": [container]}}}
        found = {"metadata": {"name": name}, "spec": spec, "status": {"availableReplicas": 1}}
        return found if (kind, name, namespace) == ("deployments", "refmesh", "refmesh-system") else None

    async def list(self, _api: str, kind: str, _namespace: str = "", selector: str = "") -> list[dict[str, Any]]:
        plane = {"metadata": {"name": "refmesh-1"}, "status": {"phase": "Running"}}
        return [plane] if (kind, selector) == ("pods", "app=refmesh") else []

    async def version(self) -> str:
        return "v1.34.0"

    def port_stream(self, *_where: Any) -> Any:
        raise OSError("no forwarding for you")


class Populated(Cluster):
    """With one injected pod, and more Services than its proxy has memory for."""

    async def list(self, api: str, kind: str, namespace: str = "", selector: str = "") -> list[dict[str, Any]]:
        if (kind, selector) == ("pods", "security.istio.io/tlsMode=istio"):
            workload = {"kind": "Pod", **pod(), "metadata": {"namespace": "shop", "name": "cart"}}
            return [inject_object(workload, CONFIG) | {"status": {"phase": "Running"}}]
        if kind == "services":
            return [{"spec": {"ports": [{"port": number} for number in range(3000)]}}]
        return await super().list(api, kind, namespace, selector)


async def test_check_warns_of_what_is_well_until_then(monkeypatch):
    monkeypatch.setattr(check, "reachable", lambda kube: kube.version())
    found = {finding.name: finding for finding in await check.check(cast("Kube", Populated()))}
    assert found["proxies' memory"].ok
    assert "shop/cart" in found["proxies' memory"].detail
    assert found["proxies' image"].ok
    assert "1 of 1 proxies run another image than the control plane's, refmesh:1" in found["proxies' image"].detail


async def test_check_does_not_call_well_what_nobody_could_ask(monkeypatch):
    monkeypatch.setattr(check, "reachable", lambda kube: kube.version())
    found = {finding.name: finding for finding in await check.check(cast("Kube", Cluster()))}
    finding = found["proxies' configuration"]
    assert not finding.ok
    assert "no forwarding for you" in finding.detail
    assert "pods/portforward" in finding.detail


@pytest.mark.parametrize("error", [ValueError("no JSON"), OSError("no ports left")])
async def test_an_error_that_nobody_foresaw_is_one_finding_and_no_end(monkeypatch, error):
    async def pages(_kube: Any, _name: str) -> tuple[list[Any], int]:
        raise error

    monkeypatch.setattr(check, "reachable", lambda kube: kube.version())
    monkeypatch.setattr(proxies, "ask_replicas", pages)
    found = {finding.name: finding for finding in await check.check(cast("Kube", Cluster()))}
    assert not found["proxies' configuration"].ok
    assert found["proxies' configuration"].detail == f"nobody says whether it was rejected: {error}"


async def test_check_asks_every_replica_what_was_rejected(monkeypatch):
    async def pages(_kube: Any, name: str) -> tuple[list[Any], int]:
        assert name == "proxies"
        return [[a_proxy("cart", LDS="no")], [a_proxy("front", LDS="")]], 0

    monkeypatch.setattr(check, "reachable", lambda kube: kube.version())
    monkeypatch.setattr(proxies, "ask_replicas", pages)
    found = {finding.name: finding for finding in await check.check(cast("Kube", Cluster()))}
    assert found["proxies' configuration"].detail == "rejected by 1 of 2 proxies: cart.shop keeps its old LDS: no"


def test_gateway_definitions_come_from_a_file_or_a_folder(tmp_path):
    other = {"kind": "ConfigMap", "metadata": {"name": "x"}}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump_all([other, None, CRD]))
    assert gateway_api.from_path(tmp_path) == gateway_api.from_path(tmp_path / "a.yaml") == [CRD]


@pytest.mark.parametrize("text", ["", "a: [", "kind: ConfigMap", "\x00"])
def test_a_file_without_definitions_is_named(tmp_path, text):
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(UsageProblem, match=str(file)):
        gateway_api.from_path(file)


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(UsageProblem, match="nowhere"):
        gateway_api.from_path(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    "workload",
    [
        {"kind": "Deployment", "spec": {"template": pod()}},
        {"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": pod()}}}},
        {"kind": "Pod", **pod()},
        {"kind": "List", "items": [{"kind": "Pod", **pod()}]},
    ],
)
def test_offline_injection_finds_the_pod_of_every_workload(workload):
    assert "refmesh-proxy" in yaml.safe_dump(inject_object(workload, CONFIG))


@pytest.mark.parametrize("other", [{"kind": "Service", "spec": {}}, {"kind": "Deployment", "spec": None}, {}])
def test_offline_injection_leaves_the_rest_alone(other):
    assert inject_object(other, CONFIG) == other


@pytest.mark.parametrize(
    ("version", "enough"),
    [("v1.28.9", False), ("v1.29.0", True), ("v1.31.2-gke.7", True), ("1.9.0", False), ("v2.0.0", True), ("?", True)],
)
def test_native_sidecars_need_kubernetes_1_29(version, enough):
    assert new_enough(version, (1, 29)) is enough
    assert sidecar_form("auto", version) == ("native" if enough else "classic")
    assert sidecar_form("classic", version) == "classic"


def test_native_sidecars_are_refused_where_the_cluster_has_none():
    with pytest.raises(EnvironmentProblem, match=r"1\.28.*need 1\.29"):
        sidecar_form("native", "v1.28.9")
    assert sidecar_form("native", "v1.29.0") == "native"
