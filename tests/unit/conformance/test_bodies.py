"""What checks do to their ground: they begin with what they need, and leave what the next one needs."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlsplit

import pytest

from conformance.adapters import Rendered, load
from conformance.certificates import token_for
from conformance.checks import circuit, joining, peers, probing, routing, routing_copies, routing_status
from conformance.checks.admission import kept
from conformance.checks.balancing import _scale
from conformance.checks.capture_judges import Tries
from conformance.checks.cases import Asked, Case
from conformance.checks.ejection import Episode
from conformance.checks.flips import flips
from conformance.checks.injection_judges import judge_kept
from conformance.checks.mtls import GROUND, _refused
from conformance.checks.mtls_judges import HTTP
from conformance.checks.peers_judges import OLD
from conformance.checks.wide import rolled_out
from conformance.checks.witness import witness
from conformance.context import Context, NotExpressible, Pod
from conformance.intents import Mode, MtlsMode
from conformance.pulse import STEADY, Pulse
from conformance.putting import put
from fixtures.kube import ApiProblem, Kube
from fixtures.workloads.pod.answers import Identity, Request, Wish
from fixtures.workloads.pod.echo import Echo
from fixtures.workloads.traffic import Batch, Record
from reports.model import Verdict


class _Deaf:
    """A mesh that obeys nothing once it is strict: plaintext is refused for good, or as long as it is told to be."""

    def __init__(self) -> None:
        self.applied: list[Mode] = []
        self.watched: list[bool] = []

    def space(self, place: str) -> str:
        return place

    def url(self, service: str, port: int = 8080, path: str = "/", scheme: str = "http") -> str:
        return f"{scheme}://{service}:{port}{path}"

    def now(self) -> float:
        return 0.0

    def apply(self, intent: MtlsMode) -> None:
        self.applied.append(intent.mode)

    def watch(self, probe: Callable[[], bool], _: float) -> None:
        self.watched.append(probe())

    def client(self) -> Any:
        @contextlib.contextmanager
        def start(_: Batch) -> Iterator[Any]:
            yield SimpleNamespace(finish=lambda: [Record(0.0, 0.1, status=200, reply={"pod": "a"})])

        return SimpleNamespace(start=start)

    def outsider(self) -> Any:
        taken = [Record(0.0, 0.1, status=200, reply={"pod": "a"})] * 4
        refused = [Record(0.0, 0.1, error="reset")] * 4
        asked_again = self.applied.count(Mode.PERMISSIVE) > 1
        return SimpleNamespace(batch=lambda _: taken if asked_again else refused)


def test_mtls_08_leaves_the_ground_permissive_though_a_turn_went_wrong() -> None:
    ctx = _Deaf()
    found = flips(cast("Context", ctx))
    assert found.turns == (("strict", "refused"), ("permissive", "refused"))
    assert ctx.applied == [Mode.STRICT, Mode.PERMISSIVE, Mode.PERMISSIVE]
    assert ctx.watched == [True, False, True]


def test_mtls_02_does_not_take_a_probe_that_is_let_in_for_plaintext_that_is() -> None:
    """Linkerd lets GET requests for a pod's probes in from anywhere, whatever its policy says of all others."""
    probes = {one.probe for one in GROUND.workloads if one.probe} | {"/ready"}

    def answer(batch: Batch) -> list[Record]:
        let_in = batch.method == "GET" and urlsplit(batch.url).path in probes
        one = Record(0.0, 0.1, status=200, reply={}) if let_in else Record(0.0, 0.1, status=403)
        return [one] * batch.total

    ctx = SimpleNamespace(
        url=lambda _, port, path, scheme: f"{scheme}://strict:{port}{path}",
        outsider=lambda: SimpleNamespace(batch=answer),
    )
    assert _refused(cast("Context", ctx), "strict", HTTP)


