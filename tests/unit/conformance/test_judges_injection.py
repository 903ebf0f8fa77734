from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from conformance.adapters import load
from conformance.certificates import Answer
from conformance.checks.capture_judges import Tries
from conformance.checks.identity import Identity, judge_identity
from conformance.checks.injection import (
    Behaviour,
    LeftAlone,
    Untouched,
    judge_injected,
    judge_left_alone,
    judge_untouched,
    no_opt_in,
)
from conformance.checks.probing_judges import Probes, judge_probes
from conformance.context import Context
from conformance.dressing import Dressing
from reports.model import Verdict

MESHED = Behaviour("ns/server", ("proxy",), "10.0.0.9", ("127.0.0.6",) * 5, tls_answered=True)
PLAIN = Behaviour("ns/plain", (), "10.0.0.9", ("10.0.0.9",) * 5, tls_answered=False)


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        (None, Verdict.INCONCLUSIVE),
        (replace(MESHED, peers=(), tls_answered=False), Verdict.INCONCLUSIVE),
        (replace(MESHED, peers=()), Verdict.PASS),  # a mesh that is strict by default
        (replace(PLAIN, peers=()), Verdict.INCONCLUSIVE),
        (MESHED, Verdict.PASS),
        (replace(MESHED, tls_answered=False), Verdict.PASS),
        (replace(MESHED, peers=PLAIN.peers), Verdict.PASS),
        (PLAIN, Verdict.FAIL),
        (replace(PLAIN, added=("proxy",)), Verdict.FAIL),  # a container alone proves nothing
        (replace(MESHED, added=()), Verdict.FAIL),  # and neither does behaviour alone
    ],
)
def test_injection_needs_facts_and_behaviour(seen, verdict):
    assert judge_injected(seen).verdict is verdict


@pytest.mark.parametrize(
    ("pod", "beside", "verdict"),
    [
        (None, None, Verdict.INCONCLUSIVE),
        (replace(PLAIN, peers=()), MESHED, Verdict.INCONCLUSIVE),
        (PLAIN, MESHED, Verdict.PASS),
        (PLAIN, replace(MESHED, peers=()), Verdict.PASS),
        (replace(MESHED, peers=()), MESHED, Verdict.FAIL),
        (PLAIN, PLAIN, Verdict.FAIL),  # plain Kubernetes
        (MESHED, MESHED, Verdict.FAIL),  # opt-out ignored
        (replace(PLAIN, tls_answered=True), MESHED, Verdict.FAIL),
    ],
)
def test_opt_out_is_judged_beside_a_pod_that_is_injected(pod, beside, verdict):
    assert judge_left_alone(LeftAlone(pod, beside)).verdict is verdict


def test_what_the_user_puts_on_every_pod_was_not_added_by_the_mesh() -> None:
    """Its annotations too, of which the API server says nothing."""
    made: dict[tuple[str, str], Mapping[str, Any]] = {}

    def apply(item: Mapping[str, Any], *, namespace: str) -> None:
        within = namespace == "in" and item["kind"] == "Pod"
        also = {"spec": {**item["spec"], "initContainers": [{"name": "proxy"}]}} if within else {}
        made[item["kind"], namespace] = {**item, **also}

    ctx = SimpleNamespace(
        image="i",
        adapter=load("refmesh"),
        dressing=Dressing(labels={"team": "net"}, annotations={"example.com/evict": "no"}),
        render=load("refmesh").render,
        space=lambda place: place,
        kube=SimpleNamespace(
            apply=apply, get=lambda _, kind, __, space="": made.get((kind, space)), list=lambda *_: []
        ),
    )
    history = no_opt_in(cast("Context", ctx))
    assert history.without is not None
    assert history.without["metadata"]["annotations"] == {"example.com/evict": "no"}
    assert judge_untouched(history).verdict is Verdict.PASS


TEMPLATE = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "echo", "ports": [1, 2]}]}}


def pod(**spec):
    made: dict[str, Any] = copy.deepcopy(TEMPLATE)
    made["spec"] |= {"nodeName": "n", "priority": 0, "preemptionPolicy": "PreemptLowerPriority"} | spec
    return made


def test_untouched_pod_equals_its_template():
    assert judge_untouched(Untouched(TEMPLATE, pod(), pod(initContainers=[{}]))).verdict is Verdict.PASS
    assert judge_untouched(Untouched(TEMPLATE, pod(), pod())).verdict is Verdict.FAIL  # plain Kubernetes
    changed = judge_untouched(Untouched(TEMPLATE, pod(hostNetwork=True), pod(initContainers=[{}])))
    assert changed.verdict is Verdict.FAIL
    assert ".spec.hostNetwork added" in changed.reason
    deep = pod(initContainers=[{}])
    deep["spec"]["containers"][0]["ports"][1] = 3
    assert ".spec.containers[0].ports[1] changed" in judge_untouched(Untouched(TEMPLATE, deep, deep)).reason
    assert judge_untouched(Untouched(TEMPLATE, None, pod())).verdict is Verdict.INCONCLUSIVE


