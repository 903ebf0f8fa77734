from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Self, cast

import pytest

from conformance import context
from conformance.adapters import load
from conformance.catalogue import ground_of
from conformance.context import LIMITS, LOOKS, Context, NotInForce
from conformance.gates import FIRST, MARK_ROW, Gate, Look, gates_open
from conformance.intents import Backend, Marker
from conformance.model import inconclusive
from conformance.probes import LOOKS_KEPT, MOST_ROWS, Heard
from conformance.trouble import LAST_SEEN, Trouble
from fixtures.kube import ForwardProblem
from fixtures.workloads.traffic import Batch, Client, Control, Record
from reports.errors import EnvironmentProblem
from reports.model import Verdict

V3 = Backend("v3", version="v3")


def test_the_runs_settings_say_how_long_a_mark_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    monkeypatch.setattr(context, "eventually", lambda _, *, timeout, **__: asked.append(timeout))
    monkeypatch.setattr(LIMITS, "in_force", 77.0)
    ctx = Context.__new__(Context)
    monkeypatch.setattr(Context, "url", lambda *_: "http://a:1/")
    ctx.in_force(lambda: True, "a mark")
    ctx.gate("service", Marker("header", "value", V3))
    ctx.gate("service", Marker("header", "value", V3), Gate(timeout=1.0))
    assert asked == [77.0, 77.0, 1.0]


@pytest.mark.parametrize("shows_at", [1, 3, None])
def test_a_slow_look_is_not_the_only_one(shows_at: int | None) -> None:
    looks: list[int] = []

    def probe() -> bool:
        looks.append(1)
        return len(looks) == shows_at

    ctx = Context.__new__(Context)
    if shows_at is None:
        with pytest.raises(NotInForce, match=r"not within 0\.001 s"):
            ctx.in_force(probe, "a mark", timeout=0.001)
        assert len(looks) >= LOOKS
    else:
        ctx.in_force(probe, "a mark", timeout=0.001)
        assert len(looks) == shows_at


def answers(*versions: str, status: int = 200) -> list[Record]:
    return [Record(0.0, 0.01, status=status, reply={"version": version}) for version in versions]


@pytest.mark.parametrize(
    ("ordinary", "marked", "opens"),
    [
        (answers("v1", "v3"), answers(*["v3"] * MARK_ROW), True),
        (answers("v1", "v3"), answers(*["v3"] * (MARK_ROW - 1), "v1"), False),
        (answers("v1", "v3"), answers(*["v3"] * (MARK_ROW - 1)), False),
        (answers("v3", "v3"), answers(*["v3"] * MARK_ROW), False),  # no other endpoint is known yet
        (answers("v1", status=503), answers(*["v3"] * MARK_ROW), False),
        ([Record(0.0, 0.1, error="refused")], answers(*["v3"] * MARK_ROW), False),
        ([], answers(*["v3"] * MARK_ROW), False),
        (answers("v1"), [], False),
        (answers("v1"), [Record(0.0, 0.1, error="timeout")] * MARK_ROW, False),
    ],
)
def test_a_mark_is_a_row_that_ordinary_requests_do_not_show(
    ordinary: list[Record], marked: list[Record], opens: bool
) -> None:
    mesh = Answers(ordinary, marked)
    assert gates_open(mesh, [LOOK]) == (opens,)


class Answers:
    """A mesh that gives these answers, one after the other, to ordinary and to marked requests."""

    def __init__(self, ordinary: list[Record], marked: list[Record]) -> None:
        self.left = {False: list(ordinary), True: list(marked)}
        self.asked = {False: 0, True: 0}

    def __call__(self, batches: Sequence[Batch]) -> list[list[Record]]:
        return [self.answer(one) for one in batches]

    def answer(self, batch: Batch) -> list[Record]:
        count, left = cast("int", batch.count), self.left[bool(batch.headers)]
        self.asked[bool(batch.headers)] += count
        given, left[:count] = left[:count], []
        return given


ORDINARY = Batch("http://a:1/")
MARKED = replace(ORDINARY, headers={"mark": "1"})
LOOK = Look(ORDINARY, MARKED, V3)


