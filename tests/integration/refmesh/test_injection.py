"""Injected pods on a real cluster: start, probes, identity, end."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from cryptography import x509

from fixtures.kube import ApiProblem, eventually
from fixtures.workloads import client_pod, echo_deployment, service
from fixtures.workloads.batch import Batch
from fixtures.workloads.manifests import ECHO_CONTROL
from fixtures.workloads.traffic import Client, Control
from tests.integration.refmesh.conftest import Mesh

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("refmesh")]
INJECT = {"istio-injection": "enabled"}


@pytest.fixture
def shop(mesh: Mesh) -> Iterator[str]:
    with mesh.kube.namespace(f"refmesh-{uuid.uuid4().hex[:6]}", labels=INJECT) as namespace:
        yield namespace


def strict(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": namespace},
        "spec": {"mtls": {"mode": "STRICT"}},
    }


def proxy_of(pod: dict[str, Any]) -> dict[str, Any] | None:
    return next((c for c in pod["spec"].get("initContainers") or [] if c["name"] == "refmesh-proxy"), None)


def job(name: str, namespace: str, image: str, code: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    container = {"name": "work", "image": image, "command": ["python", "-c", code]}
    template = {"metadata": {"labels": labels or {}}, "spec": {"restartPolicy": "Never", "containers": [container]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"backoffLimit": 0, "template": template},
    }


def test_probes_of_every_kind_work_under_strict(mesh, shop):
    echo = echo_deployment("echo", shop, image=mesh.image)
    container = echo[1]["spec"]["template"]["spec"]["containers"][0]
    container["livenessProbe"] = {"tcpSocket": {"port": "tcp"}, "periodSeconds": 1, "failureThreshold": 60}
    container["startupProbe"] = {
        "httpGet": {"path": "/ready", "port": 8080},
        "periodSeconds": 1,
        "failureThreshold": 90,
    }
    mesh.kube.apply(strict(shop), *echo)
    (pod,) = mesh.kube.wait_pods_ready(shop, "app=echo", count=1)
    probes = {kind: pod["spec"]["containers"][0][kind] for kind in ("readinessProbe", "livenessProbe", "startupProbe")}
    assert {probe["httpGet"]["port"] for probe in probes.values()} == {15020}
    # The pod is ready before its liveness may fail it: what the kubelet is told meanwhile is asked for.
    url = f"http://127.0.0.1:15020{probes['livenessProbe']['httpGet']['path']}"
    code = f"from urllib.request import urlopen; print(urlopen({url!r}, timeout=20).status)"
    told = mesh.kube.exec(shop, pod["metadata"]["name"], ["python", "-c", code], container="echo")
    assert told.stdout.strip() == "200", told
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0


def test_the_identity_is_the_service_accounts_and_the_key_stays_in_the_pod(mesh, shop):
    mesh.kube.apply(*echo_deployment("echo", shop, image=mesh.image, service_account="cart"))
    (pod,) = mesh.kube.wait_pods_ready(shop, "app=echo", count=1)
    dump = json.loads(mesh.admin(shop, pod["metadata"]["name"], "/config_dump?resource=dynamic_active_secrets"))
    secrets = {entry["name"]: entry["secret"] for entry in dump["configs"]}
    assert set(secrets) == {"default", "ROOTCA"}
    chain = base64.b64decode(secrets["default"]["tls_certificate"]["certificate_chain"]["inline_bytes"])
    leaf = x509.load_pem_x509_certificates(chain)[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [f"spiffe://cluster.local/ns/{shop}/sa/cart"]
    listing = mesh.kube.exec(
        shop,
        pod["metadata"]["name"],
        ["python", "-c", "import os; print(sorted(os.listdir('/var/run/refmesh')))"],
        container="refmesh-proxy",
    )
    assert "bootstrap.json" in listing.stdout
    assert "key" not in listing.stdout


def test_a_job_ends_and_its_proxy_with_it(mesh, shop):
    mesh.kube.apply(job("once", shop, mesh.image, "print('done')"))

    def ended() -> dict[str, Any]:
        pod: dict[str, Any] = mesh.kube.list("v1", "Pod", shop, "job-name=once")[0]
        assert pod["status"]["phase"] == "Succeeded", pod["status"]
        return pod

    pod = eventually(ended, timeout=60, what="the job's pod ended")
    assert proxy_of(pod) is not None


def test_a_classic_sidecar_is_ready_before_the_application_and_ends_a_job_when_told_to(mesh, shop):
    form = {"sidecar.istio.io/nativeSidecar": "false"}
    echo = echo_deployment("echo", shop, image=mesh.image, annotations=form)
    mesh.kube.apply(strict(shop), *echo, service("echo", shop, {"app": "echo"}))
    (pod,) = mesh.kube.wait_pods_ready(shop, "app=echo", count=1)
    assert [one["name"] for one in pod["spec"]["containers"]] == ["refmesh-proxy", "echo"]
    assert all(one["ready"] for one in pod["status"]["containerStatuses"])
    assert mesh.admin(shop, pod["metadata"]["name"], "/ready") == "LIVE\n"
    code = (
        "from urllib.request import Request, urlopen; urlopen('http://echo:8080/', timeout=5); "
        "urlopen(Request('http://127.0.0.1:15020/quitquitquit', method='POST'), timeout=5)"
    )
    once = job("once", shop, mesh.image, code)
    once["spec"]["template"]["metadata"]["annotations"] = form
    mesh.kube.apply(once)

    def ended() -> bool:
        (pod,) = mesh.kube.list("v1", "Pod", shop, "job-name=once")
        assert pod["status"]["phase"] == "Succeeded", pod["status"]
        return True

    eventually(ended, timeout=60, what="the job's pod ended")


@pytest.mark.parametrize(
    ("namespace_labels", "pod_labels", "injected"),
    [
        (INJECT, {}, True),
        (INJECT, {"sidecar.istio.io/inject": "false"}, False),
        ({}, {}, False),
        ({}, {"sidecar.istio.io/inject": "true"}, True),
    ],
)
def test_labels_decide(mesh, namespace_labels, pod_labels, injected):
    with mesh.kube.namespace(f"refmesh-{uuid.uuid4().hex[:6]}", labels=namespace_labels) as namespace:
        (pod,) = mesh.kube.apply(client_pod("client", namespace, image=mesh.image, labels=pod_labels))
        assert (proxy_of(pod) is not None) is injected


def test_a_pod_on_the_nodes_network_is_left_alone(mesh, shop):
    pod = client_pod("client", shop, image=mesh.image)
    pod["spec"]["hostNetwork"] = True
    (created,) = mesh.kube.apply(pod)
    assert proxy_of(created) is None


def test_the_application_starts_when_the_proxy_is_ready(mesh, shop):
    """The very first request of the application's very first instruction goes through the mesh."""
    mesh.kube.apply(*echo_deployment("echo", shop, image=mesh.image), service("echo", shop, {"app": "echo"}))
    mesh.kube.wait_pods_ready(shop, "app=echo", count=1)
    code = (
        "import urllib.request, json; r = json.load(urllib.request.urlopen('http://echo:8080/', timeout=5)); "
        "assert any('xfcc' in k or k == 'x-forwarded-client-cert' for k in r['headers']), r['headers']"
    )
    mesh.kube.apply(job("early", shop, mesh.image, code))

    def ended() -> bool:
        (pod,) = mesh.kube.list("v1", "Pod", shop, "job-name=early")
        assert pod["status"]["phase"] == "Succeeded", mesh.kube.logs(shop, pod["metadata"]["name"], "work")
        return True

    eventually(ended, timeout=60, what="the first request was answered through the mesh")


