"""P1: a pod is killed. Its endpoint leaves, and no more is lost than was under way."""

from __future__ import annotations

from chaos.experiment import Experiment, Setup
from chaos.faults import PodKill
from chaos.judging import judged
from chaos.measures import disturbed, most_in_flight
from chaos.model import History, Judgement
from chaos.objects import ECHO, ECHO_PORT
from chaos.scene import Scene
from reports.errors import EnvironmentProblem
from reports.model import Verdict

__all__ = ["EXPERIMENT", "WITHIN_SECONDS", "judge"]

WITHIN_SECONDS = 5.0
"""From the kill until nothing is sent to the dead pod any more."""


def judge(history: History) -> Judgement:
    """Errors <= requests in flight at the worst moment after the kill; the last trace of the pod within 5 s."""
    marks, killed = history.marks, history.facts.get("killed")
    if not any(s.pod == killed and s.intended < marks.injected for s in history.samples):
        return Judgement(Verdict.INCONCLUSIVE, f"the pod {killed} had no traffic before it was killed")
    if marks.landed is None or marks.landed - marks.injected > WITHIN_SECONDS:
        return Judgement(Verdict.FAIL, f"the dead pod was an endpoint for more than {WITHIN_SECONDS:.0f} s")
    traces = [s for s in history.samples if s.start >= marks.injected and (s.pod == killed or not s.good)]
    last = max((s.start - marks.injected for s in traces), default=0.0)
    if last > WITHIN_SECONDS:
        return Judgement(Verdict.FAIL, f"a request was sent to the dead pod, or lost, {last:.1f} s after the kill")
    flying = max(1, most_in_flight(history.samples, marks.injected, marks.landed))
    rest = disturbed(history)
    if rest.errors > flying:
        return Judgement(
            Verdict.FAIL, f"{rest.errors} of {rest.requests} requests failed, at most {flying} were in flight at a time"
        )
    return Judgement(
        Verdict.PASS,
        f"{rest.errors} of {rest.requests} requests failed, {flying} were in flight; "
        f"the endpoint was gone after {marks.landed - marks.injected:.1f} s",
    )


def _prepare(scene: Scene) -> Setup:
    pods = scene.pods(ECHO)
    if len(pods) < 2:
        raise EnvironmentProblem(f"{ECHO} in {scene.space} has {len(pods)} pods; one must be left to serve")
    victim = pods[0]
    names = {pod["metadata"]["name"] for pod in pods}

    def back() -> bool:
        now = scene.kube.get("apps/v1", "Deployment", ECHO, scene.space)
        status = now.get("status", {}) if now else {}
        return status.get("readyReplicas") == len(names) and victim["metadata"]["name"] not in {
            pod["metadata"]["name"] for pod in scene.pods(ECHO)
        }

    return Setup(
        fault=PodKill(scene.space, victim["metadata"]["name"], victim["status"]["podIP"], ECHO),
        url=f"http://{ECHO}.{scene.space}:{ECHO_PORT}/?delay=10ms",
        recovered=back,
        during=2.5,
        facts={"killed": victim["metadata"]["name"]},
    )


EXPERIMENT = Experiment(
    id="P1",
    title="a pod is killed: its endpoint leaves",
    hypothesis="errors <= requests in flight, and nothing is sent to the dead pod after 5 s",
    fault=PodKill.name,
    prepare=_prepare,
    judge=judged(judge),
    proves=("endpoint-removal",),
)