def test_the_token_that_the_api_server_mounts_is_nobodys_injection():
    """Its volume has another name in each pod."""
    given = pod(volumes=[{"name": "kube-api-access-x7k2p"}])
    given["spec"]["containers"][0]["volumeMounts"] = [{"name": "kube-api-access-x7k2p"}]
    assert judge_untouched(Untouched(TEMPLATE, given, pod(initContainers=[{}]))).verdict is Verdict.PASS
    assert judge_untouched(Untouched(TEMPLATE, given, given)).verdict is Verdict.FAIL
    assert judge_untouched(Untouched(TEMPLATE, pod(volumes=[{"name": "mesh"}]), given)).verdict is Verdict.FAIL


def test_what_the_api_server_may_do_by_itself_is_not_held_against_the_mesh():
    own: dict[str, Any] = pod(priorityClassName="usual", imagePullSecrets=[{"name": "registry"}])
    own["spec"]["containers"][0] |= {"imagePullPolicy": "Always", "resources": {"limits": {"cpu": "1"}}}
    assert judge_untouched(Untouched(TEMPLATE, own, pod(initContainers=[{}]))).verdict is Verdict.INCONCLUSIVE
    own["spec"]["dnsPolicy"] = "None"
    assert judge_untouched(Untouched(TEMPLATE, own, pod(initContainers=[{}]))).verdict is Verdict.FAIL


def test_labels_and_annotations_count_too():
    marked = pod()
    marked["metadata"]["annotations"] = {"mesh": "was here"}
    assert judge_untouched(Untouched(TEMPLATE, marked, marked)).verdict is Verdict.FAIL


REFUSED = Tries("plaintext", 5, 0, {"reset": 5})
GOOD = Probes(REFUSED, ready=True, restarts=0, went_unready=True, came_back=True)


@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        (GOOD, Verdict.PASS),
        (replace(GOOD, plaintext=Tries("plaintext", 0, 0, {})), Verdict.INCONCLUSIVE),
        (replace(GOOD, plaintext=Tries("plaintext", 5, 5, {})), Verdict.FAIL),
        (replace(GOOD, plaintext=Tries("plaintext", 5, 0, {"reset": 4, "timeout": 1})), Verdict.INCONCLUSIVE),
        (replace(GOOD, ready=False), Verdict.FAIL),
        (replace(GOOD, ready=False, plaintext=None), Verdict.FAIL),  # it was not let in
        (replace(GOOD, ready=False, plaintext=None, waits="there is no room"), Verdict.INCONCLUSIVE),
        (replace(GOOD, ready=False, waits="not scheduled: 0/1 nodes are available"), Verdict.INCONCLUSIVE),
        (replace(GOOD, restarts=1), Verdict.FAIL),
        (replace(GOOD, went_unready=False), Verdict.FAIL),
        (replace(GOOD, came_back=False), Verdict.FAIL),
    ],
)
def test_probes_must_follow_the_application_under_strict(history, verdict):
    assert judge_probes(history).verdict is verdict


ME, OTHER = "spiffe://t/ns/a/sa/me", "spiffe://t/ns/kube-system/sa/default"
HONEST = Answer((ME,), (ME,), own_key=True)
IDENTITY = Identity(ME, OTHER, (ME,), HONEST, Answer((OTHER,), (ME,), own_key=True))


@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        (IDENTITY, Verdict.PASS),
        (replace(IDENTITY, lying=Answer((OTHER,), (), own_key=False, refusal="PERMISSION_DENIED: no")), Verdict.PASS),
        (replace(IDENTITY, lying=Answer((OTHER,), (OTHER,), own_key=True)), Verdict.FAIL),  # SAN taken from the CSR
        (replace(IDENTITY, lying=Answer((OTHER,), (ME, OTHER), own_key=True)), Verdict.FAIL),
        (replace(IDENTITY, shown=()), Verdict.FAIL),
        (replace(IDENTITY, shown=(), error="timeout"), Verdict.INCONCLUSIVE),
        (replace(IDENTITY, shown=(OTHER,)), Verdict.FAIL),
        (replace(IDENTITY, honest=replace(HONEST, own_key=False)), Verdict.FAIL),
        (replace(IDENTITY, honest=replace(HONEST, issued=(), refusal="UNAUTHENTICATED: no")), Verdict.FAIL),
        (replace(IDENTITY, honest=None), Verdict.INCONCLUSIVE),
        (replace(IDENTITY, lying=None), Verdict.INCONCLUSIVE),
    ],
)
def test_identity_comes_from_the_token(history, verdict):
    assert judge_identity(history).verdict is verdict
