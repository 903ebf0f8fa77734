"""A newcomer's first hour, word for word: the commands of the tutorial, and what the newcomer sees after each."""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fixtures.cluster.embedded.certificates import Authority
from fixtures.cluster.embedded.provider import EmbeddedProvider
from fixtures.cluster.programs import program
from fixtures.images.prometheus import build_prometheus
from fixtures.kube import eventually
from fixtures.workloads import client_pod
from fixtures.workloads.batch import Batch
from fixtures.workloads.traffic import Client
from tests.integration.refmesh.conftest import ROOT, Mesh
from tests.integration.refmesh.outside import fetch, fetch_secure
from tests.integration.refmesh.prometheus import asked

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("refmesh")]
SHOP = "http://productpage.default:9080"
OUTSIDE = "tutorial-outside"
SECURE = "secure-shop"
LOOK = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=5).read().decode())"


@dataclass(frozen=True)
class Shell:
    """A terminal in the clone, with `kubectl` and `refmesh` on the path and KUBECONFIG set."""

    mesh: Mesh

    def __call__(self, line: str) -> str:
        """Type a line; its output. A line that fails fails the test with everything it said."""
        words = shlex.split(line)
        installed = str(Path(sys.executable).with_name("refmesh"))
        programs = {"kubectl": [str(program("kubectl"))], "refmesh": [installed]}
        own = {name: os.environ[name] for name in ("HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME") if name in os.environ}
        done = subprocess.run(
            programs[words[0]] + words[1:],
            cwd=ROOT,
            env=own | {"KUBECONFIG": str(self.mesh.cluster.kubeconfig), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def shell(mesh: Mesh) -> Iterator[Shell]:
    found = Shell(mesh)
    # Whatever step ends the test: the next tests find the cluster as it was.
    try:
        with mesh.kube.namespace(OUTSIDE):
            yield found
    finally:
        for name in (
            "bookinfo-gateway",
            "bookinfo-gateway-istio",
            "bookinfo",
            "strict",
            "reviews-subsets",
            "reviews-v3",
            "details-limits",
            "allow-bookshop",
            "deny-all",
            "ratings-delay",
        ):
            found(f"kubectl delete --ignore-not-found --wait=false -f refmesh/samples/{name}.yaml")
        found("kubectl delete pod visitor --ignore-not-found --wait=false")
        found("kubectl label namespace default istio-injection-")


def served(client: Client, count: int) -> Counter[str]:
    """Which version of reviews made how many pages; anything but an answer of theirs counts under what it was."""
    found = client.batch(Batch(url=f"{SHOP}/api/v1/products/0/reviews", count=count, timeout=10))
    return Counter(str(one.reply["version"]) if one.ok and one.reply else f"{one.error or one.status}" for one in found)


def statuses(client: Client, path: str, **batch: Any) -> Counter[int | None]:
    return Counter(one.status for one in client.batch(Batch(url=f"{SHOP}{path}", timeout=10, **batch)))


def only(client: Client, *versions: str) -> bool:
    """Whether a row of answers comes from these versions and from each of them: a mark of the route in force."""
    return set(served(client, 40)) == set(versions)


def test_the_tutorial(mesh: Mesh, shell: Shell, tmp_path: Path) -> None:
    install_and_deploy(shell)
    with Client(mesh.kube, "default", "visitor") as visitor, Client(mesh.kube, OUTSIDE, "stranger") as stranger:
        the_shop_is_open(shell, visitor)
        address = open_to_the_outside(shell)
        the_classic_pair(shell)
        over_tls(shell, tmp_path)
        mutual_tls(shell, visitor, stranger)
        assert fetch(address, "/productpage").status == 200  # the gateway is inside the mesh
        canary_then_everything(shell, visitor)
        circuit_breaking(shell, mesh, visitor)
        access_control(shell, visitor, address)
        seen_from_outside(shell, mesh, visitor)
        in_prometheus(shell, mesh)
        a_fault_to_find(shell, mesh, visitor)


def install_and_deploy(shell: Shell) -> None:
    """Steps 1 to 4; Prometheus is there from the start, so that step 10 has nothing to wait for."""
    prometheus = build_prometheus()
    EmbeddedProvider().load(shell.mesh.cluster.name, prometheus.path)
    addon = f"--set addons.prometheus=true --set addons.prometheus.image={prometheus.reference}"
    shell("refmesh install --set profile=demo -y")
    shell(f"refmesh install --set profile=demo -y {addon}")
    shell("kubectl label namespace default istio-injection=enabled")
    shell("kubectl apply -f refmesh/samples/bookinfo.yaml")
    image = shell.mesh.image
    shell.mesh.kube.apply(client_pod("visitor", "default", image=image), client_pod("stranger", OUTSIDE, image=image))
    shell.mesh.kube.wait_pods_ready("default", count=7, timeout=300)
    shell.mesh.kube.wait_pods_ready(OUTSIDE, count=1, timeout=120)
    rows = [line.split() for line in shell("kubectl get pods --no-headers").splitlines()]
    assert {(row[1], row[2]) for row in rows} == {("2/2", "Running")}
    assert "sidecar.istio.io/status" in shell("kubectl describe pod -l app=ratings")

    def put_in() -> set[str]:
        """Whose containers were put in: an event of admission there cannot be, because the pod has no name yet."""
        events = shell("kubectl describe pod -l app=ratings").partition("Events:")[2]
        return {name for name in ("refmesh-init", "refmesh-proxy") if name in events}

    eventually(lambda: len(put_in()) == 2, timeout=60, what="the events of both containers are written")


def the_shop_is_open(shell: Shell, visitor: Client) -> None:
    """Step 5, from inside: the page is whole, and all three versions of reviews take turns."""
    eventually(lambda: only(visitor, "v1", "v2", "v3"), timeout=60, what="all versions of reviews answer")

    def whole() -> bool:
        text = shell(f"kubectl exec visitor -c client -- python -c {shlex.quote(LOOK)} {SHOP}/productpage")
        return "Book Details" in text and "Error fetching" not in text

    eventually(whole, timeout=60, what="the page is whole: its proxy knows the details, too")


def open_to_the_outside(shell: Shell) -> str:
    """Step 5, from outside the cluster."""
    shell("kubectl apply -f refmesh/samples/bookinfo-gateway.yaml")
    shell("kubectl wait --for=condition=Programmed gateway/bookinfo-gateway --timeout=60s")
    address = shell("kubectl get gateway bookinfo-gateway -o jsonpath='{.status.addresses[0].value}'")
    every_version_takes_its_turn(address)
    assert fetch(address, "/static/style.css").status == 200
    assert fetch(address, "/health").status == 404  # not among the routes
    return address


def the_classic_pair(shell: Shell) -> None:
    """Step 5 with Istio's Gateway and a VirtualService, at the workload that the demo profile has for them."""
    shell("kubectl apply -f refmesh/samples/bookinfo-gateway-istio.yaml")
    shell("kubectl -n refmesh-system wait --for=condition=Available deploy/istio-ingressgateway --timeout=60s")
    where = "jsonpath='{.status.loadBalancer.ingress[0].ip}'"
    every_version_takes_its_turn(shell(f"kubectl -n refmesh-system get svc istio-ingressgateway -o {where}"))


def every_version_takes_its_turn(address: str) -> None:
    seen: set[str] = set()

    def all_three() -> bool:
        page = fetch(address, "/productpage")
        if page.status == 200:
            seen.update(re.findall(r"reviews served by [^ ]+ \((v\d)\)", page.text))
        return seen == {"v1", "v2", "v3"}

    eventually(all_three, timeout=60, what="the page shows reviews from all three versions in turn")
    # Whoever signs in or out is sent to the page.
    assert fetch(address, "/login", method="POST").status == 302
    assert fetch(address, "/logout").status == 302
    assert "Comedy of Errors" in fetch(address, "/api/v1/products").text
    assert fetch(address, "/api/v1/products/0/reviews").status == 200


def over_tls(shell: Shell, folder: Path) -> None:
    """Step 5 for a shop with a certificate: the gateway ends TLS, under mutual TLS behind it."""
    authority = Authority("somebody's CA")
    authority.issue("shop.example", hosts=["shop.example"]).write(folder, "shop")
    shell(f"kubectl create secret tls {SECURE} --cert={folder}/shop.crt --key={folder}/shop.key")
    shell.mesh.kube.apply(secure_gateway(), secure_route())
    shell(f"kubectl wait --for=condition=Programmed gateway/{SECURE} --timeout=60s")
    address = shell(f"kubectl get gateway {SECURE} -o jsonpath='{{.status.addresses[0].value}}'")
    root = authority.pair.certificate.decode()
    eventually(
        lambda: "Book Details" in fetch_secure(address, "shop.example", "/productpage", root).text,
        timeout=20,
        what="the page comes over TLS with the Secret's certificate",
    )
    assert fetch(address, "/productpage", 443).status == 0  # plaintext is not taken there
    shell(f"kubectl delete gateway/{SECURE} httproute/{SECURE} secret/{SECURE}")
    # What was made for the Gateway goes with it.
    eventually(
        lambda: not shell(f"kubectl get deploy,svc,sa -l gateway.networking.k8s.io/gateway-name={SECURE} -o name"),
        timeout=180,
        what="the gateway's workload is gone",
    )


def secure_gateway() -> dict[str, Any]:
    listener = {
        "name": "web",
        "port": 443,
        "protocol": "HTTPS",
        "hostname": "shop.example",
        "tls": {"certificateRefs": [{"name": SECURE}]},
    }
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": SECURE, "namespace": "default"},
        "spec": {"gatewayClassName": "refmesh", "listeners": [listener]},
    }


def secure_route() -> dict[str, Any]:
    rules = [{"backendRefs": [{"name": "productpage", "port": 9080}]}]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": SECURE, "namespace": "default"},
        "spec": {"parentRefs": [{"name": SECURE}], "rules": rules},
    }


