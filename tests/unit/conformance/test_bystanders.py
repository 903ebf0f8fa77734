"""What policy engines, agents and the cluster itself make of pods is not held against the mesh."""

from __future__ import annotations

import contextlib
import copy
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from conformance.adapters import load
from conformance.checks import crash, joining, lifecycle
from conformance.checks.admission import authored, kept, on_node, twice
from conformance.checks.bystanders import UNLISTED, mutators, strangers
from conformance.checks.injection import GROUND as INJECTION
from conformance.checks.injection import Untouched, judge_untouched, observe
from conformance.checks.injection_judges import JobEnd, judge_again, judge_job, judge_kept, judge_on_node
from conformance.context import Context, Pod
from fixtures.kube import ApiProblem
from reports.model import Verdict

PASS, FAIL, OPEN = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
REFMESH = load("refmesh")
PROXY = cast("Any", REFMESH.proxy).container


def pod(*names: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": one} for one in names], **spec}}


def test_what_the_outsider_has_too_is_somebody_elses_unless_it_may_be_in_the_mesh() -> None:
    assert strangers(REFMESH.proxy, pod("client", "fluent-bit")) == {"fluent-bit"}
    assert strangers(REFMESH.proxy, {}) == frozenset()
    assert strangers(REFMESH.proxy, pod("client", PROXY, initContainers=[{"name": "refmesh-init"}])) == frozenset()
    assert strangers(None, pod("client", "fluent-bit")) == frozenset()
    assert strangers(load("gateway-api", {"per-node": "true"}).proxy, pod("client", "fluent-bit")) == frozenset()


class _Crowded:
    """A cluster that gives every pod a log agent, and a mesh that gives meshed ones a proxy, `everywhere` or not."""

    def __init__(self, *, everywhere: bool = False) -> None:
        self.everywhere = everywhere
        self.pods: dict[tuple[str, str], dict[str, Any]] = {}

    def apply(self, made: dict[str, Any], namespace: str) -> None:
        made = copy.deepcopy(made)
        account = made["spec"].setdefault("securityContext", {})
        account["seLinuxOptions"] = {"level": f"s0:{namespace}"}  # OpenShift's, another one in each namespace
        has = [one["name"] for one in made["spec"]["containers"]]
        meshed = namespace.endswith("lax") and (self.everywhere or not made["spec"].get("hostNetwork"))
        for name in ("fluent-bit", *([PROXY] if meshed else [])):
            if name not in has:
                made["spec"]["containers"].append({"name": name})
        self.pods[made["metadata"]["name"], namespace] = made

    def get(self, _: str, __: str, name: str, namespace: str) -> dict[str, Any]:
        return pod("client", "fluent-bit") if name == "outsider" else self.pods[name, namespace]


def crowded(*, everywhere: bool = False) -> Context:
    ctx = Context(cast("Any", None), REFMESH, joining.GROUND, run="r", image="i", alpha=1e-5)
    ctx.kube = cast("Any", _Crowded(everywhere=everywhere))
    return ctx


def test_inj_09_10_and_14_do_not_hold_a_log_agent_against_the_mesh() -> None:
    assert judge_on_node(on_node(crowded())).verdict is PASS
    assert judge_on_node(on_node(crowded(everywhere=True))).verdict is FAIL
    assert judge_again(twice(crowded())).verdict is PASS
    assert judge_kept(kept(crowded())).verdict is PASS


def test_inj_14_leaves_out_only_what_either_namespace_has_and_nobody_wrote() -> None:
    def made(uid: int, level: str) -> dict[str, Any]:
        return {"spec": {"securityContext": {"fsGroup": uid, "seLinuxOptions": {"level": level}},
                         "containers": [{"name": "shop", "securityContext": {"runAsUser": uid}}]}}  # fmt: skip

    bare: dict[str, Any] = {"spec": {"containers": [{"name": "shop"}]}}
    one, two = made(1, "s0:c1"), made(2, "s0:c2")
    assert authored(one, bare, two) == authored(two, bare, one)
    assert authored(one, one, two) != authored(two, one, one)  # it was written
    assert authored(bare, bare, two) != authored(two, bare, bare)  # by whoever injects


def test_inj_02_and_lc_05_count_what_not_every_pod_has(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = Context(cast("Any", None), REFMESH, INJECTION, run="r", image="i", alpha=1e-5)
    objects = {"optout": pod("echo", "fluent-bit"), "server": pod("echo", "fluent-bit", PROXY),
               "outsider": pod("client", "fluent-bit")}  # fmt: skip
    monkeypatch.setattr(ctx, "pod", lambda name: Pod(name, "in", "10.0.0.1", objects[name]))
    monkeypatch.setattr(ctx, "client", lambda _: SimpleNamespace(batch=lambda _: []))
    assert (observe(ctx, "optout").added, observe(ctx, "server").added) == ((), (PROXY,))
    objects["outsider"] = pod("client", "fluent-bit", PROXY)
    assert observe(ctx, "server").added == ("fluent-bit", PROXY)


def test_lc_04_kills_nobody_but_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: set[str] = set()
    names = ("echo", "fluent-bit", PROXY)
    status: list[dict[str, Any]] = [{"name": name, "state": {"running": {}}, "restartCount": 0} for name in names]
    there = {**pod(*names), "status": {"containerStatuses": status}}
    kube = SimpleNamespace(
        exec=lambda *_, container: killed.add(container),
        get=lambda _, __, name, ___: pod("client", "fluent-bit") if name == "outsider" else there,
    )
    ctx = Context(cast("Any", kube), REFMESH, lifecycle.GROUND, run="r", image="i", alpha=1e-5)
    monkeypatch.setattr(crash, "refused", lambda *_: None)
    job = contextlib.nullcontext(SimpleNamespace(finish=list))
    monkeypatch.setattr(ctx, "outsider", lambda: SimpleNamespace(start=lambda _: job))
    monkeypatch.setattr(ctx, "pods", lambda _: [Pod("fragile", "strict", "10.0.0.9", there)])
    monkeypatch.setattr(ctx, "watch", lambda *_: None)
    assert crash.crash(ctx).added == (PROXY,)
    assert killed == {PROXY}


def test_inj_06_does_not_know_whose_container_keeps_a_job() -> None:
    job = JobEnd(3, (PROXY,), 3, complete=False, phases=("Running",) * 3, waited=30.0)
    assert judge_job(job).verdict is FAIL
    assert judge_job(replace(job, beside=("fluent-bit",))).verdict is OPEN
    assert judge_job(replace(job, beside=("fluent-bit",), complete=True, phases=("Succeeded",) * 3)).verdict is PASS


def configuration(name: str, resource: str, group: str = "", does: str = "CREATE", **config: Any) -> dict[str, Any]:
    rule = {"apiGroups": [group], "operations": [does], "resources": [resource]}
    selectors = {key: config.pop(key) for key in ("namespaceSelector", "objectSelector") if key in config}
    return {"metadata": {"name": name}, "webhooks": [{"rules": [rule], "clientConfig": config, **selectors}]}


def test_who_else_may_change_pods() -> None:
    plane = cast("Any", REFMESH.control_plane())[0]
    found = [
        configuration("refmesh", "pods", service={"namespace": plane, "name": "refmesh"}),
        configuration("certificates", "certificates", service={"namespace": "x", "name": "y"}),
        configuration("kyverno", "*/*", "*", "*", service={"namespace": "kyverno", "name": "kyverno"}),
        configuration("remote", "pods", url=f"https://refmesh.{plane}.svc/inject"),
        configuration("issuers", "*", "cert-manager.io", url="https://127.0.0.1:1/mutate"),
        configuration("deletions", "pods", does="DELETE", url="https://127.0.0.1:1/mutate"),
        configuration("opted", "pods", url="https://127.0.0.1:1/m", namespaceSelector={"matchLabels": {"in": "yes"}}),
        configuration("marked", "pods", url="https://127.0.0.1:1/m", objectSelector={"matchLabels": {"a": "b"}}),
        configuration("identity", "pods", url="https://127.0.0.1:1/mutate"),
        {"metadata": {"name": "none"}},
    ]
    kube = SimpleNamespace(list=lambda *_: found, get=lambda *_: {"metadata": {"labels": {"team": "x"}}})
    ctx = SimpleNamespace(adapter=REFMESH, kube=kube)
    assert mutators(cast("Context", ctx), "out", pod("echo")) == ("kyverno", "identity")


@pytest.mark.parametrize(
    ("message", "known"), [('forbidden: User "a" cannot list resource', True), ("admission is broken", False)]
)
def test_who_else_may_change_pods_is_not_known_to_everybody(message: str, known: bool) -> None:
    def refuse(*_: object) -> None:
        raise ApiProblem("no", status=403, message=message)

    ctx = cast("Context", SimpleNamespace(adapter=REFMESH, kube=SimpleNamespace(list=refuse)))
    if known:
        assert mutators(ctx, "out", {}) == (UNLISTED,)
        return
    with pytest.raises(ApiProblem):
        mutators(ctx, "out", {})


def test_inj_04_blames_the_mesh_for_its_proxy_and_where_nobody_else_can_have_done_it() -> None:
    template = pod("echo")
    within = pod("echo", PROXY)
    labelled = copy.deepcopy(template)
    labelled["metadata"]["labels"]["team"] = "net"
    assert judge_untouched(Untouched(template, labelled, within)).verdict is FAIL
    found = judge_untouched(Untouched(template, labelled, within, others=("kyverno",)))
    assert (found.verdict, "kyverno" in found.reason) == (OPEN, True)
    assert judge_untouched(Untouched(template, within, within, proxied=True, others=("kyverno",))).verdict is FAIL
    assert judge_untouched(Untouched(template, template, within, others=("kyverno",))).verdict is PASS


def test_inj_04_leaves_open_what_openshift_and_admission_plugins_do() -> None:
    template = pod("echo")
    made = pod("echo", nodeSelector={"team": "net"}, tolerations=[{}], securityContext={"fsGroup": 1})
    made["metadata"]["annotations"] = {"openshift.io/scc": "restricted-v2"}
    made["spec"]["containers"][0]["securityContext"] = {"runAsUser": 1}
    assert judge_untouched(Untouched(template, made, pod("echo", PROXY))).verdict is OPEN
