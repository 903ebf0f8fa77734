import json

import pytest

from fixtures.workloads import client_pod, echo_deployment, service
from fixtures.workloads.manifests import PORTS


def test_two_deployments_can_serve_one_app():
    _, first = echo_deployment("shop-v1", "ns", image="i", version="v1", labels={"app": "shop"})
    _, second = echo_deployment("shop-v2", "ns", image="i", version="v2", labels={"app": "shop"})
    labels = [one["spec"]["template"]["metadata"]["labels"] for one in (first, second)]
    assert [one["app"] for one in labels] == ["shop", "shop"]
    assert [one["version"] for one in labels] == ["v1", "v2"]
    assert first["spec"]["selector"] != second["spec"]["selector"]
    for one in (first, second):
        chosen = one["spec"]["selector"]["matchLabels"]
        assert chosen.items() <= one["spec"]["template"]["metadata"]["labels"].items()


def test_an_echo():
    account, deployment = echo_deployment(
        "echo", "ns", image="img", replicas=3, annotations={"a": "b"}, env={"X": "1"}, service_account="other"
    )
    assert account["metadata"] == {"name": "other", "namespace": "ns"}
    spec = deployment["spec"]["template"]["spec"]
    assert spec["serviceAccountName"] == "other"
    assert deployment["spec"]["replicas"] == 3
    assert deployment["spec"]["template"]["metadata"]["annotations"] == {"a": "b"}
    (container,) = spec["containers"]
    assert container["name"] == "echo"
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert {"name": "X", "value": "1"} in container["env"]
    assert {"name": "ECHO_VERSION", "value": "v1"} in container["env"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": 8080}
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["runAsNonRoot"] is True


def test_only_the_sniffer_may_capture():
    _, deployment = echo_deployment("echo", "ns", image="img", sniffer=True, probes=False)
    echo, sniffer = deployment["spec"]["template"]["spec"]["containers"]
    assert "add" not in echo["securityContext"]["capabilities"]
    assert "readinessProbe" not in echo
    assert sniffer["name"] == "sniffer"
    assert sniffer["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_RAW"]}


def test_a_client():
    pod = client_pod("client", "ns", image="img", labels={"x": "y"}, annotations={"a": "b"}, service_account="sa")
    assert pod["kind"] == "Pod"
    assert pod["metadata"]["labels"]["app"] == "client"
    assert pod["metadata"]["labels"]["x"] == "y"
    assert pod["spec"]["serviceAccountName"] == "sa"
    assert "serviceAccountName" not in client_pod("client", "ns", image="img")["spec"]


@pytest.mark.parametrize("ports", [{"http": 80, "tcp-raw": 81}, [("http", 80), ("tcp-raw", 81)]])
def test_a_service(ports):
    made = service("s", "ns", {"app": "a"}, ports)
    assert made["spec"]["selector"] == {"app": "a"}
    assert [(p["name"], p["port"], p["targetPort"], p["appProtocol"]) for p in made["spec"]["ports"]] == [
        ("http", 80, 80, "http"),
        ("tcp-raw", 81, 81, "tcp"),
    ]


def test_a_mesh_may_have_its_own_words_for_protocols():
    made = service("s", "ns", {}, {"http": 80, "grpc-x": 81, "tcp": 82}, app_protocols={"http": "", "grpc": "h2c"})
    assert [one.get("appProtocol") for one in made["spec"]["ports"]] == [None, "h2c", "tcp"]


def test_a_service_of_all_ports_and_manifests_share_nothing():
    assert {p["name"]: p["port"] for p in service("s", "ns", {})["spec"]["ports"]} == PORTS
    first = echo_deployment("a", "ns", image="i")
    before = json.dumps(first)
    first[1]["spec"]["template"]["spec"]["containers"][0]["securityContext"]["runAsUser"] = 7
    assert json.dumps(echo_deployment("a", "ns", image="i")) == before
