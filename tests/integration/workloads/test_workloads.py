"""The workloads as plain pods on a real cluster, driven through the API server."""

import contextlib
import http.client
import json
from collections import Counter

import pytest

from fixtures.kube import ApiProblem, ForwardProblem, Kube, NotEventually, eventually
from fixtures.workloads import client_pod, echo_deployment, service
from fixtures.workloads.manifests import ECHO_CONTROL, PORTS, SNIFFER_CONTROL
from fixtures.workloads.traffic import Batch, Client, Control, Record

pytestmark = pytest.mark.cluster

SPACE = "workloads-it"


@pytest.fixture(scope="module")
def kube(cluster):
    kube = Kube.connect(cluster.kubeconfig, cluster.context)
    yield kube
    kube.close()


@pytest.fixture(scope="module")
def space(kube, image):
    """A namespace with two echoes (with sniffers) and a client."""
    with kube.namespace(SPACE, wait=True) as name:
        kube.apply(
            *echo_deployment("echo", name, image=image, sniffer=True, replicas=2),
            service("echo", name, {"app": "echo"}),
            client_pod("client", name, image=image),
        )
        kube.wait_pods_ready(name, count=3)
        with Client(kube, name, "client") as client:
            batch = Batch("http://echo:8080/", count=20, fresh=True, fields=("pod",))
            eventually(
                lambda: len({record.pod for record in client.batch(batch) if record.ok}) == 2,
                timeout=20,
                what="the service leads to both pods",
            )
        yield name


@pytest.fixture
def client(kube, space):
    with Client(kube, space, "client") as made:
        yield made


def echoes(kube, space):
    return sorted(kube.wait_pods_ready(space, "app=echo", count=2), key=lambda pod: pod["metadata"]["name"])


@pytest.mark.parametrize(
    ("protocol", "url"),
    [
        ("http1", "http://echo:8080/"),
        ("h2c", "http://echo:8080/"),
        ("grpc", "grpc://echo:7070"),
        ("tcp", "tcp://echo:9090"),
        ("http1", "https://echo:8443/"),
    ],
)
def test_every_protocol_reaches_every_pod(kube, space, client, protocol, url):
    found = client.batch(Batch(url, protocol=protocol, count=60, concurrency=2, fresh=True))
    assert all(record.ok for record in found), Counter((record.error, record.detail) for record in found)
    pods = echoes(kube, space)
    assert {record.pod for record in found} == {pod["metadata"]["name"] for pod in pods}
    assert {record.reply["ip"] for record in found} == {pod["status"]["podIP"] for pod in pods}
    assert {record.reply["namespace"] for record in found} == {space}


def test_thousands_of_requests_in_one_order(client):
    found = client.batch(Batch("http://echo:8080/", count=5000, concurrency=4, fields=("pod", "version")))
    assert len(found) == 5000
    assert Counter((record.ok, record.version) for record in found) == {(True, "v1"): 5000}


def test_errors_have_their_names(kube, space, client):
    address = echoes(kube, space)[0]["status"]["podIP"]
    (found,) = client.batch(Batch(f"http://{address}:81/"))
    assert found.error == "refused"
    (found,) = client.batch(Batch("http://no-such-service:80/"))
    assert found.error == "dns"


def test_the_sniffer_sees_plaintext_and_tls(kube, space, client):
    pod = echoes(kube, space)[0]
    sniffer = Control.of_pod(kube, space, pod["metadata"]["name"], SNIFFER_CONTROL)
    address, own = pod["status"]["podIP"], kube.get("v1", "Pod", "client", space)["status"]["podIP"]

    def seen(port, scheme):
        sniffer.order("POST", "/start", {"ports": [port], "marker": "look-for-me"})
        assert all(record.ok for record in client.batch(Batch(f"{scheme}://{address}:{port}/look-for-me", count=5)))
        return sniffer.order("POST", "/stop")

    plain = seen(PORTS["http"], "http")
    assert plain["plaintext_hits"] == 10, "five requests and five answers that repeat their path"
    assert plain["tls_records"] == 0
    assert own in plain["peers"]  # the kubelet's probe asks the same port once a second
    assert plain["dropped"] == 0
    encrypted = seen(PORTS["https"], "https")
    assert encrypted["plaintext_hits"] == 0
    assert encrypted["tls_records"] > 10
    sniffer.close()


def test_a_pod_fails_on_demand(kube, space, client):
    pod = echoes(kube, space)[0]["metadata"]["name"]
    control = Control.of_pod(kube, space, pod, ECHO_CONTROL)
    control.order("POST", "/behaviour", {"codes": "503"})
    found = client.batch(Batch("http://echo:8080/", count=60, fresh=True))
    control.order("POST", "/behaviour", {"codes": ""})
    control.close()
    assert {record.pod for record in found if record.status == 503} == {pod}
    others = {one["metadata"]["name"] for one in echoes(kube, space)} - {pod}
    assert {record.pod for record in found if record.status == 200} == others


def test_a_job_runs_while_the_runner_does_other_things(kube, space, client):
    with client.start(Batch("http://echo:8080/", rate=50, duration=30, fields=("pod",))) as job:
        assert kube.exec(space, "client", ["cat", "/proc/1/comm"], timeout=10).stdout == "python\n"
        found: list[Record] = []
        while len(found) < 20:
            found += job.records(len(found))
        assert not job.done
        assert all(record.ok for record in found)


