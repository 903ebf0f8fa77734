"""C1: the control plane at 0. Traffic goes on, and so does policy; after it, proxies take news again."""

from __future__ import annotations

from itertools import count

from chaos.experiment import Experiment, NotHere, Setup
from chaos.faults import ScaleToZero
from chaos.judging import judged, no_added_errors, unrecovered
from chaos.model import History, Judgement
from chaos.objects import ECHO, ECHO_PORT, service
from chaos.scene import Scene
from conformance.pods import in_url
from reports.model import JSON, Verdict

__all__ = ["ASKED", "EXPERIMENT", "TOLD", "judge"]

CONVERGED_SECONDS = 10.0
"""From the control plane's readiness until proxies have taken news."""
LANDED_SECONDS = 40.0
"""For the control plane's pods to be gone: their usual grace period is 30 s, and some use all of it."""
HOLD_SECONDS = 4.0
"""For another control plane, if there is one, to give proxies news."""
FRESH_PORT = 8082
"""And up: what is asked for as news has a port that no other service has, so that no listener for it exists before."""
ASKED = "times that proxies were asked for news meanwhile"
TOLD = "times that they had some"


def judge(history: History) -> Judgement:
    """Not one error and no standstill, and proxies have news within 10 s of the control plane's readiness.

    Where they have news before, something else than this control plane serves them: it was not taken from them.
    """
    nobody = f"no pod of {history.facts.get('control plane')} ran"
    if history.facts.get(TOLD):
        others = "they have another control plane, or need none for that"
        return Judgement(Verdict.INCONCLUSIVE, f"the fault did not land: proxies had news while {nobody}, so {others}")
    found, marks = no_added_errors(history), history.marks
    if found.verdict is not Verdict.PASS:
        return found
    if marks.ready is None or (marks.recovered is None and marks.steady is None):
        return unrecovered(history)
    if marks.recovered is None:
        return Judgement(
            Verdict.FAIL, f"proxies took no news within {marks.ended - marks.ready:.0f} s of the control plane's return"
        )
    took = max(0.0, marks.recovered - marks.ready)
    if took > CONVERGED_SECONDS:
        return Judgement(
            Verdict.FAIL,
            f"proxies took news {took:.1f} s after the control plane was ready, not within {CONVERGED_SECONDS:.0f} s",
        )
    if not history.facts.get(ASKED):
        return Judgement(
            Verdict.INCONCLUSIVE, f"{found.reason}; but nobody could ask whether proxies had news while {nobody}"
        )
    away = 0.0 if marks.landed is None else marks.undone - marks.landed
    return Judgement(
        Verdict.PASS, f"{found.reason}; {nobody} for {away:.1f} s; proxies took news {took:.1f} s after one was ready"
    )


def _prepare(scene: Scene) -> Setup:
    found = scene.adapter.control_plane()
    if found is None:
        raise NotHere("there is no control plane that could be taken away")
    namespace, deployment = found

    fault = ScaleToZero(namespace, deployment)
    facts: dict[str, JSON] = {"control plane": f"{namespace}/{deployment}"}
    made: dict[str, tuple[str, str]] = {}

    def back() -> bool:
        now = scene.kube.get("apps/v1", "Deployment", deployment, namespace)
        return bool(now and now.get("status", {}).get("readyReplicas"))

    def news(when: str) -> bool:
        """Whether proxies take news: a service that is made at the first call is routed to under strict mutual TLS.

        To a proxy that has not heard of it, its address is a stranger's, and plaintext there is refused. It is called
        by that, for a name server may remember for half a minute that there was no such name.
        """
        if when not in made:
            port = _unused(scene)
            name = f"{ECHO}-{when}-{port}"
            fresh = service(name, scene.space, ECHO, "http", port, ECHO_PORT)
            address = in_url(scene.kube.apply(fresh)[0]["spec"]["clusterIP"])
            made[when] = f"http://{address}:{port}/", f"{name}.{scene.space}:{port}"
        url, host = made[when]
        return scene.reaches(url, host=host)

    had: list[bool] = []

    def look(_: float) -> None:
        if fault.landed(scene.kube):  # as it does no more once it is taken back
            had.append(news("meanwhile") and bool(fault.landed(scene.kube)))
            facts.update({ASKED: len(had), TOLD: sum(had)})

    return Setup(
        fault=fault,
        url=f"http://{ECHO}.{scene.space}:{ECHO_PORT}/",
        ready=back,
        awaited="the control plane",
        recovered=lambda: news("after"),
        observe=look,
        landed_timeout=LANDED_SECONDS,
        hold=HOLD_SECONDS,
        facts=facts,
    )


def _unused(scene: Scene) -> int:
    """A port for news; the same experiment may have been here before."""
    found = scene.kube.list("v1", "Service", scene.space)
    taken = {port["port"] for one in found for port in one["spec"].get("ports", ())}
    return next(port for port in count(FRESH_PORT) if port not in taken)


EXPERIMENT = Experiment(
    id="C1",
    title="control plane at 0: traffic goes on",
    hypothesis="no added error or standstill without the control plane, policy holds, news within 10 s of its return",
    fault=ScaleToZero.name,
    prepare=_prepare,
    judge=judged(judge),
    proves=("control-plane-outage",),
    disruptive=True,
    lossless=True,
)