def mutual_tls(shell: Shell, visitor: Client, stranger: Client) -> None:
    """Step 6."""
    assert statuses(stranger, "/productpage") == {200: 1}
    shell("kubectl apply -f refmesh/samples/strict.yaml")

    def refused() -> bool:
        return {one.error for one in stranger.batch(Batch(url=f"{SHOP}/productpage", count=5, fresh=True))} == {"reset"}

    eventually(refused, timeout=60, what="plaintext is answered with a reset")
    assert statuses(visitor, "/productpage", count=20) == {200: 20}


def canary_then_everything(shell: Shell, visitor: Client) -> None:
    """Step 7."""
    shell("kubectl apply -f refmesh/samples/reviews-subsets.yaml")
    shell("kubectl apply -f refmesh/samples/reviews-canary.yaml")
    eventually(lambda: "v3" not in served(visitor, 40), timeout=60, what="the canary's route is in force")
    found = served(visitor, 400)
    assert set(found) == {"v1", "v2"}
    # 40 are to be expected; fewer than 12 or more than 80 come about once in ten million times.
    assert 12 <= found["v2"] <= 80
    shell("kubectl apply -f refmesh/samples/reviews-v3.yaml")
    eventually(lambda: only(visitor, "v3"), timeout=60, what="v3 has taken over")


