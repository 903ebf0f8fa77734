from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from conformance.adapters import load
from conformance.dressing import Dressed, Dressing, pull_secrets
from conformance.limits import LIMITS, Limits, limit
from conformance.settings import RunSettings, read_settings
from fixtures.kube import Kube
from fixtures.kube.rest import Kind
from fixtures.workloads.manifests import client_pod, echo_deployment, knock_job, service
from reports.errors import EnvironmentProblem, UsageProblem

FILE = """
image: registry.example.com/meshproof:1
pull-secrets: [ci/registry]
pods:
  labels: {team: net}
  tolerations: [{key: dedicated, operator: Exists}]
  node-selector: {kubernetes.io/arch: amd64}
namespaces:
  labels: {example.com/tier: test}
timeouts: {in-force: 20}
mesh: {trust-domain: example.org}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "meshproof.yaml"
    path.write_text(FILE)
    return path


def test_a_file_says_everything(file):
    found = read_settings(file, [])
    assert found.image == "registry.example.com/meshproof:1"
    assert found.pull_secrets == (("ci", "registry"),)
    assert found.pods.labels == {"team": "net"}
    assert found.namespaces.labels == {"example.com/tier": "test"}
    assert found.limits == Limits(in_force=20)
    assert found.mesh == {"trust-domain": "example.org"}


def test_the_command_line_wins_and_its_other_keys_are_the_meshs(file):
    found = read_settings(
        file,
        [
            "trust-domain=example.net",
            "control-plane=ns/name",
            "image=other",
            "pods.labels.example.com/team=mesh",
            "timeouts.request=5",
            "pods.node-selector.example.com/pool=ci",
            "pull-secrets=[a/b, c/d]",
        ],
    )
    assert found.mesh == {"trust-domain": "example.net", "control-plane": "ns/name"}
    assert found.image == "other"
    assert found.pods.labels == {"team": "net", "example.com/team": "mesh"}
    assert found.pods.node_selector == {"kubernetes.io/arch": "amd64", "example.com/pool": "ci"}
    assert found.limits == Limits(in_force=20, request=5)
    assert found.cluster_domain == "cluster.local"
    assert found.pull_secrets == (("a", "b"), ("c", "d"))


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("trust-domain", "--set trust-domain is no key=value"),
        ("=x", "--set =x is no key=value"),
        ("timeouts.in-force=never", "timeouts.in-force: give a number, as in 30"),
        ("timeouts.in-force=0", "timeouts.in-force: it should be greater than 0"),
        ("timeouts.in-force=inf", "timeouts.in-force: it should be less than or equal to 3600"),
        ("timeouts.ground-ready=3601", "timeouts.ground-ready: it should be less than or equal to 3600"),
        ("timeouts.request=400", "timeouts: request: no request of ours waits longer than 300 seconds"),
        ("timeouts.probe=301", "timeouts: probe: no request of ours waits longer than 300 seconds"),
        ("timeouts.inforce=3", "timeouts: there is no inforce; known: control, ground-ready, in-force"),
        ("cluster-domain=Cluster Local", "cluster-domain: 'Cluster Local' is no domain: give it as in cluster.local"),
        ("cluster-domain=.local", "cluster-domain: '.local' is no domain"),
        ("pods.label.team=x", "there is no setting pods.label"),
        ("pods.labels.app=x", "pods.labels: app is meshproof's own"),
        ("pods.tolerations=[1]", "pods.tolerations.0: give a mapping, as in {key: value}"),
        ("pods.tolerations={}", "pods.tolerations: give a list, as in [one, other]"),
        ("pods=[]", "pods: give a mapping, as in {key: value}"),
        ("pull-secrets=[regcred]", "pull-secrets.0: give it as namespace/name"),
        ("pull-secrets=[", "is not valid YAML"),
        ("image.name=x", "image: give text (in quotes)"),
    ],
)
def test_a_wrong_assignment_is_one_sentence(assignment, said):
    with pytest.raises(UsageProblem) as caught:
        read_settings(None, [assignment])
    assert said in caught.value.problem
    assert "\n" not in caught.value.problem


@pytest.mark.parametrize(("text", "said"), [("- a", "holds no mapping"), ("a: [", "is not valid YAML")])
def test_a_wrong_file_is_one_sentence(tmp_path, text, said):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(UsageProblem, match=said):
        read_settings(path, [])


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageProblem, match="cannot be read"):
        read_settings(tmp_path / "none.yaml", [])


def test_a_wrong_value_is_told_with_its_field_and_its_file(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("pods: {labels: 5}")
    with pytest.raises(UsageProblem, match=r"settings of the run in .*x\.yaml: pods\.labels: "):
        read_settings(path, [])


def test_a_step_that_is_no_mapping(file):
    file.write_text("pods: 3")
    with pytest.raises(UsageProblem, match="pods is no mapping in the file"):
        read_settings(file, ["pods.labels.a=b"])


def test_every_limit_can_be_changed_for_a_process():
    before = Limits(**vars(LIMITS))
    wanted = Limits(**{one.name: 7.5 for one in fields(Limits)})
    try:
        limit(wanted)
        assert wanted == LIMITS
    finally:
        limit(before)


# -- dressing ----------------------------------------------------------------------------------------------------------

FULL = Dressing(
    labels={"team": "net", "version": "never"},
    annotations={"note": "x"},
    tolerations=({"key": "dedicated", "operator": "Exists"},),
    pull_secrets=("registry",),
    node_selector={"kubernetes.io/arch": "amd64", "kubernetes.io/os": "any"},
)


def test_pods_are_dressed_wherever_they_are_written():
    pod = FULL.on(client_pod("client", "ns", image="i"))
    deployment = next(
        FULL.on(one) for one in echo_deployment("echo", "ns", image="i", version="v2") if one["kind"] == "Deployment"
    )
    for found in (pod, deployment["spec"]["template"]):
        assert found["metadata"]["labels"]["team"] == "net"
        assert found["metadata"]["annotations"] == {"note": "x"}
        assert found["spec"]["tolerations"] == [{"key": "dedicated", "operator": "Exists"}]
        assert found["spec"]["imagePullSecrets"] == [{"name": "registry"}]
        assert found["spec"]["nodeSelector"] == {"kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux"}
    assert deployment["spec"]["template"]["metadata"]["labels"]["version"] == "v2"


def test_what_has_no_pods_and_what_nobody_asked_for_stay_the_same():
    plain = service("s", "ns", {"app": "s"})
    assert FULL.on(plain) is plain
    pod = client_pod("client", "ns", image="i")
    assert Dressing().on(pod) is pod
    assert Dressing.of(RunSettings(), load("refmesh")) == Dressing()


def test_a_meshs_proxies_that_show_their_pods_token_find_one():
    for pod in (client_pod("client", "ns", image="i"), knock_job("knock", "ns", image="i", url="u")):
        for mesh, mounted in (("kuma", True), ("consul", True), ("linkerd", False), ("refmesh", False)):
            dressed = Dressing.of(RunSettings(), load(mesh)).on(pod)
            assert ("automountServiceAccountToken" not in str(dressed)) is mounted


def test_the_original_is_not_changed():
    pod = client_pod("client", "ns", image="i")
    FULL.on(pod)
    assert "team" not in pod["metadata"]["labels"]


class Secrets:
    def __init__(self, kind: str) -> None:
        self.kind = kind

    def get(self, *where: str):
        assert where == ("v1", "Secret", "registry", "ci")
        return (
            {"type": self.kind, "data": {".dockerconfigjson": "e30="}, "metadata": {"uid": "1"}} if self.kind else None
        )


def test_pull_secrets_are_copied_without_their_history():
    (found,) = pull_secrets(Secrets("kubernetes.io/dockerconfigjson"), [("ci", "registry")])  # type: ignore[arg-type]
    assert found["metadata"] == {"name": "registry"}
    assert found["data"] == {".dockerconfigjson": "e30="}


def test_a_secret_of_another_kind_is_not_spread():
    with pytest.raises(UsageProblem, match="of type Opaque"):
        pull_secrets(Secrets("Opaque"), [("ci", "registry")])  # type: ignore[arg-type]
    with pytest.raises(EnvironmentProblem, match="no Secret ci/registry"):
        pull_secrets(Secrets(""), [("ci", "registry")])  # type: ignore[arg-type]


class Api:
    """Answers as an API server with one secret, and keeps what is applied."""

    def __init__(self):
        self.applied = []

    def kind(self, version, kind):
        return Kind(version, kind, f"{kind.lower()}s", namespaced=kind != "Namespace")

    def call(self, method, path, body=None, **_):
        if method == "PATCH":
            self.applied.append((path, body))
            return body
        if path.endswith("/secrets/registry"):
            return {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "e30="}}
        return {"metadata": {}, "items": [{"metadata": {"name": "default", "namespace": "space"}}]}


def test_experiments_and_measurements_come_dressed_as_checks_do(file):
    api: Any = Api()
    kube = Dressed(Kube(api), read_settings(file, []), load("refmesh"))
    kube.create_namespace("space", {"mesh": "on"})
    kube.apply(client_pod("client", "space", image="i"))
    (_, namespace), (where, secret), (_, pod) = api.applied
    assert namespace["metadata"]["labels"].items() >= {"mesh": "on", "example.com/tier": "test"}.items()
    assert (where, secret["kind"]) == ("/api/v1/namespaces/space/secrets/registry", "Secret")
    assert pod["metadata"]["labels"]["team"] == "net"
    assert pod["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["spec"]["nodeSelector"] == {"kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux"}
    assert pod["spec"]["tolerations"] == [{"key": "dedicated", "operator": "Exists"}]