def test_a_hook_over_http_reaches_the_application_under_strict(mesh, shop):
    echo = echo_deployment("echo", shop, image=mesh.image)
    container = echo[1]["spec"]["template"]["spec"]["containers"][0]
    header = {"name": "x-meshproof-key", "value": "bye"}
    # The hook is answered after ten seconds, in which the pod goes on: long enough to ask what it has counted.
    request = {"port": "http", "path": "/bye?delay=10s", "httpHeaders": [header]}
    container["lifecycle"] = {"preStop": {"httpGet": request}}
    mesh.kube.apply(strict(shop), *echo)
    (pod,) = mesh.kube.wait_pods_ready(shop, "app=echo", count=1)
    name = pod["metadata"]["name"]
    assert pod["spec"]["containers"][0]["lifecycle"]["preStop"]["httpGet"]["port"] == 15020
    control = Control.of_pod(mesh.kube, shop, name, ECHO_CONTROL)
    assert control.order("GET", "/count?key=bye")["counts"]["bye"] == 0
    mesh.kube.delete("v1", "Pod", name, shop)
    eventually(
        lambda: control.order("GET", "/count?key=bye")["counts"]["bye"] == 1, timeout=60, what="the hook arrived"
    )
    control.close()


def test_only_the_capture_container_is_more_than_restricted(mesh):
    labels = INJECT | {"pod-security.kubernetes.io/enforce": "restricted"}
    with mesh.kube.namespace(f"refmesh-{uuid.uuid4().hex[:6]}", labels=labels) as namespace:
        with pytest.raises(ApiProblem) as refused:
            mesh.kube.apply(client_pod("client", namespace, image=mesh.image))
        assert "refmesh-init" in str(refused.value)
        assert "refmesh-proxy" not in str(refused.value)
        out = {"sidecar.istio.io/inject": "false"}
        mesh.kube.apply(client_pod("client", namespace, image=mesh.image, labels=out))