def circuit_breaking(shell: Shell, mesh: Mesh, visitor: Client) -> None:
    """Step 8: overload is answered at once, and one request at a time goes on."""
    shell("kubectl apply -f refmesh/samples/details-limits.yaml")

    def tripped() -> bool:
        details = Batch(url="http://details.default:9080/details/0", count=200, concurrency=20, timeout=10)
        found = Counter(one.status for one in visitor.batch(details))
        return set(found) == {200, 503}

    eventually(tripped, timeout=60, what="some of too many requests are answered 503")
    calm = visitor.batch(Batch(url="http://details.default:9080/details/0", count=20))
    assert {one.status for one in calm} == {200}
    shell("kubectl delete -f refmesh/samples/details-limits.yaml")
    assert mesh.kube.get("networking.istio.io/v1", "DestinationRule", "details", "default") is None


def access_control(shell: Shell, visitor: Client, address: str) -> None:
    """Step 9: nobody may call anything; then productpage alone may call details and reviews."""
    shell("kubectl apply -f refmesh/samples/deny-all.yaml")
    eventually(lambda: statuses(visitor, "/productpage") == {403: 1}, timeout=60, what="nobody may call anything")
    shell("kubectl apply -f refmesh/samples/allow-bookshop.yaml")
    eventually(lambda: only(visitor, "v3"), timeout=60, what="productpage may call reviews")
    details = "/api/v1/products/0"
    eventually(lambda: statuses(visitor, details, count=10) == {200: 10}, timeout=60, what="it may call details")
    direct = ("http://details.default:9080/details/0", "http://reviews.default:9080/reviews/0")

    def kept_out() -> bool:
        answers = [one for url in direct for one in visitor.batch(Batch(url=url, count=10, timeout=10))]
        return {one.status for one in answers} == {403}

    eventually(kept_out, timeout=60, what="the visitor may call neither")
    eventually(lambda: fetch(address, "/productpage").status == 200, timeout=60, what="the gateway may call it")
    shell("kubectl delete -f refmesh/samples/allow-bookshop.yaml -f refmesh/samples/deny-all.yaml")
    urls = [f"http://{name}.default:9080/" for name in ("details", "reviews", "ratings")]

    def open_again() -> bool:
        answers = [one for url in urls for one in visitor.batch(Batch(url=url, timeout=10))]
        return 403 not in {one.status for one in answers} and statuses(visitor, "/productpage") == {200: 1}

    eventually(open_again, timeout=60, what="everybody may call again")


