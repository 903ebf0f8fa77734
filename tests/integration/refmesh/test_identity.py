"""The CA as a client in the cluster meets it, sound and with defects."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import grpc
import pytest
from cryptography import x509

from fixtures.workloads import client_pod
from refmesh.ca.messages import METHOD, CertificateRequest, CertificateResponse
from tests.integration.refmesh.conftest import Mesh
from tests.unit.refmesh_ca.helpers import csr

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("refmesh")]
FOREIGN = "spiffe://cluster.local/ns/bank/sa/vault"


@pytest.fixture
def namespace(mesh: Mesh) -> Iterator[str]:
    with mesh.kube.namespace(f"refmesh-{uuid.uuid4().hex[:6]}", labels={"istio-injection": "enabled"}) as name:
        yield name


def token(mesh: Mesh, namespace: str, audience: str = "istio-ca") -> str:
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": [audience]}}
    return str(mesh.kube.api.call("POST", path, body=body)["status"]["token"])


def ask(mesh: Mesh, bearer: str) -> list[str]:
    """Ask the CA for a certificate with a foreign name in the request; return the names in the certificate."""
    (pod,) = mesh.kube.wait_pods_ready("refmesh-system", "app=refmesh", count=1)
    roots = mesh.kube.get("v1", "ConfigMap", "refmesh-ca-root-cert", "refmesh-system")
    assert roots is not None
    credentials = grpc.ssl_channel_credentials(roots["data"]["root-cert.pem"].encode())
    options = (("grpc.ssl_target_name_override", "refmesh.refmesh-system.svc"),)
    with mesh.kube.forward("refmesh-system", pod["metadata"]["name"], 15012) as (host, port):
        with grpc.secure_channel(f"{host}:{port}", credentials, options=options) as channel:
            call = channel.unary_unary(METHOD, None, None)
            request = CertificateRequest(csr(uri=FOREIGN), 600).encode()
            reply = call(request, metadata=(("authorization", f"Bearer {bearer}"),), timeout=10)
    leaf = x509.load_pem_x509_certificate(CertificateResponse.decode(reply).chain[0].encode())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return list(names.get_values_for_type(x509.UniformResourceIdentifier))


def test_the_name_is_the_tokens_whatever_the_request_says(mesh, namespace):
    assert ask(mesh, token(mesh, namespace)) == [f"spiffe://cluster.local/ns/{namespace}/sa/default"]


def test_a_token_for_another_audience_is_refused(mesh, namespace):
    with pytest.raises(grpc.RpcError) as caught:
        ask(mesh, token(mesh, namespace, "https://kubernetes.default.svc"))
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_the_defects_of_identity_and_injection_can_be_seen_and_go_away_again(mesh, namespace):
    try:
        mesh.install("--defect", "san-from-csr")
        assert ask(mesh, token(mesh, namespace)) == [FOREIGN]
        mesh.install("--defect", "opt-out-ignored")
        assert injected(mesh, namespace, "wrong")
    finally:
        mesh.install()
    assert not injected(mesh, namespace, "right")
    assert ask(mesh, token(mesh, namespace)) == [f"spiffe://cluster.local/ns/{namespace}/sa/default"]


def injected(mesh: Mesh, namespace: str, name: str) -> bool:
    labels = {"sidecar.istio.io/inject": "false"}
    (pod,) = mesh.kube.apply(client_pod(name, namespace, image=mesh.image, labels=labels))
    return bool(pod["spec"].get("initContainers"))
