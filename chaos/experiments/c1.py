"""C1: the control plane at 0. Traffic goes on, and so does policy; after it, proxies take news again."""

from __future__ import annotations

from chaos.experiment import Experiment, NotHere, Setup
from chaos.faults import ScaleToZero
from chaos.judging import judged, no_added_errors, unrecovered
from chaos.model import History, Judgement
from chaos.objects import ECHO, ECHO_PORT, service
from chaos.scene import Scene
from conformance.pods import in_url
from reports.model import Verdict

__all__ = ["EXPERIMENT", "judge"]

CONVERGED_SECONDS = 10.0
"""From the control plane's readiness until proxies have taken news."""
LANDED_SECONDS = 40.0
"""For the control plane's pods to be gone: their usual grace period is 30 s, and some use all of it."""
FRESH_PORT = 8082
"""A port no other service has, so that no listener for it exists before."""


def judge(history: History) -> Judgement:
    """Not one error and no standstill, and proxies have news within 10 s of the control plane's readiness."""
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
    return Judgement(Verdict.PASS, f"{found.reason}; proxies took news {took:.1f} s after the control plane was ready")


def _prepare(scene: Scene) -> Setup:
    found = scene.adapter.control_plane()
    if found is None:
        raise NotHere("there is no control plane that could be taken away")
    namespace, deployment = found

    fresh = service(f"{ECHO}-after", scene.space, ECHO, "http", FRESH_PORT, ECHO_PORT)
    made: list[str] = []

    def back() -> bool:
        now = scene.kube.get("apps/v1", "Deployment", deployment, namespace)
        return bool(now and now.get("status", {}).get("readyReplicas"))

    def converged() -> bool:
        """Whether proxies take news again: a service made after the outage is routed to under strict mutual TLS.

        To a proxy that has not heard of it, its address is a stranger's, and plaintext there is refused. It is called
        by that, for a name server may remember for half a minute that there was no such name.
        """
        if not made:
            made.append(in_url(scene.kube.apply(fresh)[0]["spec"]["clusterIP"]))
        return scene.reaches(f"http://{made[0]}:{FRESH_PORT}/", host=f"{ECHO}-after.{scene.space}:{FRESH_PORT}")

    return Setup(
        fault=ScaleToZero(namespace, deployment),
        url=f"http://{ECHO}.{scene.space}:{ECHO_PORT}/",
        ready=back,
        awaited="the control plane",
        recovered=converged,
        landed_timeout=LANDED_SECONDS,
        facts={"control plane": f"{namespace}/{deployment}"},
    )


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
