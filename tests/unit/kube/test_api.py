"""`Kube` against a small HTTP server that answers like an API server, also in the ways a real one rarely does."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from fixtures.kube import ApiProblem, ForwardProblem, Kube, NotEventually
from reports.errors import EnvironmentProblem, UsageProblem

RESOURCES = [
    {"name": "pods", "kind": "Pod", "namespaced": True},
    {"name": "pods/log", "kind": "Pod", "namespaced": True},
    {"name": "namespaces", "kind": "Namespace", "namespaced": False},
    {"name": "events", "kind": "Event", "namespaced": True},
    {"name": "serviceaccounts", "kind": "ServiceAccount", "namespaced": True},
]


class Server:
    """`answers` maps "METHOD path" to (status, object), or to a list of those that are given one after the other.

    `watches` are lists of events, one a connection.
    """

    def __init__(self):
        self.answers = {
            "GET /version": (200, {"gitVersion": "v1.99.0"}),
            "GET /api/v1": (200, {"resources": RESOURCES}),
        }
        self.watches = []
        self.seen = []


@contextmanager
def running(server, tmp_path):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def respond(self):
            path, _, query = self.path.partition("?")
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            server.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            if "watch=1" in query:
                events = server.watches.pop(0) if server.watches else []
                data = b"".join(json.dumps(event).encode() + b"\n" for event in events)
                self.send_response(200)
                self.send_header("connection", "close")
                self.end_headers()
                self.wfile.write(data)
                self.close_connection = True
                return
            found = server.answers.get(f"{self.command} {path}", (404, {"reason": "NotFound"}))
            status, answer = found.pop(0) if isinstance(found, list) else found
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PATCH = do_DELETE = do_POST = respond  # noqa: N815 - names of http.server

        def log_message(self, *_):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    path = tmp_path / "kubeconfig"
    path.write_text(
        yaml.safe_dump(
            {
                "current-context": "here",
                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{http.server_port}"}}],
                "users": [{"name": "u", "user": {"token": "secret-token"}}],
                "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
            }
        )
    )
    kube = Kube.connect(path)
    try:
        yield kube
    finally:
        kube.close()
        http.shutdown()
        http.server_close()
        thread.join()


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def kube(server, tmp_path):
    with running(server, tmp_path) as kube:
        yield kube


def pod(name, ready, **meta):
    return {
        "metadata": {"name": name, "namespace": "ns", **meta},
        "status": {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }


def listing(*items):
    return 200, {"metadata": {"resourceVersion": "7"}, "items": list(items)}


def test_the_version_and_the_credentials(server, kube):
    assert kube.version == "v1.99.0"
    assert server.seen[0][2]["authorization"] == "Bearer secret-token"


def test_kinds_are_discovered_once(server, kube):
    server.answers["GET /api/v1/pods"] = listing()
    kube.list("v1", "Pod")
    kube.list("v1", "Pod")
    assert [path for _, path, *_ in server.seen].count("/api/v1") == 1


def test_an_unknown_kind(kube):
    assert kube.list("example.org/v1", "Lamp") == []
    with pytest.raises(ApiProblem, match=r"does not know the kind Lamp of example\.org/v1") as caught:
        kube.apply({"apiVersion": "example.org/v1", "kind": "Lamp", "metadata": {"name": "x"}})
    assert caught.value.status == 404


def test_apply_is_server_side_and_knows_where_objects_go(server, kube):
    server.answers["PATCH /api/v1/namespaces/ns/pods/a"] = (200, {"done": 1})
    server.answers["PATCH /api/v1/namespaces/other/pods/b"] = (200, {"done": 2})
    server.answers["PATCH /api/v1/namespaces/x"] = (200, {"done": 3})
    text = """