def test_a_rollout_loses_no_request(kube, space, client, image):
    with client.start(
        Batch("http://echo:8080/", rate=50, duration=60, concurrency=4, fresh=True, fields=("pod",))
    ) as job:
        kube.apply(*echo_deployment("echo", space, image=image, sniffer=True, replicas=2, annotations={"again": "1"}))
        kube.wait_rollout(space, "echo")
        found = job.records()
    assert Counter((record.error, record.status) for record in found) == {(None, 200): len(found)}
    assert len({record.pod for record in found}) >= 3


# -- fixtures.kube ----------------------------------------------------------------------------------------------------


def test_commands_in_pods(kube, space):
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    ran = kube.exec(space, "client", ["python", "-c", code])
    assert (ran.stdout, ran.stderr, ran.code) == ("out\n", "err\n", 3)
    assert kube.exec(space, "client", ["python", "-c", "print('x' * 1_000_000)"]).stdout == "x" * 1_000_000 + "\n"
    with pytest.raises(ApiProblem, match="not found"):
        kube.exec(space, "client", ["no-such-program"])
    with pytest.raises(ApiProblem, match='pods "nobody" not found'):
        kube.exec(space, "nobody", ["true"])
    with pytest.raises(ApiProblem, match="did not end within"):
        kube.exec(space, "client", ["python", "-c", "import time; time.sleep(60)"], timeout=5)


def test_a_local_port_carries_many_connections(kube, space):
    pod = echoes(kube, space)[0]["metadata"]["name"]
    with kube.forward(space, pod, PORTS["http"]) as (host, port):
        connections = [http.client.HTTPConnection(host, port, timeout=5) for _ in range(4)]
        for _ in range(3):
            for connection in connections:
                connection.request("GET", "/?size=300000")
            for connection in connections:
                assert json.loads(connection.getresponse().read())["pod"] == pod
        for connection in connections:
            connection.close()


def test_forwards_that_lead_nowhere(kube, space):
    with pytest.raises(ForwardProblem, match='pods "nobody" not found'):
        kube.dial(space, "nobody", 80)
    control = Control.of_pod(kube, space, "client", 81)
    with pytest.raises(ForwardProblem, match="refused"):
        control.order("GET", "/")


def problem_of(job):
    try:
        job.records()
    except ForwardProblem as problem:
        return problem.problem
    return ""


def test_a_pod_that_dies_under_a_forward(kube, space, image):
    kube.apply(client_pod("victim", space, image=image))
    kube.wait_pods_ready(space, "app=victim", count=1)
    with Client(kube, space, "victim") as victim:
        job = victim.start(Batch("http://echo:8080/", rate=1, duration=60))
        kube.delete("v1", "Pod", "victim", space, grace=0, wait=True)
        # The object is gone at once, the process a moment later.
        broken = eventually(lambda: problem_of(job), timeout=60, what="the forward breaks with its pod")
        assert f"{SPACE}/victim" in broken
        assert "\n" not in broken


def test_apply_waits_for_new_kinds(kube, space):
    group = "workloads.meshproof.test"
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"lamps.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "lamps", "singular": "lamp", "kind": "Lamp"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {
                                "spec": {"type": "object", "properties": {"watts": {"type": "integer"}}},
                            },
                        }
                    },
                }
            ],
        },
    }
    lamp = {"apiVersion": f"{group}/v1", "kind": "Lamp", "metadata": {"name": "desk"}, "spec": {"watts": 5}}
    assert kube.list(f"{group}/v1", "Lamp") == []
    with contextlib.ExitStack() as undo:
        undo.callback(kube.delete, "apiextensions.k8s.io/v1", "CustomResourceDefinition", f"lamps.{group}", wait=True)
        kube.apply(definition, lamp, namespace=space)
        assert kube.get(f"{group}/v1", "Lamp", "desk", space)["spec"] == {"watts": 5}
        assert kube.patch(f"{group}/v1", "Lamp", "desk", {"spec": {"watts": 7}}, space)["spec"] == {"watts": 7}
        with pytest.raises(ApiProblem) as caught:
            kube.apply({**lamp, "spec": {"watts": "many"}}, namespace=space)
        assert "watts" in caught.value.message
        assert [item["metadata"]["name"] for item in kube.list(f"{group}/v1", "Lamp", space)] == ["desk"]
        assert kube.delete(f"{group}/v1", "Lamp", "desk", space, wait=True)
        assert not kube.delete(f"{group}/v1", "Lamp", "desk", space)


def test_a_pod_that_cannot_start_is_explained(kube, space):
    kube.apply(client_pod("stuck", space, image="no-such-registry.invalid/none:1"))

    def in_vain() -> bool:
        (pod,) = kube.list("v1", "Pod", space, "app=stuck")
        waiting = pod["status"]["containerStatuses"][0]["state"]["waiting"]
        return waiting["reason"] in {"ErrImagePull", "ImagePullBackOff"}

    eventually(in_vain, timeout=90, what="the image was asked for")
    with pytest.raises(NotEventually, match=r"stuck: container client (ErrImagePull|ImagePullBackOff)"):
        kube.wait_pods_ready(space, "app=stuck", count=1, timeout=1)
    kube.delete("v1", "Pod", "stuck", space, grace=0)
