"""Install, check, uninstall: what a user sees, and what is left."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fixtures.kube import eventually
from fixtures.workloads import client_pod, service
from refmesh.install.crds import crds
from tests.integration.refmesh.conftest import Mesh

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("refmesh")]
LABEL = "app.kubernetes.io/managed-by=refmesh"
KINDS = (
    ("v1", "Namespace"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ("apps/v1", "Deployment"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
)


def leftovers(mesh: Mesh) -> list[str]:
    return [
        f"{kind} {obj['metadata']['name']}" for api, kind in KINDS for obj in mesh.kube.list(api, kind, selector=LABEL)
    ]


def test_check_finds_nothing_wrong(mesh):
    findings = json.loads(mesh.run("check", "-o", "json").stdout)
    assert [f for f in findings if not f["ok"]] == []


def test_statuses_say_what_is_in_force_and_are_written_once(mesh):
    """Of an object of Istio's kinds `kubectl wait` learns whether it is in force, and `check` why not."""
    api = "networking.istio.io/v1"

    def route(name: str, host: str) -> dict[str, Any]:
        spec = {"hosts": [host], "http": [{"directResponse": {"status": 200}}]}
        return {"apiVersion": api, "kind": "VirtualService", "metadata": {"name": name}, "spec": spec}

    with mesh.kube.namespace("refmesh-statuses", wait=True) as namespace:
        ports = {"http": 8080}
        mesh.kube.apply(service("echo", namespace, {"app": "echo"}, ports))
        mesh.kube.apply(route("good", "echo"), route("bad", "nobody"), namespace=namespace)

        def conditions(name: str) -> dict[str, str]:
            status = mesh.kube.get(api, "VirtualService", name, namespace).get("status", {})
            return {item["type"]: item["status"] for item in status.get("conditions", ())}

        eventually(lambda: conditions("good") and conditions("bad"), timeout=60, what="statuses are written")
        assert conditions("good") == {"Accepted": "True", "ResolvedRefs": "True", "PassedAnalysis": "True"}
        assert conditions("bad") == {"Accepted": "False", "ResolvedRefs": "False", "PassedAnalysis": "False"}
        findings = json.loads(mesh.run("check", "-o", "json", code=1).stdout)
        (wrong,) = [f for f in findings if not f["ok"]]
        assert "VirtualService refmesh-statuses/bad: there is no Service" in wrong["detail"]
        before = mesh.kube.get(api, "VirtualService", "good", namespace)
        mesh.kube.apply(service("nobody", namespace, {"app": "nobody"}, ports))
        eventually(lambda: conditions("bad")["Accepted"] == "True", timeout=60, what="the status follows")
        assert mesh.kube.get(api, "VirtualService", "good", namespace) == before


def test_a_second_install_changes_nothing(mesh):
    def state():
        deployment = mesh.kube.get("apps/v1", "Deployment", "refmesh", "refmesh-system")
        return deployment["metadata"]["generation"], mesh.kube.get("v1", "Secret", "refmesh-ca", "refmesh-system")

    before = state()
    mesh.install()
    assert state() == before


def test_pods_are_admitted_and_injected_throughout_a_rollover(mesh):
    """The control plane that leaves answers until every node has heard of the one that came."""
    namespace = "refmesh-rollover"
    path = f"/api/v1/namespaces/{namespace}/pods"
    pod = client_pod("dry", namespace, image=mesh.image)
    admitted: list[bool] = []
    over = threading.Event()

    def create() -> None:
        while not over.is_set():
            # A creation that is refused raises, and fails the test below.
            answer = mesh.kube.api.call("POST", path, query=[("dryRun", "All")], body=pod)
            admitted.append(any(c["name"] == "refmesh-proxy" for c in answer["spec"].get("initContainers", ())))

    labels = {"istio-injection": "enabled"}
    with mesh.kube.namespace(namespace, labels=labels, wait=True), ThreadPoolExecutor(1) as pool:
        creating = pool.submit(create)
        try:
            mesh.install("--set", "log_level=debug")
            mesh.install()
        finally:
            over.set()
        creating.result(timeout=60)
    assert len(admitted) > 50
    assert all(admitted)


@pytest.fixture
def whole_again(mesh):
    """What a test breaks is mended after it, however it ends: the tests of other files share this mesh."""
    yield
    mesh.install()


@pytest.mark.usefixtures("whole_again")
def test_a_missing_image_is_said_at_once(mesh):
    done = mesh.run("install", "--image", "meshproof.local/no-such:1", "-y", code=3)
    assert "meshproof.local/no-such:1" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("whole_again")