def traced(mesh: Mesh, visitor: Client, path: str, parts: set[str]) -> str:
    """Ask for a page within a trace of one's own; the dashboard's page of that trace, once all parts are in it.

    A part is what the waterfall says of a span in words, up to its duration.
    """
    trace = secrets.token_hex(16)
    headers = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"}
    (one,) = visitor.batch(Batch(url=f"{SHOP}{path}", headers=headers, timeout=10))
    assert one.status == 200
    with dashboard(mesh) as page:
        # Proxies report every five seconds.
        eventually(
            lambda: all(part in page(f"trace/{trace}") for part in parts), timeout=60, what=f"a trace with {parts}"
        )
        return page(f"trace/{trace}")


@contextmanager
def dashboard(mesh: Mesh) -> Iterator[Callable[[str], str]]:
    """The control plane's pages by their paths; empty where there is none."""
    (pod,) = mesh.kube.list("v1", "Pod", "refmesh-system", selector="app=refmesh")
    with mesh.kube.forward("refmesh-system", pod["metadata"]["name"], 15016) as (_, port):

        def page(path: str) -> str:
            try:
                with urllib.request.urlopen(f"http://localhost:{port}/{path}", timeout=5) as reply:
                    return str(reply.read().decode())
            except urllib.error.HTTPError:
                return ""

        yield page


def on_the_graph(mesh: Mesh, visitor: Client) -> None:
    """Step 10: the service graph has an edge for every call that a page takes, each under mutual TLS."""
    ends = (("visitor", "productpage"), ("productpage", "details"), ("productpage", "reviews"), ("reviews", "ratings"))
    said = [rf"{one}\.default → {other}\.default: [^<]* succeed, [^<]*, mutual TLS" for one, other in ends]
    with dashboard(mesh) as page:

        def drawn() -> bool:
            assert statuses(visitor, "/productpage") == {200: 1}
            graph = page("").partition('<svg class="graph"')[2].partition("</svg>")[0]
            return all(re.search(edge, graph) for edge in said)

        eventually(drawn, timeout=60, what=f"the service graph has {ends}")


