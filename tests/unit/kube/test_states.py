"""Pure parts: refusals, exec statuses, and what pods and deployments say of themselves."""

import json

import pytest

from fixtures.kube import ApiProblem
from fixtures.kube.errors import refusal
from fixtures.kube.rest import Kind, selector_query
from fixtures.kube.stream import exit_code
from fixtures.kube.timeouts import Timeouts
from fixtures.kube.waits import is_ready, pod_state, rolled_out


def test_paths_of_objects():
    pods = Kind("v1", "Pod", "pods", True)
    routes = Kind("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes", True)
    nodes = Kind("v1", "Node", "nodes", False)
    assert pods.path("web", "shop") == "/api/v1/namespaces/shop/pods/web"
    assert pods.path() == "/api/v1/pods"
    assert routes.path(namespace="shop") == "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes"
    assert nodes.path("n1", "shop") == "/api/v1/nodes/n1"
    assert pods.path("../../secrets", "a/b") == "/api/v1/namespaces/a%2Fb/pods/..%2F..%2Fsecrets"


def test_selectors():
    assert selector_query("") == []
    assert selector_query({"app": "a", "version": "v1"}) == [("labelSelector", "app=a,version=v1")]


def test_a_refusal_keeps_the_servers_words():
    body = json.dumps({"kind": "Status", "reason": "Invalid", "message": "spec.x: too long"}).encode()
    problem = refusal("PATCH", "/api/v1/pods/x", 422, body)
    assert (problem.status, problem.reason, problem.message) == (422, "Invalid", "spec.x: too long")
    assert "422 Invalid" in str(problem)


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"[]", b"plain text", b'{"reason": null}'])
def test_a_refusal_in_any_other_form(body):
    assert refusal("GET", "/x", 503, body).status == 503


RBAC = (
    'routes.x.io "a" is forbidden: User "system:serviceaccount:ci:runner" cannot patch resource "routes" in API group'
)


@pytest.mark.parametrize(
    ("code", "message", "denied", "without_rights"),
    [
        (403, RBAC, False, True),
        (401, "Unauthorized", False, True),
        (403, 'admission webhook "x" denied the request: forbidden: spec.weight', True, False),
        (403, 'routes.x.io "a" is forbidden: exceeded quota: q, requested: count/routes.x.io=1', False, False),
        (
            403,
            'routes.x.io "a" is forbidden: unable to create new content in namespace b because it is being terminated',
            False,
            False,
        ),
        (
            422,
            "routes.x.io \"a\" is forbidden: ValidatingAdmissionPolicy 'team' with binding 'all' denied request: no",
            False,
            False,
        ),
        (403, 'admission webhook "validation.gatekeeper.sh" denied the request: [team] missing', False, False),
        (400, 'admission webhook "validate.kyverno.svc-fail" denied the request: team', False, False),
        (422, 'Route "a" is invalid: spec.x: User "b" cannot be named', True, False),
        (400, "spec.x: unknown field", True, False),
        (409, "conflict with manager x", False, False),
        (500, 'failed calling webhook "x": no endpoints available', False, False),
    ],
)
def test_what_the_user_may_not_do_is_not_what_the_server_will_not_have(code, message, denied, without_rights):
    problem = refusal("PATCH", "/x", code, json.dumps({"message": message}).encode())
    assert (problem.denied, problem.without_rights) == (denied, without_rights)


def test_forbidden_says_what_to_do():
    assert "kubeconfig" in refusal("GET", "/x", 403, b"{}").fix
    assert (
        refusal("GET", "/x", 403, b"is forbidden: exceeded quota: q").fix
        == "let these rules spare what the run creates"
    )


def status(**fields):
    return json.dumps(fields).encode()


def test_exit_codes():
    assert exit_code(status(status="Success"), "x") == 0
    failed = status(status="Failure", details={"causes": [{"reason": "ExitCode", "message": "7"}]})
    assert exit_code(failed, "x") == 7


@pytest.mark.parametrize("raw", [b"", b"no json", b"[]", status(status="Failure", message="container not found")])
def test_a_command_that_did_not_run(raw):
    with pytest.raises(ApiProblem, match="exec ls"):
        exit_code(raw, "exec ls")


def pod(ready="True", **status_fields):
    conditions = [{"type": "Ready", "status": ready, "message": "containers not ready"}]
    return {"metadata": {"name": "p"}, "status": {"phase": "Pending", "conditions": conditions, **status_fields}}


def test_pods():
    assert is_ready(pod())
    assert not is_ready(pod("False"))
    assert not is_ready({"metadata": {"name": "p"}})
    leaving = pod()
    leaving["metadata"]["deletionTimestamp"] = "now"
    assert not is_ready(leaving)
    assert pod_state(leaving) == "p is being deleted"
    assert pod_state(pod("False")) == "p: containers not ready"
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}
    stuck = pod("False", initContainerStatuses=[{"name": "init", "state": waiting}])
    assert pod_state(stuck) == "p: container init ErrImagePull no such image"
    crashed = pod("False", containerStatuses=[{"name": "c", "state": {"terminated": {"exitCode": 3}}}])
    assert pod_state(crashed) == "p: container c terminated exit code 3"


@pytest.mark.parametrize("status", [None, {}, {"conditions": None, "containerStatuses": None}])
def test_a_status_may_be_empty_in_any_form(status):
    fresh = {"metadata": {"name": "p"}, "spec": {}, "status": status}
    assert not is_ready(fresh)
    assert pod_state(fresh) == "p: unknown"
    assert not rolled_out(fresh)


def deployment(generation=2, observed=2, updated=3, available=3, replicas=3):
    return {
        "metadata": {"generation": generation},
        "spec": {"replicas": 3},
        "status": {
            "observedGeneration": observed,
            "updatedReplicas": updated,
            "availableReplicas": available,
            "replicas": replicas,
        },
    }


@pytest.mark.parametrize(
    ("fields", "done"),
    [
        ({}, True),
        ({"observed": 1}, False),
        ({"updated": 2}, False),
        ({"available": 2}, False),
        ({"replicas": 4}, False),
    ],
)
def test_rollouts(fields, done):
    assert rolled_out(deployment(**fields)) is done


def test_a_deployment_at_zero_is_rolled_out():
    assert rolled_out({"metadata": {"generation": 1}, "spec": {"replicas": 0}, "status": {"observedGeneration": 1}})


def test_scaled_timeouts():
    doubled = Timeouts().scaled(2)
    assert doubled.pods_ready == 2 * Timeouts().pods_ready
    assert doubled.poll == Timeouts().poll
