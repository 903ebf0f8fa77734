"""P1: a pod is killed. Its endpoint leaves, and no more is lost than was under way or on its way to the dead pod."""

from __future__ import annotations

import math

from chaos.experiment import Experiment, Setup
from chaos.faults import PodKill
from chaos.judging import judged, stood_still
from chaos.measures import disturbed, most_in_flight, silences
from chaos.model import History, Judgement
from chaos.objects import ECHO, ECHO_PORT
from chaos.scene import Scene
from reports.errors import EnvironmentProblem
from reports.model import JSON, Verdict

__all__ = ["DROPPED", "EXPERIMENT", "WITHIN_SECONDS", "judge"]

WITHIN_SECONDS = 5.0
"""From the kill until nothing is sent to the dead pod any more."""
SPREAD_SECONDS = 1.0
"""From when Kubernetes dropped the endpoint until every proxy has heard of it. What was sent to the dead pod before is
lost where nobody sends it again, and a mesh need not."""
USERS = 300
"""Connections of the load. Half of a hundred requests a second go to the dead pod, and each may hang until the client
gives it up after 5 s: the other pod's requests must not have to wait for that."""
DROPPED = "seconds until Kubernetes dropped the endpoint"


def judge(history: History) -> Judgement:
    """Errors <= requests in flight, and sent to the pod before proxies could know; the last trace of it within 5 s.

    Where Kubernetes itself still listed the pod after that time, no mesh is blamed: it knows of the death from there.
    """
    killed, dropped = history.facts.get("killed"), history.facts.get(DROPPED)
    if not any(s.pod == killed and s.intended < history.marks.injected for s in history.samples):
        return Judgement(Verdict.INCONCLUSIVE, f"the pod {killed} had no traffic before it was killed")
    listed = float(dropped) if isinstance(dropped, int | float) else None
    found = _judged(history, killed, WITHIN_SECONDS if listed is None else min(listed, WITHIN_SECONDS))
    if found.verdict is Verdict.PASS or (listed is not None and listed <= WITHIN_SECONDS):
        return found
    long = "to the end" if listed is None else f"for {listed:.1f} s"
    return Judgement(Verdict.INCONCLUSIVE, f"{found.reason}; but Kubernetes itself listed the dead pod {long}")


def _judged(history: History, killed: JSON, listed: float) -> Judgement:
    """The same, given for how many seconds the dead pod was listed."""
    injected = history.marks.injected
    traces = [s for s in history.samples if s.start >= injected and (s.pod == killed or not s.good)]
    last = max((s.start - injected for s in traces), default=0.0)
    if last > WITHIN_SECONDS:
        return Judgement(Verdict.FAIL, f"a request was sent to the dead pod, or lost, {last:.1f} s after the kill")
    if (still := stood_still(history, WITHIN_SECONDS)) is not None:
        return still
    # A request that hangs is dated by its send. For how long all hung shows by those that waited behind them.
    last = max((last, *(one.end - injected for one in silences(history) if one.meshs)))
    # At the kill alone: later those are under way as well that hang, and they are among those sent to the pod.
    flying = max(1, most_in_flight(history.samples, injected, injected))
    known = injected + listed + SPREAD_SECONDS
    blind, rest = _blind(history, killed, known), disturbed(history)
    told = f"{rest.errors} of {rest.requests} requests failed, {flying} were in flight at the kill"
    told += f" and {blind} sent to the pod before proxies could know"
    # What was lost after that is no one's but the mesh's, however much might have been lost before.
    late = sum(not s.good and s.start >= known for s in history.samples)
    told += f", {late} failed later" if late else ""
    if late > flying or rest.errors > flying + blind:
        return Judgement(Verdict.FAIL, told)
    return Judgement(Verdict.PASS, f"{told}; the last trace of the dead pod was {last:.1f} s after the kill")


def _blind(history: History, killed: JSON, known: float) -> int:
    """How many requests went to the dead pod before that moment, by its share of those before the kill."""
    injected = history.marks.injected
    base = [s.pod == killed for s in history.samples if s.good and s.intended < injected]
    sent = sum(injected <= s.start < known for s in history.samples)
    return math.ceil(sent * sum(base) / len(base)) if base else 0


def _prepare(scene: Scene) -> Setup:
    pods = scene.pods(ECHO)
    if len(pods) < 2:
        raise EnvironmentProblem(f"{ECHO} in {scene.space} has {len(pods)} pods; one must be left to serve")
    victim = pods[0]["metadata"]["name"]
    fault = PodKill(scene.space, victim, pods[0].get("status", {}).get("podIP", ""), ECHO)
    facts: dict[str, JSON] = {"killed": victim}

    def look(seconds: float) -> None:
        if DROPPED not in facts and not fault.listed(scene.kube):
            facts[DROPPED] = round(seconds, 2)

    def back() -> bool:
        now = scene.kube.get("apps/v1", "Deployment", ECHO, scene.space)
        status = now.get("status", {}) if now else {}
        alive = {pod["metadata"]["name"] for pod in scene.pods(ECHO)}
        return status.get("readyReplicas") == len(pods) and victim not in alive

    return Setup(
        fault=fault,
        url=f"http://{ECHO}.{scene.space}:{ECHO_PORT}/?delay=10ms",
        users=USERS,
        ready=back,
        awaited="the pod that replaces the dead one",
        lasting=False,
        observe=look,
        during=2.5,
        victims=(victim,),
        facts=facts,
    )


EXPERIMENT = Experiment(
    id="P1",
    title="a pod is killed: its endpoint leaves",
    hypothesis="errors <= requests in flight, and sent to it before proxies could know; none to the dead pod after 5 s",
    fault=PodKill.name,
    prepare=_prepare,
    judge=judged(judge),
    proves=("endpoint-removal",),
)