def test_mtls_09_waits_until_a_proxy_has_given_up_to_find_out_what_an_old_hello_is() -> None:
    """Linkerd's takes ten seconds to find out that it is no protocol that it knows."""
    asked: list[Batch] = []

    def batch(one: Batch) -> list[Record]:
        asked.append(one)
        return [Record(0.0, 0.1, error="eof")]

    ctx = SimpleNamespace(
        adapter=load("linkerd"),
        pod=lambda name: Pod(name, "in", "10.0.0.9", {"spec": {}}),
        outsider=lambda: SimpleNamespace(batch=batch),
    )
    peers.versions(cast("Context", ctx))
    assert {one.timeout > 10.0 for one in asked if one.tls_version in OLD} == {True}


def test_cb_07_keeps_requests_under_way_so_that_no_healthy_host_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """A balancer by latency gives a host that answers at once everything there is."""
    started: list[Batch] = []

    def stop(_ctx: object, _job: object, _pod: object) -> Episode:
        raise NotExpressible("seen enough")

    @contextlib.contextmanager
    def start(one: Batch) -> Iterator[None]:
        started.append(one)
        yield

    monkeypatch.setattr(circuit, "_fail_and_return", stop)
    monkeypatch.setattr(circuit, "witness", lambda *_: contextlib.nullcontext(lambda _: STEADY))
    ctx = SimpleNamespace(
        space=lambda place: place,
        pod=lambda _: None,
        pods=lambda _: [None],
        marker=lambda _: None,
        apply=lambda *_: None,
        gate=lambda *_: None,
        behave=lambda *_, **__: None,
        url=lambda service, path="/": f"http://{service}{path}",
        client=lambda: SimpleNamespace(start=start),
    )
    with pytest.raises(NotExpressible):
        circuit.episode(cast("Context", ctx))
    delay = float(urlsplit(started[0].url).query.removeprefix("delay=").removesuffix("ms")) / 1000
    assert started[0].rate is not None
    assert 2 <= started[0].rate * delay <= started[0].concurrency / 4


@pytest.mark.parametrize("newer", [True, False])
def test_rt_06_asks_for_the_newer_statuses_where_there_are_words_for_them(
    monkeypatch: pytest.MonkeyPatch, newer: bool
) -> None:
    def both(_ctx: Context, name: str, cases: Sequence[Case], **_: Any) -> tuple[Asked, ...]:
        if name == "moved" and not newer:
            raise NotExpressible("this cluster's definition of HTTPRoute does not list 303")
        return tuple(Asked("service", case, ()) for case in cases)

    monkeypatch.setattr(routing, "both", both)
    asked = {one.case.status for one in routing.redirects(cast("Context", None))}
    assert asked == {200, 301, 302} | ({303, 307, 308} if newer else set())
    first = {rule.redirect.status for rule in routing._REDIRECTS if rule.redirect}
    assert first == {301, 302}, "no route of before Gateway API 1.5 may have another"


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ([{"waiting": {"reason": "ErrImagePull"}}], "container echo waits: ErrImagePull"),
        ([{"waiting": {"reason": "ErrImagePull"}}, {"running": {}}], ""),  # has had its time, and is not Ready
    ],
)
def test_inj_05_gives_an_application_its_time_from_its_start_on(states: list[dict[str, Any]], said: str):
    clock = iter(range(1, 1000))
    left = list(states)

    def pods(*_: str) -> list[dict[str, Any]]:
        state = left.pop(0) if len(left) > 1 else left[0]
        scheduled = [{"type": "PodScheduled", "status": "True"}]
        return [{"status": {"conditions": scheduled, "containerStatuses": [{"name": "echo", "state": state}]}}]

    def watch(probe: Callable[[], bool], timeout: float) -> None:
        any(probe() for _ in range(round(timeout)))

    ctx = SimpleNamespace(kube=SimpleNamespace(list=pods), now=lambda: float(next(clock)), watch=watch)
    _, waits = probing._ready_or_late(cast("Context", ctx), "strict")
    assert waits == said