apiVersion: v1
kind: Pod
metadata: {name: a}
---
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Pod, metadata: {name: b, namespace: other}}
- {apiVersion: v1, kind: Namespace, metadata: {name: x}}
"""
    assert kube.apply_yaml(text, namespace="ns") == [{"done": 1}, {"done": 2}, {"done": 3}]
    method, path, headers, body = next(one for one in server.seen if "/pods/a" in one[1])
    assert method == "PATCH"
    assert path.endswith("?fieldManager=meshproof&force=true")
    assert headers["content-type"] == "application/apply-patch+yaml"
    assert json.loads(body)["metadata"] == {"name": "a"}


@pytest.mark.parametrize("text", ["{", "just words", "- a\n- b", "kind: Pod"])
def test_a_manifest_that_is_none(kube, text):
    with pytest.raises(UsageProblem, match="the manifest"):
        kube.apply_yaml(text)


def test_what_is_there_already_is_not_created_again(server, kube):
    path = "POST /api/v1/namespaces/x/pods"
    server.answers[path] = [(201, {"metadata": {"name": "p"}}), (409, {"reason": "AlreadyExists"})]
    item = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "x"}}
    assert kube.create(item) == {"metadata": {"name": "p"}}
    assert json.loads(server.seen[-1][3]) == item
    with pytest.raises(ApiProblem) as refused:
        kube.create(item)
    assert refused.value.status == 409


def test_a_webhooks_refusal_keeps_its_words(server, kube):
    said = 'admission webhook "x" denied the request: spec.weight: must add up to 100'
    server.answers["PATCH /api/v1/namespaces/default/pods/a"] = (400, {"reason": "BadRequest", "message": said})
    with pytest.raises(ApiProblem) as caught:
        kube.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}})
    assert (caught.value.status, caught.value.message) == (400, said)


def test_what_is_not_there(server, kube):
    assert kube.get("v1", "Pod", "a", "ns") is None
    assert kube.delete("v1", "Pod", "a", "ns") is False
    server.answers["GET /api/v1/namespaces/ns/pods/a"] = (500, {"message": "boom"})
    with pytest.raises(ApiProblem, match="500 error to GET /api/v1/namespaces/ns/pods/a: boom"):
        kube.get("v1", "Pod", "a", "ns")


def test_the_last_lines_of_a_log_that_ended(server, kube):
    server.answers["GET /api/v1/namespaces/ns/pods/web/log"] = 200, "lines"
    kube.logs("ns", "web", "app")
    kube.logs("ns", "web", "app", previous=True, tail=500)
    assert [path.partition("?")[2] for _, path, _, _ in server.seen[-2:]] == [
        "container=app",
        "container=app&tailLines=500&previous=true",
    ]


def test_deleting_a_namespace_ends_its_pods_soon(server, kube):
    server.answers["DELETE /api/v1/namespaces/ns"] = (200, {})
    server.answers["DELETE /api/v1/namespaces/ns/pods"] = (200, {})
    assert kube.delete("v1", "Namespace", "ns")
    assert json.loads(server.seen[-1][3]) == {"gracePeriodSeconds": 1}


def test_readiness_comes_by_watch(server, kube):
    server.answers["GET /api/v1/namespaces/ns/pods"] = listing(pod("a", False), pod("old", True, deletionTimestamp="t"))
    server.watches = [
        [
            {"type": "MODIFIED", "object": pod("a", True)},
            {"type": "BOOKMARK", "object": {"metadata": {"name": ""}}},
            {"type": "DELETED", "object": pod("old", True, deletionTimestamp="t")},
            {"type": "ADDED", "object": pod("b", True)},
        ]
    ]
    found = kube.wait_pods_ready("ns", {"app": "x"}, count=2, timeout=5)
    assert sorted(item["metadata"]["name"] for item in found) == ["a", "b"]
    watch = next(path for _, path, *_ in server.seen if "watch=1" in path)
    assert "labelSelector=app%3Dx" in watch
    assert "resourceVersion=7" in watch


def test_a_new_kind_is_waited_for_until_discovery_knows_it(server, kube):
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "lamps.example.org"},
        "spec": {
            "group": "example.org",
            "names": {"kind": "Lamp"},
            "versions": [{"name": "v1", "served": True}, {"name": "v0", "served": False}],
        },
    }
    established = definition | {"status": {"conditions": [{"type": "Established", "status": "True"}]}}
    resources = [{"name": "customresourcedefinitions", "kind": "CustomResourceDefinition", "namespaced": False}]
    lamps = [{"name": "lamps", "kind": "Lamp", "namespaced": True}]
    path = "/apis/apiextensions.k8s.io/v1"
    server.answers |= {
        f"GET {path}": (200, {"resources": resources}),
        f"GET {path}/customresourcedefinitions": listing(definition),
        f"PATCH {path}/customresourcedefinitions/lamps.example.org": (200, definition),
        "GET /apis/example.org/v1": [(404, {}), (200, {"resources": []}), (200, {"resources": lamps})],
        "PATCH /apis/example.org/v1/namespaces/ns/lamps/desk": (200, {}),
    }
    server.watches = [[{"type": "MODIFIED", "object": established}]]
    kube.apply(
        definition, {"apiVersion": "example.org/v1", "kind": "Lamp", "metadata": {"name": "desk"}}, namespace="ns"
    )
    assert server.answers["GET /apis/example.org/v1"] == []


def test_a_watch_that_breaks_is_taken_up_again(server, kube):
    server.answers["GET /api/v1/namespaces/ns/pods"] = listing(pod("a", False))
    server.watches = [
        [],
        [{"type": "ERROR", "object": {"code": 410}}],
        [{"type": "MODIFIED", "object": pod("a", True)}],
    ]
    assert len(kube.wait_pods_ready("ns", count=1, timeout=5)) == 1


def test_pods_that_never_get_ready_are_explained(server, kube):
    stuck = pod("a", False)
    stuck["status"]["containerStatuses"] = [{"name": "c", "state": {"waiting": {"reason": "ErrImagePull"}}}]
    server.answers["GET /api/v1/namespaces/ns/pods"] = listing(stuck)
    event = {"involvedObject": {"name": "a"}, "reason": "Failed", "message": "no such image"}
    server.answers["GET /api/v1/namespaces/ns/events"] = listing(event)
    with pytest.raises(NotEventually) as caught:
        kube.wait_pods_ready("ns", count=1, timeout=0.2)
    assert "a: container c ErrImagePull" in str(caught.value)
    assert "a: Failed no such image" in str(caught.value)


def test_a_server_that_does_not_speak_websocket(kube):
    with pytest.raises(ForwardProblem, match="cannot forward to ns/a:80"):
        kube.dial("ns", "a", 80)
    with pytest.raises(ForwardProblem, match="cannot forward"):
        kube.forward("ns", "a", 80)
    with pytest.raises(ApiProblem, match="exec"):
        kube.exec("ns", "a", ["true"])


def test_a_server_that_goes_away(server, tmp_path):
    with running(server, tmp_path) as kube:
        pass
    with pytest.raises(EnvironmentProblem, match="connection refused"):
        kube.get("v1", "Pod", "a", "ns")
