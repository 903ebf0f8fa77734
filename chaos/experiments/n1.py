"""N1: latency between two workloads, by toxiproxy. Timeouts are honoured."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chaos.experiment import Experiment, NotHere, Setup
from chaos.faults import Toxic
from chaos.judging import judged
from chaos.measures import standstill
from chaos.meshing import words_for
from chaos.model import History, Judgement, Sample
from chaos.objects import BETWEEN, BETWEEN_PORT, ECHO
from chaos.scene import Scene
from conformance.intents import RouteTimeout
from fixtures.kube import eventually
from load.histograms import percentile
from load.spec import LoadSpec
from reports.errors import EnvironmentProblem
from reports.model import Verdict

__all__ = ["EXPERIMENT", "TIMEOUT_SECONDS", "TOLERANCE", "judge"]

TIMEOUT_SECONDS = 1.0
LATENCY_MS = 2500
TOLERANCE = 0.10
MIN_CUT = 50
"""Requests under the fault below which their p99 says nothing."""
MOST_ASIDE = 0.1
"""The share of them that a pass may leave out because the machine stood still: one standstill of 0.4 s makes as many
late. Of all requests the p99 of the rest is then the p89 at least."""


def judge(history: History) -> Judgement:
    """The p99 of the requests under the fault is at most the timeout and a tenth of it.

    Counted from the send: a driver that was late is no fault of the mesh. Nor is a cut that came late while the whole
    machine stood still, as the driver's own clock shows; such requests are set aside, few may be, and it is said.
    """
    marks, limit = history.marks, float(str(history.facts["timeout seconds"]))
    end = marks.undone - limit  # what left later may have been answered after the undo
    mine = [s for s in history.samples if marks.landed is not None and marks.landed <= s.intended < end]
    under = len(mine)
    mine = [s for s in mine if not _stalled(s, limit, history.pulse)]
    if len(mine) < 0.8 * under:
        return Judgement(
            Verdict.INCONCLUSIVE,
            f"the machine stood still while {under - len(mine)} of {under} requests were to be cut",
        )
    if len(mine) < MIN_CUT:
        return Judgement(Verdict.INCONCLUSIVE, f"{len(mine)} requests under the fault are fewer than {MIN_CUT}")
    cut = sum(not s.good for s in mine)
    p99 = percentile(sorted(s.seconds for s in mine), 99)
    if p99 > limit * (1 + TOLERANCE):
        return Judgement(
            Verdict.FAIL, f"p99 was {p99 * 1000:.0f} ms under a timeout of {limit * 1000:.0f} ms and 10 % tolerance"
        )
    if cut < 0.9 * len(mine):
        return Judgement(
            Verdict.INCONCLUSIVE,
            f"only {cut} of {len(mine)} requests met the latency of {LATENCY_MS} ms: the timeout was hardly tested",
        )
    early = sum(1 for s in mine if not s.good and s.seconds < limit * (1 - TOLERANCE))
    if early > 0.1 * len(mine):
        return Judgement(Verdict.FAIL, f"{early} of {len(mine)} requests failed before their timeout had passed")
    told = f"{cut} of {len(mine)} delayed requests were cut off, p99 {p99 * 1000:.0f} ms of these "
    told += f"under the mesh's route timeout of {limit * 1000:.0f} ms"
    if aside := under - len(mine):
        told += f"; {aside} more came late while the machine stood still"
    if aside > MOST_ASIDE * under:
        return Judgement(Verdict.INCONCLUSIVE, f"{told}, too many to be left out")
    return Judgement(Verdict.PASS, told)


def _stalled(sample: Sample, limit: float, pulse: Sequence[tuple[float, float]]) -> bool:
    """Whether a request that outlived its limit did so in step with the driver's own clock.

    At least half of the time beyond the limit must be lateness of the clock.
    """
    due, end = sample.start + limit, sample.end
    return end > due + limit * TOLERANCE and standstill(pulse, due, end) >= (end - due) / 2


def _prepare(scene: Scene) -> Setup:
    pods = scene.pods(BETWEEN)
    if not pods:
        raise EnvironmentProblem(f"toxiproxy does not run in {scene.space}")
    url = f"http://{BETWEEN}.{scene.space}:{BETWEEN_PORT}/"
    words = words_for(scene.adapter, RouteTimeout(scene.space, BETWEEN, BETWEEN_PORT, TIMEOUT_SECONDS))
    if isinstance(words, str):
        raise NotHere(words)  # a client's own timeout would say nothing about the mesh
    for part in words.merges:
        name, space = part["metadata"]["name"], part["metadata"].get("namespace")
        scene.kube.patch(part["apiVersion"], part["kind"], name, part, space)
    scene.kube.apply(*words.objects, namespace=scene.space)
    eventually(_cut_off(scene, url), timeout=scene.settings.strict_timeout, what="the mesh's route timeout is in force")
    return Setup(
        fault=Toxic(
            namespace=scene.space,
            pod=pods[0]["metadata"]["name"],
            proxy=ECHO,
            port=BETWEEN_PORT,
            toxic="latency",
            attributes={"latency": LATENCY_MS, "jitter": 0},
        ),
        url=url,
        rate=60.0,
        users=100,
        hold=TIMEOUT_SECONDS + 2.0,
        timeout=5.0,
        cuts=True,
        facts={"timeout seconds": TIMEOUT_SECONDS},
    )


def _cut_off(scene: Scene, url: str) -> Callable[[], bool]:
    """Whether the mesh answers a request whose server is too slow, in time and with an error."""

    def asked() -> bool:
        spec = LoadSpec(f"{url}?delay=1300ms", 10, 0.1, users=1, timeout=4.0, record="requests")
        samples: tuple[Sample, ...] = scene.driver.start(spec).wait().samples
        return len(samples) == 1 and samples[0].status == 504

    return asked


EXPERIMENT = Experiment(
    id="N1",
    title="latency between two workloads: timeouts are honoured",
    hypothesis="p99 <= timeout + 10 %",
    fault=Toxic.name,
    prepare=_prepare,
    judge=judged(judge),
    proves=("route-timeout",),
)