def test_inj_05_excuses_no_pod_that_was_not_let_in():
    ctx = SimpleNamespace(kube=SimpleNamespace(list=lambda *_: []), now=lambda: 0.0, watch=lambda probe, _: probe())
    assert probing._ready_or_late(cast("Context", ctx), "strict") == ({}, "")


def test_inj_05_asks_for_no_probes_path_in_plaintext():
    """Linkerd lets GET requests for those in from anywhere, also where it is strict."""
    asked: list[Batch] = []

    def batch(one: Batch) -> list[Record]:
        asked.append(one)
        return []

    ctx = SimpleNamespace(outsider=lambda: SimpleNamespace(batch=batch))
    joining.plaintext(cast("Context", ctx), Pod("probed-1", "strict", "10.0.0.9", {}))
    objects = probing._probed("strict", "image", Rendered())
    pod = next(one for one in objects if one["kind"] == "Deployment")["spec"]["template"]["spec"]
    probes = (one for key, one in pod["containers"][0].items() if key.endswith("Probe") and "httpGet" in one)
    assert urlsplit(asked[0].url).path not in {one["httpGet"]["path"] for one in probes}


@pytest.mark.parametrize(
    ("restarts", "asked", "takes"),
    [
        (0, 3, 15.0),
        (1, 3, 8.5),
        pytest.param(0, 5, 0.0, id="a kubelet that goes on asking is content"),
    ],
)
def test_inj_05_gives_a_probe_of_liveness_the_time_to_fail(
    monkeypatch: pytest.MonkeyPatch, restarts: int, asked: int, takes: float
):
    """Readiness may come and go before a kubelet has asked often enough to restart a container."""
    clock, made = [0.0], cast("list[dict[str, Any]]", [])

    def pod() -> dict[str, Any]:
        restarted = restarts if clock[0] > 8.0 else 0
        ready = [{"type": "Ready", "status": "True"}]
        return {
            "metadata": {"name": "probed-1", "namespace": "strict"},
            "status": {"podIP": "10.0.0.9", "conditions": ready, "containerStatuses": [{"restartCount": restarted}]},
        }

    def watch(probe: Callable[[], bool], timeout: float) -> None:
        until = clock[0] + timeout
        while clock[0] < until and not probe():
            clock[0] += 0.5

    ctx = SimpleNamespace(
        shared=lambda *_, **__: None,
        space=lambda place: place,
        adapter=load("none"),
        image="image",
        dressing=SimpleNamespace(on=lambda one: one),
        kube=SimpleNamespace(apply=lambda *objects: made.extend(objects), get=lambda *_: pod()),
        now=lambda: clock[0],
        behave=lambda *_, **__: None,
        counts_of=lambda *_: [asked],
        until=lambda *_: None,
        watch=watch,
    )
    monkeypatch.setattr(probing, "refusing", lambda *_: Tries("plaintext", 5, 0, {"reset": 5}))
    monkeypatch.setattr(probing, "_ready_or_late", lambda *_: (pod(), ""))
    assert probing.probes(cast("Context", ctx)).restarts == restarts
    assert clock[0] == takes
    (served,) = (one for one in made if one["kind"] == "Service")
    assert served["spec"]["selector"] == {"app": "probed"}, "Consul starts no pod of no Service, Kuma 2 guards none"


@pytest.mark.parametrize(("kind", "status"), [("livenessProbe", 200), ("readinessProbe", 503)])
def test_inj_05_fails_the_probe_of_readiness_only(kind: str, status: int):
    objects = probing._probed("strict", "image", Rendered())
    pod = next(one for one in objects if one["kind"] == "Deployment")["spec"]["template"]["spec"]
    path = pod["containers"][0][kind]["httpGet"]["path"]

    async def asked() -> int:
        echo = Echo(Identity("probed-1", "strict", "", ""))
        echo.usual = Wish(codes=(503,))
        echo.tls_ready.set()
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        request = Request("http1", "GET", path, "probed", [], 8080, "10.0.0.1", None)
        echo(request, cast("Any", lambda code, *_, **__: answer.set_result(code)))
        return await answer

    assert asyncio.run(asked()) == status