def test_an_add_on_without_its_image_is_said_and_the_mesh_serves(mesh):
    addon = ["--set", "addons.prometheus=true", "--set", "addons.prometheus.image=meshproof.local/no-such:1"]
    done = mesh.run("install", "--image", mesh.image, "-y", *addon, code=3)
    assert "refmesh serves, without Prometheus: The image meshproof.local/no-such:1 is not on the node" in done.stderr
    findings = json.loads(mesh.run("check", "-o", "json", code=1).stdout)
    assert [f["name"] for f in findings if not f["ok"]] == ["Prometheus"]


@pytest.mark.usefixtures("whole_again")
def test_uninstall_leaves_nothing_and_pods_start_without_it(mesh):
    mesh.run("uninstall", "-y")
    assert leftovers(mesh) == []
    with mesh.kube.namespace("refmesh-after", labels={"istio-injection": "enabled"}) as namespace:
        (pod,) = mesh.kube.apply(client_pod("client", namespace, image=mesh.image))
        assert not pod["spec"].get("initContainers")
    findings = json.loads(mesh.run("check", "-o", "json", code=1).stdout)
    assert findings[-1]["detail"] == "refmesh is not installed"


@pytest.mark.usefixtures("whole_again")
def test_kinds_from_elsewhere_stay_as_they_are(mesh):
    """Where Istio's definitions are there already, neither install nor uninstall touches them."""
    mesh.run("uninstall", "-y", "--purge")
    foreign = next(crd for crd in crds() if crd["spec"]["names"]["kind"] == "PeerAuthentication")
    foreign["metadata"]["labels"] = {"app": "somebody-else"}
    mesh.kube.apply(foreign)
    mesh.install()
    mesh.run("uninstall", "-y")
    name = foreign["metadata"]["name"]
    kept = mesh.kube.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", name)
    assert kept is not None
    assert kept["metadata"]["labels"] == {"app": "somebody-else"}
    mesh.kube.delete("apiextensions.k8s.io/v1", "CustomResourceDefinition", name, wait=True)


def test_beside_istio_it_is_not_installed(mesh):
    hook = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "istio-sidecar-injector"},
        "webhooks": [],
    }
    mesh.kube.apply(hook)
    try:
        done = mesh.run("install", "--image", mesh.image, "-y", code=3)
    finally:
        mesh.kube.delete("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", "istio-sidecar-injector")
    assert "Istio is installed" in done.stderr


def conditions_of_door(mesh, namespace):
    """The conditions of the Gateway that say something; what Kubernetes writes at first is Unknown."""
    door = mesh.kube.get("gateway.networking.k8s.io/v1", "Gateway", "door", namespace)
    return [one for one in door.get("status", {}).get("conditions", []) if one["status"] != "Unknown"]


@pytest.mark.usefixtures("whole_again")
def test_uninstall_keeps_kinds_that_are_in_use(mesh):
    with mesh.kube.namespace("refmesh-kept") as namespace:
        mesh.kube.apply(
            {
                "apiVersion": "security.istio.io/v1beta1",
                "kind": "PeerAuthentication",
                "metadata": {"name": "default", "namespace": namespace},
                "spec": {"mtls": {"mode": "STRICT"}},
            }
        )
        mesh.kube.apply(
            {
                "apiVersion": "gateway.networking.k8s.io/v1",
                "kind": "Gateway",
                "metadata": {"name": "door", "namespace": namespace},
                "spec": {
                    "gatewayClassName": "refmesh",
                    "listeners": [{"name": "web", "port": 80, "protocol": "HTTP"}],
                },
            }
        )
        eventually(
            lambda: mesh.kube.list("apps/v1", "Deployment", namespace),
            timeout=20,
            what="there is a workload for the Gateway",
        )
        # Without a status that refmesh wrote, uninstalling would have none to take back.
        eventually(
            lambda: [one for one in conditions_of_door(mesh, namespace) if one["type"] == "Accepted"],
            timeout=60,
            what="the Gateway is accepted or refused",
        )
        done = mesh.run("uninstall", "-y")
        assert "kept peerauthentications.security.istio.io" in done.stderr
        # The Gateway stays, and what was made for it goes: nobody is there any more who would make it anew.
        kept = ("gateways.gateway.networking.k8s.io", "peerauthentications.security.istio.io")
        assert leftovers(mesh) == [f"CustomResourceDefinition {name}" for name in kept]
        assert not conditions_of_door(mesh, namespace)
        mesh.run("uninstall", "-y", "--purge")
        assert leftovers(mesh) == []
