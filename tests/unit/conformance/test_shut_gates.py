"""What is judged although the mark of its configuration never showed, on a mesh that obeys late or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from conformance.adapters import load
from conformance.catalogue import check_of
from conformance.checks import gateways
from conformance.checks.mtls import GROUND
from conformance.checks.mtls_judges import GRPC, HTTP, TCP
from conformance.context import Context, NotInForce, Pod
from conformance.intents import Backend, Marker
from conformance.model import Judgement, failed, inconclusive, passed
from conformance.pulse import STEADY, Pulse
from conformance.shut_gates import asked_anyway
from fixtures.workloads.traffic import Batch, Record
from reports.model import Verdict

ANSWER = Record(0.0, 0.1, status=200, reply={"pod": "server"})
REFUSAL = Record(0.0, 0.1, error="reset")


def _shut() -> None:
    raise NotInForce("never shown")


@pytest.mark.parametrize("judgement", [passed("right"), inconclusive("nothing is known")])
def test_what_is_right_or_unknown_behind_a_shut_gate_came_too_late(judgement: Judgement) -> None:
    with pytest.raises(NotInForce, match="never shown"):
        asked_anyway(_shut, lambda: "history", lambda _: judgement)


def test_what_is_wrong_behind_a_shut_gate_is_judged() -> None:
    assert asked_anyway(_shut, lambda: "history", lambda _: failed("wrong")) == "history"


@pytest.mark.parametrize("judgement", [passed("right"), failed("wrong"), inconclusive("nothing is known")])
def test_behind_an_open_gate_everything_is_judged(judgement: Judgement) -> None:
    assert asked_anyway(lambda: None, lambda: "history", lambda _: judgement) == "history"


class _Ground:
    """What a check asks of its ground: names, and gates that look once."""

    def space(self, place: str) -> str:
        return place

    def url(self, service: str, port: int = 8080, path: str = "/", scheme: str = "http") -> str:
        return f"{scheme}://{service}:{port}{path}"

    def pod(self, name: str) -> Pod:
        return Pod(name, "in", "10.0.0.9", {})

    def apply(self, *_: Any, **__: Any) -> None: ...

    def in_force(self, probe: Callable[[], bool], what: str, **_: object) -> None:
        if not probe():
            raise NotInForce(what)

    def counting(self, _: Pod, send: Callable[[], list[Record]]) -> tuple[list[Record], int]:
        records = send()
        return records, sum(one.status == 200 for one in records)


class _Stubborn(_Ground):
    """A mesh that does one thing with plaintext whatever it is told, and where meshed requests are served in mTLS."""

    def __init__(self, plaintext: Callable[[int], bool]) -> None:
        self.plaintext = plaintext
        self.ground = GROUND
        self.adapter = SimpleNamespace(proxy=None)

    def outsider(self) -> Any:
        return SimpleNamespace(batch=lambda batch: self._answer(batch, meshed=False))

    def client(self) -> Any:
        return SimpleNamespace(batch=lambda batch: self._answer(batch, meshed=True))

    def sniff(self, _: Pod, __: int, ___: str, send: Callable[[], list[Record]]) -> dict[str, Any]:
        records = send()
        in_clear = sum(one.status == 200 for one in records) if self._asked == "outsider" else 0
        return {"records": records, "packets": 40, "tls_records": 10, "plaintext_hits": in_clear}

    def _answer(self, batch: Batch, *, meshed: bool) -> list[Record]:
        self._asked = "client" if meshed else "outsider"
        if batch.protocol == "tls":
            return [Record(0.0, 0.1, tls={"server_certificate": "x", "client_certificate_requested": True})]
        port = {"http1": HTTP, "grpc": GRPC, "tcp": TCP}[batch.protocol]
        if not meshed and not self.plaintext(port):
            return [REFUSAL] * cast("int", batch.count)
        return [Record(0.0, 0.1, status=200, reply={"body": batch.body})] * cast("int", batch.count)


@pytest.mark.parametrize(
    ("check", "plaintext", "said"),
    [
        ("MTLS-02", lambda _: True, "port 8080 (http1) is strict, and 20 of 20 plaintext requests were answered"),
        ("MTLS-03", lambda _: False, "port 8080: 20 of 20 plaintext requests were refused"),
        ("MTLS-04", lambda _: False, "port 9090 is exempt, and plaintext was refused there"),
        ("MTLS-05", lambda port: port != HTTP, "port 9090 (tcp) is strict, and 20 of 20 plaintext"),
    ],
)
def test_a_mode_that_never_comes_into_force_is_judged_by_what_becomes_of_plaintext(
    check: str, plaintext: Callable[[int], bool], said: str
) -> None:
    one = check_of(check)
    judgement = one.judge(one.collect(cast("Context", _Stubborn(plaintext))))
    assert judgement.verdict is Verdict.FAIL
    assert said in judgement.reason


FRONT = {"metadata": {"name": "front"}, "spec": {"clusterIP": "10.0.0.7"}}
"""The Service of a gateway, as Consul and Kuma make it: without the label of GEP-1762."""


class _Unmoved(_Ground):
    """A mesh that, after its first few gates, shows the mark of nothing. `answer` says what becomes of a request."""

    adapter = load("refmesh")
    alpha = 1e-5

    def __init__(self, answer: Callable[[Batch], Record], opens: int = 0) -> None:
        self.answer = answer
        self.opens = opens
        self.clock = 0.0
        self.kube = SimpleNamespace(list=lambda *_: [FRONT], logs=lambda *_: "started")

    def now(self) -> float:
        self.clock += 0.1
        return self.clock

    def marker(self, backend: Backend) -> Marker:
        return Marker("mark", "1", backend)

    def expect_strict(self, *_: object, **__: object) -> None: ...

    def gate(self, *_: object) -> None:
        self.opens -= 1
        if self.opens < 0:
            self.clock += 10.0
            raise NotInForce("never shown")

    def in_force(self, probe: Callable[[], bool], what: str, **_: object) -> None:
        assert not probe()
        raise NotInForce(what)

    def shared(self, *_: object, **__: object) -> Any:
        raise NotInForce("no request gets through")

    def until(self, probe: Callable[[], bool], what: str, _: float) -> None:
        assert any(probe() for _ in range(100)), what

    def watch(self, probe: Callable[[], bool], timeout: float) -> None:
        until = self.clock + timeout
        while self.clock < until and not probe():
            self.clock += 0.5

    def sniff(self, _: Pod, __: int, ___: str, send: Callable[[], list[Record]]) -> dict[str, Any]:
        records = send()
        meshed = "server" not in self.asked
        return {"records": records, "packets": 9, "tls_records": 0, "plaintext_hits": len(records) if meshed else 0}

    @contextlib.contextmanager
    def pulse(self, *_: object) -> Iterator[Callable[[float], Pulse]]:
        yield lambda _: STEADY

    def outsider(self) -> Any:
        return self.client()

    def client(self, _: str = "") -> Any:
        @contextlib.contextmanager
        def start(batch: Batch) -> Iterator[Any]:
            ended: list[Record] = []

            def records(since: int = 0) -> list[Record]:
                self.clock += 1.0
                ended.extend(self._batch(replace(batch, count=100, rate=None, duration=None)))
                return ended[since:]

            yield SimpleNamespace(records=records, finish=records, wait=lambda _: self._batch(batch))

        return SimpleNamespace(batch=self._batch, start=start)

    def _batch(self, batch: Batch) -> list[Record]:
        self.asked = batch.url
        if batch.protocol == "tls":
            return [Record(0.0, 0.1, tls={"server_certificate": "x", "client_certificate_requested": True})]
        one = replace(self.answer(batch), start=self.clock)
        return [one] * cast("int", batch.count)


def _by(version: str) -> Callable[[Batch], Record]:
    return lambda _: Record(0.0, 0.1, status=200, reply={"version": version})


def _refusing(_: Batch) -> Record:
    return Record(0.0, 0.1, status=503)


def _unlogged(batch: Batch) -> Record:
    return Record(0.0, 0.1, status=int(batch.url.rpartition("=")[2]), reply={})


@pytest.mark.parametrize(
    ("check", "answer", "said"),
    [
        pytest.param("WT-04", _by("v1"), "seen 100.0 % (339 of 339)", id="all calls of a connection go to one backend"),
        pytest.param("WT-04", _by("v3"), "backends without a share answered: v3", id="and to one without a share"),
        pytest.param("WT-07", _by("v1"), "the old backend still answered after 1", id="the change is not followed"),
        pytest.param("CB-06", _refusing, "the cap leaves room for nobody", id="everybody is refused"),
        pytest.param("TEL-05", _unlogged, "20 of 20 requests are not in the log", id="nothing is logged"),
        pytest.param("GW-01", _refusing, "20 of 20 did not get through", id="nothing gets in"),
        pytest.param("GW-02", _refusing, "the marker crossed the wire in clear 20 times", id="in plaintext"),
    ],
)
def test_what_a_mesh_does_whose_mark_never_shows_is_judged(
    check: str, answer: Callable[[Batch], Record], said: str
) -> None:
    one = check_of(check)
    judgement = one.judge(one.collect(cast("Context", _Unmoved(answer, opens=check == "WT-07"))))
    assert judgement.verdict is Verdict.FAIL
    assert said in judgement.reason


@pytest.mark.parametrize("check", ["GW-01", "GW-02"])
def test_a_gateway_without_an_address_is_asked_nothing(check: str) -> None:
    ctx = _Unmoved(_refusing)
    ctx.kube = SimpleNamespace(list=lambda *_: [], get=lambda *_: None)
    with pytest.raises(NotInForce, match="no request gets through"):
        check_of(check).collect(cast("Context", ctx))


@pytest.mark.parametrize(
    ("name", "labels", "address"),
    [
        ("front", {}, "10.0.0.7"),
        ("front-istio", {"gateway.networking.k8s.io/gateway-name": "front"}, "10.0.0.7"),
        ("server", {"gateway.networking.k8s.io/gateway-name": "other"}, "10.9.9.9"),
    ],
)
def test_a_gateway_is_reached_by_the_service_of_its_label_or_name(name: str, labels: dict[str, str], address: str):
    ctx = _Unmoved(_refusing)
    made = {"metadata": {"name": name, "labels": labels}, "spec": {"clusterIP": "10.0.0.7"}}
    outside = {"status": {"addresses": [{"value": "10.9.9.9"}]}}
    ctx.kube = SimpleNamespace(list=lambda *_: [made], get=lambda *_: outside)
    assert gateways._address(cast("Context", ctx)) == address


class _OpenDoor(_Ground):
    """A gateway whose requests are let in whatever the workload's policy says; and ways out that are never shut."""

    def __init__(self) -> None:
        self.allowed = ""
        self.adapter = SimpleNamespace()

    def shared(self, *_: object, **__: object) -> Any:
        return SimpleNamespace(account="gateway", address="10.0.0.7")

    def pods(self, name: str) -> list[Pod]:
        return [self.pod(f"{name}-{number}") for number in (1, 2)]

    def render(self, _: object) -> Any:
        return SimpleNamespace(objects=())

    def remove(self, *_: object) -> None: ...

    def apply(self, *intents: Any) -> None:
        rules = getattr(intents[-1], "rules", ())
        self.allowed = rules[0].accounts[0][1] if rules else ""

    def watch(self, *_: object) -> None: ...

    def outsider(self) -> Any:
        return SimpleNamespace(batch=lambda batch: [ANSWER] * batch.count)

    def client(self) -> Any:
        let_in = self.allowed in {"", "client"}
        refusal = Record(0.0, 0.1, status=403)
        return SimpleNamespace(batch=lambda batch: [ANSWER if let_in else refusal] * batch.count)


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ("GW-03", "the gateway, while only the client is let in: 20 of 20 got through, and none should"),
        ("GW-05", "a pod that nobody registered by http1, only registered ones: 20 of 20 got through, and none should"),
    ],
)
def test_a_gateway_that_obeys_no_policy_is_judged_by_who_gets_through(check: str, said: str) -> None:
    one = check_of(check)
    judgement = one.judge(one.collect(cast("Context", _OpenDoor())))
    assert (judgement.verdict, judgement.reason) == (Verdict.FAIL, said)
    assert judgement.whatever_the_machine