@pytest.mark.parametrize(
    ("ordinary", "marked", "asked"),
    [
        pytest.param(["v1"] * 30, ["v1"] * 30, (FIRST, FIRST), id="not in force"),
        pytest.param(["v3"] * 30, ["v3"] * 30, (MARK_ROW, FIRST), id="no other endpoint is known"),
        pytest.param(["v3"] * 29 + ["v1"], ["v3"] * 30, (MARK_ROW, MARK_ROW), id="one of others, the last"),
        pytest.param(["v1"] * 30, ["v3"] * 30, (FIRST, MARK_ROW), id="in force"),
    ],
)
def test_a_look_asks_no_more_than_it_takes_to_know(
    ordinary: list[str], marked: list[str], asked: tuple[int, int]
) -> None:
    mesh = Answers(answers(*ordinary), answers(*marked))
    gates_open(mesh, [LOOK])
    assert (mesh.asked[False], mesh.asked[True]) == asked


def test_without_ordinary_requests_the_mark_alone_counts() -> None:
    mesh = Answers([], answers(*["v3"] * MARK_ROW))
    assert gates_open(mesh, [Look(None, MARKED, V3)]) == (True,)
    assert not mesh.asked[False]


def test_several_gates_are_looked_at_in_as_few_orders_as_one() -> None:
    meshes = {
        "open": Answers(answers("v1"), answers(*["v3"] * MARK_ROW)),
        "shut": Answers(answers("v1"), answers("v1", "v3", "v3")),
        "late": Answers(answers(*["v3"] * FIRST, "v1"), answers(*["v3"] * MARK_ROW)),
        "mark alone": Answers([], answers(*["v3"] * MARK_ROW)),
    }
    orders: list[list[tuple[str, int | None]]] = []

    def ask(batches: Sequence[Batch]) -> list[list[Record]]:
        orders.append([(one.url.removeprefix("http://"), one.count) for one in batches])
        return [meshes[one.url.removeprefix("http://")].answer(one) for one in batches]

    looks = [
        Look(
            None if name == "mark alone" else replace(ORDINARY, url=f"http://{name}"),
            replace(MARKED, url=f"http://{name}"),
            V3,
        )
        for name in meshes
    ]
    assert gates_open(ask, looks) == (True, False, True, True)
    rest = MARK_ROW - FIRST
    assert orders == [
        [(name, FIRST) for name in ("open", "shut", "late", "open", "shut", "late", "mark alone")],
        [("late", rest)],
        [(name, rest) for name in ("open", "late", "mark alone")],
    ]


# -- what a gate that stays shut has to show ---------------------------------------------------------------------------


class Answering(Control):
    """A control port whose client gets these answers to every batch, or none at all."""

    def __init__(self, *answers: Record, problem: Exception | None = None) -> None:
        super().__init__(cast("Any", None), "a client")
        self.answers, self.problem = answers, problem

    def order(self, _method: str, path: str, body: object = None, _timeout: float = 0.0) -> dict[str, Any]:
        if path == "/jobs/none":
            return {}
        if self.problem is not None:
            raise self.problem
        columns = {
            name: [getattr(one, name) for one in self.answers]
            for name in ("start", "seconds", "status", "error", "detail", "reply")
        }
        answer = {"columns": columns, "count": len(self.answers)}
        return {"answers": [answer] * len(cast("list[object]", body))} if path == "/batches" else answer


class AtOnce(Client):
    """A client that need not be waited for."""

    def __enter__(self) -> Self:
        return self


def asking(monkeypatch: pytest.MonkeyPatch, control: Control) -> Context:
    def client(_kube: object, space: str, pod: str, *, heard: Callable[[Batch, list[Record]], None]) -> Client:
        return AtOnce(None, space, pod, control=control, heard=heard)

    monkeypatch.setattr(context, "Client", client)
    mesh = cast("Any", SimpleNamespace(proxy=None))
    return Context(cast("Any", None), mesh, ground_of("mtls"), run="r", image="i", alpha=1e-5)


def shut(ctx: Context, probe: Callable[[], bool]) -> NotInForce:
    with pytest.raises(NotInForce) as ended:
        ctx.in_force(probe, "plaintext refused", timeout=0.001)
    return ended.value


TAKEN = Record(1.5, 0.01, status=200, reply={"pod": "strict-1", "version": "v1"})