def served(client: Client, batch: Batch) -> bool:
    return [one.status for one in client.batch(batch)] == [200] * batch.total


def cut_off(client: Client, batch: Batch) -> bool:
    return {one.error for one in client.batch(batch)} <= {"reset", "eof"}


TEMPLATES = """
defaultTemplates: [sidecar, house]
templates:
  house:
    metadata: {labels: {team: net}}
    spec: {containers: [{name: refmesh-proxy, MISTAKE: {limits: {memory: 1Gi}}}]}
"""


def test_where_the_node_captures_restricted_pods_are_in_the_mesh(mesh, tmp_path):
    """Agents come and go with the setting, and nothing of them is left. The servers are strict, in either form.

    Beside it templates: both are matters of the install.
    """
    labels = INJECT | {"pod-security.kubernetes.io/enforce": "restricted"}
    file = tmp_path / "templates.yaml"
    setting = ["--set", "capture=node", "--injector-templates", str(file)]
    file.write_text(TEMPLATES)
    refused = mesh.run("install", "--image", mesh.image, "-y", *setting, code=2)
    assert f"{file}: templates.house: a pod with it is refused" in refused.stderr
    assert 'unknown field "spec.initContainers[1].MISTAKE"' in refused.stderr
    file.write_text(TEMPLATES.replace("MISTAKE", "resources"))
    mesh.install(*setting)
    try:
        findings = json.loads(mesh.run("check", "-o", "json").stdout)
        assert {"name": "node agents", "ok": True, "detail": "ready on 1 nodes"} in findings
        with mesh.kube.namespace(f"refmesh-{uuid.uuid4().hex[:6]}", labels=labels) as namespace:
            form = {"sidecar.istio.io/nativeSidecar": "false"}
            mesh.kube.apply(
                strict(namespace),
                *echo_deployment("echo", namespace, image=mesh.image),
                *echo_deployment("old", namespace, image=mesh.image, annotations=form),
                *(service(name, namespace, {"app": name}) for name in ("echo", "old")),
                client_pod("client", namespace, image=mesh.image),
                client_pod("outside", namespace, image=mesh.image, labels={"sidecar.istio.io/inject": "false"}),
            )
            pods = mesh.kube.wait_pods_ready(namespace, count=4)
            every = [
                one for pod in pods for one in [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]
            ]
            assert not any(one["securityContext"]["capabilities"].get("add") for one in every)
            assert {pod["metadata"]["labels"].get("team") for pod in pods} == {"net", None}
            proxies = [one for one in every if one["name"] == "refmesh-proxy"]
            assert [one["resources"]["limits"] for one in proxies] == [{"memory": "1Gi"}] * 3
            with Client(mesh.kube, namespace, "client") as inside, Client(mesh.kube, namespace, "outside") as outside:
                for name in ("echo", "old"):
                    five = Batch(url=f"http://{name}.{namespace}:8080/", count=5, fresh=True)
                    # Ready pods are behind their service a moment later, by each node's rules and each proxy's list.
                    eventually(partial(served, inside, five), timeout=60, what=f"{name} answers within the mesh")
                    eventually(partial(cut_off, outside, five), timeout=60, what=f"{name} is strict")
    finally:
        mesh.install()
    mesh.kube.wait_gone("v1", "Namespace", "refmesh-node")
    assert mesh.kube.get("rbac.authorization.k8s.io/v1", "ClusterRole", "refmesh-node") is None