class _Defaults:
    """A cluster that completes every pod by defaults of its own, and a mesh that adds a proxy in one namespace."""

    def __init__(self, lax: str, *, greedy: bool) -> None:
        self.lax, self.greedy = lax, greedy
        self.pods: dict[str, dict[str, Any]] = {}

    def apply(self, pod: dict[str, Any], namespace: str) -> None:
        made = copy.deepcopy(pod)
        for one in made["spec"]["containers"]:
            one["resources"] = {"limits": {"cpu": "1"}}  # a LimitRange
        if namespace == self.lax:
            made["spec"]["containers"].append({"name": "proxy"})
            made["spec"]["containers"][0]["env"] = [] if self.greedy else made["spec"]["containers"][0]["env"]
        self.pods[namespace] = made

    def get(self, _: str, __: str, ___: str, namespace: str) -> dict[str, Any]:
        return self.pods[namespace]


@pytest.mark.parametrize(("greedy", "verdict"), [(False, Verdict.PASS), (True, Verdict.FAIL)])
def test_inj_14_holds_the_clusters_own_defaults_against_nobody(greedy: bool, verdict: Verdict):
    ctx = Context(cast("Any", None), load("refmesh"), joining.GROUND, run="r", image="i", alpha=1e-5)
    ctx.kube = cast("Any", _Defaults(ctx.space("lax"), greedy=greedy))
    assert judge_kept(kept(ctx)).verdict is verdict


def test_a_frozen_proxy_is_no_machine_that_stands_still():
    asked: list[str] = []

    @contextlib.contextmanager
    def pulse(client: object, url: str, _: float) -> Iterator[Callable[[float], Pulse]]:
        asked.append(f"{client} {url}")
        yield lambda _: STEADY

    ctx = SimpleNamespace(pulse=pulse, outsider=lambda: "outsider", client=lambda: pytest.fail("by the judged proxy"))
    with witness(cast("Context", ctx), Pod("server", "in", "fd00::9", {})) as seen:
        assert seen(1.0) == STEADY
    assert asked == ["outsider http://[fd00::9]:8080/"]


def test_id_08_asks_for_the_api_servers_own_audience_whatever_that_is_called():
    bodies: list[dict[str, Any]] = []

    def call(_: str, __: str, body: dict[str, Any]) -> dict[str, Any]:
        bodies.append(body["spec"])
        return {"status": {"token": "t"}}

    kube = cast("Any", SimpleNamespace(api=SimpleNamespace(call=call)))
    for audience in ("", "istio-ca"):
        token_for(kube, "n", "a", ("p", "u"), audience)
    assert [one.get("audiences") for one in bodies] == [None, ["istio-ca"]]


class _Mirror:
    """A mirror that is held up with its last copy for longer than counts are calm."""

    def __init__(self, held_up: int) -> None:
        self.looks, self.held_up = 0, held_up

    def counted(self, _: str, __: str) -> int:
        self.looks += 1
        return 60 if self.looks > self.held_up else 59

    def watch(self, probe: Callable[[], bool], _: float) -> None:
        any(probe() for _ in range(100))

    def until(self, probe: Callable[[], bool], what: str, _: float) -> None:
        assert any(probe() for _ in range(100)), what


def test_rt_13_waits_for_a_copy_that_is_held_up_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing_copies, "CALM", 0.0)
    assert routing_copies._settled(cast("Context", _Mirror(held_up=50)), "key", 60) == 60
    assert routing_copies._settled(cast("Context", _Mirror(held_up=500)), "key", 60) == 59
    assert [routing_copies.least(percent) for percent in (0, 30, 100)] == [0.0, 0.25, 1.0]