def test_plaintext_that_a_strict_policy_lets_through_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = asking(monkeypatch, Answering(TAKEN, TAKEN, Record(1.6, 0.01, error="reset", detail="by peer")))
    batch = Batch("http://strict:8080/", count=3, headers={"authorization": "Bearer secret"})
    error = shut(ctx, lambda: not ctx.outsider().batch(batch))
    assert "last answers: 2 × status 200 of v1, 1 × reset)" in str(error)
    newest = error.seen[0].look
    assert {one.look for one in error.seen} == {newest, newest - 1, newest - 2}
    judgement = Trouble.of(error).judgement
    assert judgement.reason == str(error)
    (evidence,) = judgement.evidence
    assert evidence.title == LAST_SEEN
    rows = cast("Sequence[dict[str, Any]]", evidence.data)
    common = {
        "look": newest,
        "client": "mp-r-mtls-out/outsider",
        "request": "http1 GET http://strict:8080/ with authorization",
    }
    taken = {"status": 200, "by": "application", "pod": "strict-1", "version": "v1", "error": "", "detail": ""}
    reset = {"status": "", "by": "", "pod": "", "version": "", "error": "reset", "detail": "by peer"}
    assert rows[:2] == [
        {**common, "at": "1970-01-01T00:00:01.500+00:00", "answers": 2, **taken},
        {**common, "at": "1970-01-01T00:00:01.600+00:00", "answers": 1, **reset},
    ]


def test_of_what_is_asked_at_once_each_answer_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = asking(monkeypatch, Answering(TAKEN))
    asked = [Batch("http://a:1/"), Batch("http://b:1/")]
    error = shut(ctx, lambda: not ctx.client().batches(asked))
    assert [one.request for one in error.seen[:2]] == ["http1 GET http://a:1/", "http1 GET http://b:1/"]


def test_where_nobody_can_look_the_mesh_has_failed_at_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = asking(monkeypatch, Answering(problem=ForwardProblem("the pod is gone")))
    with pytest.raises(EnvironmentProblem) as ended:
        ctx.in_force(lambda: bool(ctx.client().batch(Batch("http://a:1/"))), "plaintext refused", timeout=0.001)
    assert "last: ForwardProblem: the pod is gone)" in str(ended.value)
    assert isinstance(ended.value.__cause__, ForwardProblem)
    assert Trouble.of(ended.value).judgement == inconclusive(str(ended.value))