def seen_from_outside(shell: Shell, mesh: Mesh, visitor: Client) -> None:
    """Step 10: a trace of one page crosses all services, the graph shows them, and the access log has the page."""
    served_by_both = {
        "visitor.default calls productpage.default: GET /productpage, 200",
        "productpage.default server: GET /productpage, 200",
        "productpage.default calls details.default: GET /details/0, 200",
        "details.default server: GET /details/0, 200",
        "productpage.default calls reviews.default: GET /reviews/0, 200",
        "reviews.default server: GET /reviews/0, 200",
        "reviews.default calls ratings.default: GET /ratings/0, 200",
        "ratings.default server: GET /ratings/0, 200",
    }
    traced(mesh, visitor, "/productpage", served_by_both)
    on_the_graph(mesh, visitor)
    lines = shell("kubectl logs deployment/productpage-v1 -c refmesh-proxy --since=60s").splitlines()
    logged = [json.loads(line) for line in lines if line.startswith("{")]
    assert any(one.get("path") == "/productpage" and one["response_code"] == 200 for one in logged)


def in_prometheus(shell: Shell, mesh: Mesh) -> None:
    """Step 10: Prometheus reads everybody in spite of STRICT mTLS, and has Istio's metrics by Istio's labels."""
    with asked(mesh.kube) as prometheus:

        def all_up() -> bool:
            up = {(labels["namespace"], labels["pod"]): value for labels, value in prometheus("up")}
            pods = [*mesh.kube.list("v1", "Pod", "default"), *mesh.kube.list("v1", "Pod", "refmesh-system")]
            there = {(pod["metadata"]["namespace"], pod["metadata"]["name"]) for pod in pods}
            return up == {key: 1 for key in there if not key[1].startswith("prometheus-")}

        # Seven pods with a sidecar, the gateways of step 5 and the control plane.
        eventually(all_up, timeout=40, what="every pod of the mesh is up, and no other")
        assert {labels["job"] for labels, _ in prometheus("up")} == {"refmesh", "kubernetes-pods"}
        ends = 'source_workload="productpage-v1",destination_service_name="details",destination_workload="details-v1"'
        server = 'reporter="destination",connection_security_policy="mutual_tls"'
        requests = f'istio_requests_total{{{server},{ends},response_code="200"}}'
        ((labels, count),) = eventually(lambda: prometheus(requests), timeout=40, what="requests are counted")
        assert count > 0
        assert (labels["namespace"], labels["app"], labels["version"]) == ("default", "details", "v1")
        assert labels["source_principal"].endswith("/ns/default/sa/bookinfo-productpage")
        assert prometheus("refmesh_connected_proxies")[0][1] > 0
    assert "Prometheus: " in shell("refmesh check")


def a_fault_to_find(shell: Shell, mesh: Mesh, visitor: Client) -> None:
    """Step 11: ratings answer late, and reviews with them; details do not. The trace says where."""
    shell("kubectl apply -f refmesh/samples/ratings-delay.yaml")

    def seconds(path: str) -> float:
        (one,) = visitor.batch(Batch(url=f"{SHOP}/api/v1/products/0{path}", timeout=10))
        return one.seconds

    eventually(lambda: seconds("") < 2.0 < seconds("/reviews"), timeout=60, what="the delay is felt, by reviews alone")
    # Delay injected by the proxy of reviews on its way to ratings; ratings themselves are quick.
    both = {
        "reviews.default calls ratings.default: GET /ratings/0, 200, DI, ",
        "ratings.default server: GET /ratings/0",
    }
    page = traced(mesh, visitor, "/productpage", both)
    assert re.search(r"reviews\.default calls ratings\.default: GET /ratings/0, 200, DI, [2-9]\.\d* s", page)
    assert re.search(r"ratings\.default server: GET /ratings/0, 200, ([0-9.]+ ms|1\.\d* s)", page)
    shell("kubectl delete -f refmesh/samples/ratings-delay.yaml")
    eventually(lambda: seconds("/reviews") < 2.0, timeout=60, what="the delay is gone")
