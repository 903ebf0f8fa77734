"""The judges of INJ-06 to INJ-14 on histories made by hand: sound, plain Kubernetes, and each seeded defect."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from conformance.checks.admission import authored
from conformance.checks.capture_judges import (
    Admitted,
    Captured,
    Excluded,
    Tries,
    judge_captured,
    judge_excluded,
)
from conformance.checks.injection import differences
from conformance.checks.injection_judges import (
    Again,
    JobEnd,
    Kept,
    Knock,
    OnNode,
    Start,
    judge_again,
    judge_first_request,
    judge_job,
    judge_kept,
    judge_on_node,
    judge_prepared,
)
from fixtures.workloads.traffic import Record
from reports.model import Verdict

PASS, FAIL, OPEN = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
REFUSED = Tries("plaintext", 5, 0, {"reset": 5})
PARTLY_LATE = Tries("plaintext", 5, 0, {"reset": 4, "timeout": 1})
TAKEN = Tries("plaintext", 5, 5, {}, ("10.0.0.9",))
ANSWERED = Tries("from the mesh", 10, 10, {}, ("127.0.0.6",))
NOBODY = Tries("nobody listens", 5, 0, {"refused": 5})
PROXY_ANSWERED = Tries("nobody listens", 5, 0, {"status 503": 5})
NOT_SENT = Tries("nothing", 0, 0, {})

KNOCK = Knock("first-1", 200, None, "strict-1")
START = Start(REFUSED, ("proxy",), 2, (KNOCK, replace(KNOCK, pod="first-2")))


@pytest.mark.parametrize("judge", [judge_first_request, judge_prepared])
@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        (START, PASS),
        (replace(START, plaintext=TAKEN, added=()), FAIL),  # plain Kubernetes
        (replace(START, added=()), FAIL),
        (replace(START, knocks=(KNOCK, Knock("first-2", None, "refused", ""))), FAIL),  # the proxy came after
        (replace(START, knocks=(KNOCK, Knock("first-2", None, "reset", ""))), FAIL),  # it went past the proxy
        (replace(START, knocks=(KNOCK, Knock("first-2", 503, None, ""))), FAIL),
        (replace(START, knocks=(KNOCK,)), OPEN),
        (replace(START, plaintext=NOT_SENT), OPEN),
        (replace(START, plaintext=PARTLY_LATE), OPEN),  # neither taken nor refused
    ],
)
def test_every_first_request_counts_and_only_under_strict(judge, history, verdict):
    assert judge(history).verdict is verdict


JOB = JobEnd(3, ("proxy",), 3, complete=True, phases=("Succeeded",) * 3, waited=2.0)


@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        (JOB, PASS),
        (replace(JOB, added=()), FAIL),  # plain Kubernetes
        (replace(JOB, complete=False, phases=("Running",) * 3, waited=30.0), FAIL),  # its proxy goes on
        (replace(JOB, phases=("Succeeded", "Succeeded", "Failed")), FAIL),
        (replace(JOB, ended=2), OPEN),
    ],
)
def test_a_job_is_complete_with_its_proxy(history, verdict):
    assert judge_job(history).verdict is verdict


PLAIN = Admitted("a pod", "", ("shop",))
INJECTED = Admitted("a pod", "", ("init", "proxy", "shop"), ("init", "proxy"))
TURNED_AWAY = Admitted("a pod", "Duplicate value")
RULED_OUT = Admitted("a pod", 'pods "a" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true')
UNASKED = Admitted("a pod", 'Internal error occurred: failed calling webhook "inject": context deadline exceeded')


@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        (OnNode((PLAIN, PLAIN), INJECTED), PASS),
        (OnNode((PLAIN, PLAIN), PLAIN), FAIL),  # plain Kubernetes
        (OnNode((INJECTED, PLAIN), INJECTED), FAIL),
        (OnNode((PLAIN, INJECTED), INJECTED), FAIL),
        (OnNode((TURNED_AWAY, PLAIN), INJECTED), OPEN),  # the cluster allows no such pods
        (OnNode((PLAIN, PLAIN), TURNED_AWAY), OPEN),
        (OnNode((), INJECTED), OPEN),
    ],
)
def test_the_nodes_network_stays_free(history, verdict):
    assert judge_on_node(history).verdict is verdict


@pytest.mark.parametrize(
    ("refusal", "ruled_out"),
    [
        (RULED_OUT.refusal, True),
        ('pods "a" is forbidden: exceeded quota: q, requested: pods=1, used: pods=9, limited: pods=9', True),
        ('pods "a" is forbidden: failed quota: q: must specify limits.cpu', True),
        ('pods "a" is forbidden: maximum memory usage per Container is 1Gi, but limit is 2Gi', True),
        ('pods "a" is forbidden: [minimum cpu usage per Container is 1, maximum …]', True),
        ('pods "a" is forbidden: unable to validate against any security context constraint: []', True),
        ('admission webhook "validation.gatekeeper.sh" denied the request: [probes] missing', True),
        ('admission webhook "validate.kyverno.svc-fail" denied the request: policy', True),
        ("forbidden: ValidatingAdmissionPolicy 'a' with binding 'b' denied request: no", True),
        ('admission webhook "validation.istio.io" denied the request: port 70000', False),
        ('Pod "a" is invalid: spec.volumes[3].name: Duplicate value: "x"', False),
        (UNASKED.refusal, False),
        ("", False),
    ],
)
def test_who_refused_a_pod(refusal, ruled_out):
    assert Admitted("a pod", refusal).ruled_out is ruled_out


TWICE = replace(INJECTED, containers=("init", "proxy", *INJECTED.containers))


@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        (Again(INJECTED, (INJECTED, INJECTED)), PASS),
        (Again(PLAIN, (PLAIN, PLAIN)), FAIL),  # plain Kubernetes
        (Again(INJECTED, (TURNED_AWAY,)), FAIL),  # two containers of one name
        (Again(INJECTED, (INJECTED, TWICE)), FAIL),
        (Again(TURNED_AWAY, ()), OPEN),
        (Again(INJECTED, (INJECTED, UNASKED)), OPEN),  # a slow machine
        (Again(INJECTED, (INJECTED, RULED_OUT)), OPEN),
    ],
)
def test_injection_happens_once(history, verdict):
    assert judge_again(history).verdict is verdict


def test_what_its_author_wrote_is_kept():
    assert judge_kept(Kept({}, {}, (), ("proxy",))).verdict is PASS
    assert judge_kept(Kept({}, {}, (), ())).verdict is FAIL  # plain Kubernetes
    assert judge_kept(Kept(None, {}, (), ("proxy",))).verdict is OPEN
    changed = judge_kept(Kept({}, {}, (".containers.shop.resources changed",), ("proxy",)))
    assert changed.verdict is FAIL
    assert "shop.resources" in changed.reason


def test_the_authors_part_leaves_out_the_mesh_and_probes_and_nothing_else():
    body: dict[str, Any] = {
        "spec": {
            "securityContext": {"fsGroup": 1},
            "containers": [{"name": "shop", "image": "a", "resources": {"limits": {"cpu": "1"}}, "readinessProbe": {}}],
        }
    }
    injected = copy.deepcopy(body)
    injected["spec"]["initContainers"] = [{"name": "proxy", "image": "mesh"}]
    injected["spec"]["containers"][0].pop("readinessProbe")
    assert authored(body, body, body) == authored(injected, body, body)
    injected["spec"]["containers"][0]["volumeMounts"] = [{"name": "kube-api-access-x7k2p"}]
    assert authored(body, body, body) == authored(injected, body, body)
    injected["spec"]["containers"][0]["resources"]["limits"]["cpu"] = "2"
    assert differences(authored(body, body, body), authored(injected, body, body)) == [
        ".containers.shop.resources.limits.cpu changed"
    ]


CAPTURED = Captured((REFUSED, REFUSED), ANSWERED, (ANSWERED, ANSWERED), PROXY_ANSWERED, NOBODY)


@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        (CAPTURED, PASS),
        (Captured((TAKEN, TAKEN), ANSWERED, (ANSWERED, ANSWERED), NOBODY, NOBODY), FAIL),  # plain Kubernetes
        (replace(CAPTURED, from_outside=(REFUSED, TAKEN)), FAIL),  # one port excluded
        (replace(CAPTURED, from_outside=(REFUSED, replace(TAKEN, answered=1, ends={"reset": 4}))), FAIL),
        (replace(CAPTURED, from_outside=(REFUSED, replace(REFUSED, ends={"reset": 2, "timeout": 3}))), OPEN),
        (replace(CAPTURED, around_service=(ANSWERED, replace(ANSWERED, answered=9, ends={"reset": 1}))), FAIL),
        (replace(CAPTURED, around_service=(ANSWERED, replace(ANSWERED, answered=9, ends={"timeout": 1}))), OPEN),
        (replace(CAPTURED, around_service=(ANSWERED, REFUSED)), PASS),  # the mesh meets nobody it knows at an address
        (replace(CAPTURED, around_service=(replace(ANSWERED, answered=0, ends={"dns": 10}), ANSWERED)), OPEN),
        (replace(CAPTURED, around_service=(ANSWERED, replace(ANSWERED, answered=0, ends={"timeout": 10}))), OPEN),
        (replace(CAPTURED, around_service=(NOBODY, NOBODY)), OPEN),
        (replace(CAPTURED, by_service=NOBODY), OPEN),  # the server is not there
        (replace(CAPTURED, nobody_listens=NOBODY), FAIL),  # outbound is not captured
        (replace(CAPTURED, nobody_listens_outside=PROXY_ANSWERED), OPEN),  # the witness is no witness here
        (replace(CAPTURED, from_outside=()), OPEN),
        (replace(CAPTURED, nobody_listens=NOT_SENT), OPEN),
    ],
)
def test_nothing_passes_by_the_proxy(history, verdict):
    assert judge_captured(history).verdict is verdict


EXCLUDED = Excluded(REFUSED, TAKEN, "10.0.0.9", PROXY_ANSWERED, NOBODY, Admitted("nonsense", "no such port"))


@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        (EXCLUDED, PASS),
        (replace(EXCLUDED, impossible=INJECTED), PASS),
        (replace(EXCLUDED, impossible=PLAIN), FAIL),  # an error lets it in without a proxy
        (Excluded(TAKEN, TAKEN, "10.0.0.9", NOBODY, NOBODY, PLAIN), FAIL),  # plain Kubernetes
        (replace(EXCLUDED, excluded=REFUSED), FAIL),
        (replace(EXCLUDED, excluded=replace(TAKEN, peers=("127.0.0.6",))), FAIL),  # still through the proxy
        (replace(EXCLUDED, captured_out=NOBODY), FAIL),
        (replace(EXCLUDED, excluded_out=PROXY_ANSWERED), FAIL),
        (replace(EXCLUDED, excluded_out=replace(NOBODY, ends={"refused": 4, "timeout": 1})), OPEN),
        (replace(EXCLUDED, excluded_out=replace(NOBODY, ends={"status 503": 4, "timeout": 1})), FAIL),
        (replace(EXCLUDED, excluded=replace(TAKEN, answered=4, ends={"timeout": 1})), OPEN),
        (replace(EXCLUDED, excluded=NOT_SENT), OPEN),
        (replace(EXCLUDED, impossible=UNASKED), OPEN),  # a webhook that says nothing obeys nobody
        (replace(EXCLUDED, impossible=RULED_OUT), OPEN),  # the cluster's own rules say nothing of the mesh
    ],
)
def test_exemption_is_exact(history, verdict):
    assert judge_excluded(history).verdict is verdict


def test_tries_tell_answers_of_the_application_from_all_others():
    found = Tries.of(
        "some",
        [
            Record(0.0, 0.1, status=200, reply={"peer": "10.0.0.1:5"}),
            Record(0.0, 0.1, status=503),
            Record(0.0, 0.1, error="reset"),
        ],
    )
    assert (found.sent, found.answered, found.peers) == (3, 1, ("10.0.0.1",))
    assert found.ends == {"status 503": 1, "reset": 1}
    assert not found.refused
    assert not found.accepted
    assert not found.closed
