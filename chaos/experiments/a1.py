"""A1: a sham fault on a decoy. Shows that the harness does not call a fault survived that never was."""

from __future__ import annotations

from chaos.experiment import Experiment, Setup
from chaos.faults import Sham
from chaos.judging import judged, no_added_errors
from chaos.objects import DECOY, ECHO, ECHO_PORT
from chaos.scene import Scene
from reports.errors import EnvironmentProblem
from reports.model import Verdict

__all__ = ["EXPERIMENT"]


def _prepare(scene: Scene) -> Setup:
    pods = scene.pods(ECHO)
    if not pods:
        raise EnvironmentProblem(f"{ECHO} does not run in {scene.space}")
    return Setup(
        fault=Sham(scene.space, DECOY, pods[0]["metadata"]["name"], ECHO_PORT),
        url=f"http://{ECHO}.{scene.space}:{ECHO_PORT}/",
        before=1.2,
        landed_timeout=1.2,
    )


EXPERIMENT = Experiment(
    id="A1",
    title="sham fault on a decoy: the harness says so",
    hypothesis="comes out inconclusive, never as a pass",
    fault=Sham.name,
    prepare=_prepare,
    judge=judged(no_added_errors),
    proves=("harness-honesty",),
    expected=Verdict.INCONCLUSIVE,
    lossless=True,
)