def test_a_probe_that_breaks_off_is_told_by_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = asking(monkeypatch, Answering(TAKEN))
    error = shut(ctx, lambda: bool(1 // len(ctx.client().batch(Batch("http://a:1/"))[1:])))
    assert "last: ZeroDivisionError: " in str(error)
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert Trouble.of(error).judgement.verdict is Verdict.FAIL


NAMELESS = Record(1.5, 0.01, error="dns", detail="Name or service not known")


@pytest.mark.parametrize(
    ("answers", "ends"),
    [
        ((NAMELESS,), EnvironmentProblem),  # by whoever asks, the outsider too
        ((NAMELESS, TAKEN), NotInForce),
        ((TAKEN,), NotInForce),
    ],
)
def test_a_name_that_nobody_knows_is_the_clusters(
    monkeypatch: pytest.MonkeyPatch, answers: tuple[Record, ...], ends: type[Exception]
) -> None:
    ctx = asking(monkeypatch, Answering(*answers))
    batch = Batch("http://server.x.svc.cluster.local:8080/", count=len(answers))
    with pytest.raises(ends) as ended:
        ctx.in_force(lambda: not ctx.client().batch(batch), "the mark", timeout=0.001)
    if ends is EnvironmentProblem:
        reason = Trouble.of(ended.value).judgement.reason
        assert "does not know server.x.svc.cluster.local" in reason
        assert "--set cluster-domain=" in reason


def test_a_name_that_only_the_meshed_client_does_not_know_is_the_meshs(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = asking(monkeypatch, Answering(NAMELESS))
    monkeypatch.setattr(ctx, "outsider", lambda: SimpleNamespace(batch=lambda _: [TAKEN]))
    error = shut(ctx, lambda: not ctx.client().batch(Batch("http://server.x:8080/")))
    assert "1 × dns" in str(error)


@pytest.mark.parametrize(("containers", "outside"), [(("client",), True), (("client", "istio-proxy"), False)])
def test_an_outsider_that_somebody_took_into_the_mesh_proves_nothing(
    monkeypatch: pytest.MonkeyPatch, containers: tuple[str, ...], outside: bool
) -> None:
    ctx = asking(monkeypatch, Answering(TAKEN))
    pod = {"spec": {"containers": [{"name": "client"}], "initContainers": [{"name": one} for one in containers[1:]]}}
    ctx.kube = cast("Any", SimpleNamespace(get=lambda *_: pod))
    ctx.adapter = load("istio")
    with nullcontext() if outside else pytest.raises(EnvironmentProblem, match="outside of the mesh, and has its"):
        assert ctx.outsider().batch(Batch("http://a:1/")) == [TAKEN]
    assert ctx.client("outsider").batch(Batch("http://a:1/")) == [TAKEN]  # by which injection is judged all the same
    with nullcontext() if outside else pytest.raises(EnvironmentProblem):
        ctx.outsider()  # whoever asked by it before


def test_what_is_asked_outside_of_a_gate_is_not_taken_for_its_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = asking(monkeypatch, Answering(TAKEN))
    ctx.client().batch(Batch("http://a:1/"))
    assert shut(ctx, lambda: False).seen == ()
    ctx.client().batch(Batch("http://a:1/"))
    assert "last: False" in str(shut(ctx, lambda: False))


def test_what_nobody_answered_is_kept_with_the_words_of_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = Record(1.6, 3.1, error="unreachable", detail="[Errno 113] No route to host")
    ctx = asking(monkeypatch, Answering(TAKEN, lost))
    ctx.outsider().batch(Batch("http://strict:8080/", count=2))
    assert ctx.unanswered.rows == [
        {
            "at": "1970-01-01T00:00:01.600+00:00",
            "client": "mp-r-mtls-out/outsider",
            "request": "http1 GET http://strict:8080/",
            "error": "unreachable",
            "detail": "[Errno 113] No route to host",
            "after s": 3.1,
        }
    ]


@pytest.mark.parametrize(
    ("looks", "opens"),
    [
        ([False, False, True, True], True),  # the row that has begun is let end, however late
        ([False, False, True, False], False),
        ([True, False, True, False], False),
        ([True, True], True),
        ([False, False, False, True], False),
    ],
)
def test_a_row_that_has_begun_is_not_ended_by_a_slow_machine(
    monkeypatch: pytest.MonkeyPatch, looks: list[bool], opens: bool
) -> None:
    """Where each look takes longer than a gate is given, as every row of two would have to begin anew."""
    ctx = asking(monkeypatch, Answering(TAKEN))
    monkeypatch.setattr(context, "LOOK_SECONDS", 0.0)
    given = iter(looks)
    with nullcontext() if opens else pytest.raises(NotInForce):
        ctx.in_force(lambda: next(given), "the mark", successes=2, timeout=0.0)
    assert list(given) == ([True] if looks[:3] == [False] * 3 else [])


def test_the_table_stays_small_and_has_the_newest_answers() -> None:
    heard = Heard()

    def probe() -> None:
        answered = [Record(0.0, 0.1, status=200, reply={"pod": f"pod-{heard.looks}-{i}"}) for i in range(15)]
        heard.hear("ns/client", Batch("http://a:1/"), answered)

    for _ in range(LOOKS_KEPT + 2):
        heard.look(probe)
    assert len(heard.seen) == MOST_ROWS
    assert [one.pod for one in heard.seen[:15]] == [f"pod-{heard.looks}-{i}" for i in range(15)]
    assert {one.look for one in heard.seen} == {heard.looks, heard.looks - 1}


@pytest.mark.parametrize(
    ("record", "batch", "said"),
    [
        (Record(0.0, 0.1, status=403), Batch("http://a:1/"), "status 403 of no application"),
        (Record(0.0, 0.1, status=200, reply={}), Batch("http://a:1/"), "status 200 of the application"),
        (Record(0.0, 0.1, status=200, grpc=7), Batch("http://a:1/", "grpc"), "gRPC status 7 of no application"),
        (Record(0.0, 0.1, reply={"version": "v2"}), Batch("tcp://a:1", "tcp"), "answer of v2"),
        (Record(0.0, 0.1, tls={"version": "TLSv1.3"}), Batch("tls://a:1", "tls"), "handshake TLSv1.3"),
        (Record(0.0, 0.1, error="timeout"), Batch("http://a:1/"), "timeout"),
    ],
)
def test_an_answer_in_words(record: Record, batch: Batch, said: str) -> None:
    heard = Heard()
    heard.look(lambda: heard.hear("ns/client", batch, [record]))
    assert heard.last(False) == f"last answers: 1 × {said}"