class _Plane:
    """A control plane's Deployment with a ReplicaSet for each template it ever had."""

    def __init__(self) -> None:
        self.run, self.kube = "run", self
        self.template: dict[str, str] = {"own": "kept"}
        self.sets = [dict(self.template)]
        self.rollouts = 0

    def patch(self, _: str, __: str, ___: str, body: dict[str, Any], ____: str) -> None:
        changes = body["spec"]["template"]["metadata"]["annotations"]
        self.template = {key: value for key, value in {**self.template, **changes}.items() if value is not None}
        self.sets += [] if self.template in self.sets else [self.template]

    def wait_rollout(self, *_: object) -> None:
        self.rollouts += 1

    def list(self, *_: object) -> list[dict[str, Any]]:
        return [
            {"metadata": {"name": str(index)}, "spec": {"template": {"metadata": {"annotations": one}}}}
            for index, one in enumerate(self.sets)
        ]

    def delete(self, _: str, __: str, name: str, ___: str) -> None:
        self.sets.pop(int(name))


def test_lc_03_leaves_nothing_in_the_control_plane_also_when_it_is_interrupted() -> None:
    plane = _Plane()

    def interrupted() -> None:
        with rolled_out(cast("Context", plane), ("mesh", "plane")):
            assert plane.template == {"own": "kept", "meshproof.io/upgrade": "run"}
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert plane.template == {"own": "kept"}
    assert plane.sets == [{"own": "kept"}]
    assert plane.rollouts == 2


class _Pods:
    """A deployment whose pods follow its replicas, and slices that follow later."""

    def __init__(self, pods: int) -> None:
        self.pods = self.named = pods
        self.kube = self

    def space(self, place: str) -> str:
        return place

    def patch(self, _: str, __: str, ___: str, body: dict[str, Any], ____: str) -> None:
        self.pods = body["spec"]["replicas"]

    def list(self, _: str, kind: str, *__: str) -> list[dict[str, Any]]:
        if kind == "Pod":
            return [{}] * self.pods
        names = [{"targetRef": {"name": f"pod-{i}"}, "conditions": {"ready": True}} for i in range(self.named)]
        self.named = self.pods
        return [{"endpoints": names}]

    def until(self, probe: Callable[[], bool], what: str, _: float) -> None:
        assert any(probe() for _ in range(3)), what


def test_lb_04_begins_with_two_hosts_whatever_lb_05_left() -> None:
    ctx = _Pods(pods=3)
    _scale(cast("Context", ctx), 2)
    assert (ctx.pods, ctx.named) == (2, 2)


NO_FILTER = "no such filter"


@pytest.mark.parametrize(
    ("status", "message", "denied"),
    [
        *((status, NO_FILTER, denied) for status, denied in [(400, True), (422, True), (500, False), (429, False)]),
        (0, NO_FILTER, False),
        (422, "ValidatingAdmissionPolicy 'labels' with binding 'labels' denied request: no team", False),
        (403, 'admission webhook "validation.gatekeeper.sh" denied the request: no team', False),
    ],
)
def test_rt_12_takes_a_server_in_trouble_for_no_refusal(
    monkeypatch: pytest.MonkeyPatch, status: int, message: str, denied: bool
) -> None:
    """A webhook that does not answer is a 500, and policies of the cluster's user are none of the mesh's: nobody has
    looked at the filter."""

    def apply(_: object) -> None:
        raise ApiProblem("no", status=status, message=message)

    def stood(*_: object) -> None:
        put(cast("Kube", SimpleNamespace(apply=apply)), {"apiVersion": "x/v1", "kind": "Route"})

    monkeypatch.setattr(routing_status, "STANDING", SimpleNamespace(stood=stood))
    ends = contextlib.nullcontext() if denied else pytest.raises(ApiProblem)
    with ends:
        assert routing_status.unknown_filter(cast("Context", None)).refused == NO_FILTER
