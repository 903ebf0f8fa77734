"""Conducts one experiment: steady state, undo written, fault, proof that it landed, hold, undo, recovery, history.

Nothing is judged here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from chaos.experiment import Setup
from chaos.fates import fates, fresh
from chaos.guard import afterwards
from chaos.interrupts import uninterrupted
from chaos.log import Entry, NotTakenBack, remove
from chaos.measures import steady
from chaos.model import Fault, History, Marks, Sample
from chaos.scene import Scene
from chaos.settings import Settings
from chaos.wal import append
from fixtures.kube import Kube, NotEventually, eventually
from load.remote import Job
from load.spec import LoadSpec
from reports.errors import EnvironmentProblem

__all__ = ["conduct", "injected"]

POLL_SECONDS = 0.2
"""Between two looks at the load's records."""
UNDO_SECONDS = 20.0
"""For the undo, which is tried again and again: it does no harm twice, and the API server may be away for a moment."""
STILL_SECONDS = 5.0
"""For asking, at the end of its hold, whether the fault is in force still."""


@contextmanager
def injected(kube: Kube, fault: Fault) -> Iterator[None]:
    """A fault for the length of a `with` block.

    Its undo is in the cluster's log before it acts, and is done even when the block raises. Raises NotTakenBack where
    that does not come about, or goes on with the interrupt that ended the block; its entry then stays in the log.
    """
    entry: Entry = append(kube, fault.plan(kube))
    with afterwards(lambda: _take_back(kube, fault, entry)):
        fault.inject(kube)
        yield


def _take_back(kube: Kube, fault: Fault, entry: Entry) -> None:
    def done() -> bool:
        fault.undo(kube, entry.undo.arguments)
        remove(kube, entry)
        return True

    try:
        with uninterrupted():
            eventually(done, timeout=UNDO_SECONDS, interval=0.5, what=f"{fault.name} is taken back")
    except NotEventually as problem:
        raise NotTakenBack(
            problem.problem, fix="see that the cluster answers, then `meshproof chaos restore`"
        ) from problem


class Recorder:
    """The load job under way and what it has recorded so far."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.samples: list[Sample] = []
        self.pulse: tuple[tuple[float, float], ...] = ()

    def steady(self, span: float) -> bool:
        """Fetch what is new, and say whether the last `span` seconds were served in full."""
        told = self.job.progress(len(self.samples))
        self.samples += told.samples
        if told.state != "running":
            raise EnvironmentProblem(f"the load job ended by itself: {told.state} {told.problem}")
        now = time.time() if told.now is None else told.now  # an answer may be long under way
        return steady(self.samples, now, span, self.job.spec.rate)

    def finish(self) -> None:
        """Stop the load and fetch the rest."""
        told = self.job.stop()
        self.samples, self.pulse = list(told.samples), told.pulse


def conduct(scene: Scene, setup: Setup, report: Callable[[str], None]) -> History:
    """Run the experiment and give its history.

    Raises EnvironmentProblem when there is no steady state to begin with, or when the cluster cannot be reached.
    """
    settings, kube = scene.settings, scene.kube
    if why := setup.fault.available(kube):
        raise EnvironmentProblem(f"the fault {setup.fault.name} cannot be injected: {why}")
    scene.allow(setup.fault.rights())
    scene.expect_guarded()
    spec = LoadSpec(
        setup.url,
        setup.rate or settings.rate,
        _longest(setup, settings),
        users=setup.users or settings.users,
        timeout=setup.timeout,
        record="requests",
    )
    stood, told, served = scene.standing(), scene.events(), scene.served()
    recorder = Recorder(scene.driver.start(spec))
    landed, landed_at, unasked, held = "", None, "", True
    try:
        report("steady state")
        _until_steady(recorder, settings.steady_span, settings.steady_timeout)
        started = time.time() - settings.steady_span
        _hold_until(started + (setup.before or settings.before))
        report(f"injecting {setup.fault.name}")
        scene.expect_held()
        injected_at = time.time()
        with injected(kube, setup.fault):
            landed, landed_at, unasked = _landed(kube, setup, _patience(setup, settings))
            if landed:
                report(f"holding: {landed}")
                until = max(injected_at + (setup.during or settings.during), time.time() + setup.hold)
                _observe_until(until, setup, injected_at)
                held = _still(kube, setup)
            undone = time.time()
        report("recovering")
        recovery = _recovery(recorder, setup, injected_at, undone, settings)
        _hold_until(time.time() + settings.after)
        ended = time.time()
    except BaseException:
        with suppress(EnvironmentProblem):  # the error under way matters more
            recorder.finish()
        raise
    recorder.finish()
    became = fates(stood, scene.standing(), fresh(told, scene.events()), setup.victims)
    return History(
        samples=tuple(sorted((s for s in recorder.samples if started <= s.intended < ended), key=lambda s: s.intended)),
        attempts=tuple(a for a in scene.outsider.attempts() if started <= a.at <= ended),
        marks=Marks(started, injected_at, landed_at, undone, recovery.whole, ended, recovery.steady, recovery.ready),
        landed=landed,
        unasked=unasked,
        held=held,
        awaited=setup.awaited,
        lasting=setup.lasting,
        cuts=setup.cuts,
        timeout=setup.timeout,
        pulse=recorder.pulse,
        arrivals=_arrivals(served, scene.served(), recorder.samples),
        sent=len(recorder.samples),
        strays=became.strays,
        crashes=became.crashes,
        facts=setup.facts,
    )


def _patience(setup: Setup, settings: Settings) -> float:
    """Seconds for the fault to land."""
    return setup.landed_timeout or settings.landed_timeout


def _longest(setup: Setup, settings: Settings) -> float:
    """Seconds for which the load must last, whatever the experiment waits for."""
    waits = settings.steady_timeout + _patience(setup, settings) + settings.ready_timeout
    return waits + 2 * settings.recover_timeout + 30


def _until_steady(recorder: Recorder, span: float, timeout: float) -> None:
    eventually(
        lambda: recorder.steady(span),
        timeout=timeout,
        interval=POLL_SECONDS,
        what=f"traffic to {recorder.job.spec.url} is steady before the fault",
    )


def _landed(kube: Kube, setup: Setup, timeout: float) -> tuple[str, float | None, str]:
    """What shows the fault and since when; ("", None) where nothing did in time, and why where nobody could look."""
    try:
        shown = eventually(
            lambda: setup.fault.landed(kube),
            timeout=timeout,
            interval=0.1,
            what=f"{setup.fault.name} has landed",
        )
    except NotEventually as problem:
        last = problem.last
        return "", None, f"{type(last).__name__}: {last}" if isinstance(last, BaseException) else ""
    return shown, time.time(), ""


def _observe_until(until: float, setup: Setup, injected_at: float) -> None:
    """Let the time of the hold pass, and look at what the experiment wants to see of it."""
    while time.time() < until:
        _observe(setup, injected_at)
        _hold_until(min(until, time.time() + POLL_SECONDS))


def _observe(setup: Setup, injected_at: float) -> None:
    with suppress(EnvironmentProblem):  # a look may be missed
        setup.observe(time.time() - injected_at)


def _still(kube: Kube, setup: Setup) -> bool:
    """Whether the fault shows at the end of its hold as at the beginning: others may put right what is broken."""
    shown: list[str] = []

    def asked() -> bool:
        shown.append(setup.fault.landed(kube))
        return True

    with suppress(NotEventually):
        eventually(asked, timeout=STILL_SECONDS, interval=0.2, what=f"{setup.fault.name} can be asked for")
    return bool(shown and shown[-1])


@dataclass
class Recovery:
    """Since when what must hold after the undo has held; None for what did not come about."""

    steady: float | None = None
    """Traffic alone."""
    ready: float | None = None
    """What the fault took is there again."""
    held: float | None = None
    """What the mesh must do then."""
    whole: float | None = None
    """All of it at once."""


def _recovery(recorder: Recorder, setup: Setup, injected_at: float, undone: float, settings: Settings) -> Recovery:
    """Wait until traffic is steady and all that must hold beside it holds.

    Traffic has its time from the undo on, or from the return of what the fault took; that return has a longer one, for
    how soon a pod starts is no matter of the mesh. Steady is what lasts for a span, so it began a span ago; what must
    hold beside it may have begun later than that.
    """
    span, now = settings.steady_span, Recovery()

    def over() -> bool:
        if now.steady is not None and now.ready is None:
            return time.time() > undone + max(settings.ready_timeout, settings.recover_timeout)
        return time.time() > max(undone, now.ready or undone) + settings.recover_timeout

    def again() -> bool:
        if over():
            return True
        _observe(setup, injected_at)
        steady = time.time() - undone >= span and recorder.steady(span)
        if steady and now.steady is None:
            now.steady = max(undone, time.time() - span)
        now.ready = _since(now.ready, setup.ready)
        now.held = None if now.ready is None else _since(now.held, setup.recovered)
        if not steady or now.ready is None or now.held is None:
            return False
        now.whole = max(undone, now.ready, now.held, time.time() - span)
        return True

    longest = settings.ready_timeout + 2 * settings.recover_timeout
    with suppress(NotEventually):
        eventually(again, timeout=longest, interval=POLL_SECONDS, what="traffic is steady after the undo")
    return now


def _since(before: float | None, holds: Callable[[], bool]) -> float | None:
    """Since when something has held without a break; what cannot be told for a moment does not hold."""
    asked = time.time()
    try:
        held = holds()
    except Exception:  # noqa: BLE001 - as everywhere in `eventually`: not yet
        return None
    return (asked if before is None else before) if held else None


def _hold_until(instant: float) -> None:
    """Let time pass: the length of a phase is part of the method, there is nothing to wait for."""
    time.sleep(max(0.0, instant - time.time()))


def _arrivals(before: dict[str, int], after: dict[str, int], samples: list[Sample]) -> int | None:
    """Requests that reached the echo servers; of a pod that is gone only its answers are known."""
    if not before or not after:
        return None
    gone = sum(s.pod in before and s.pod not in after for s in samples)
    return gone + sum(count - before.get(pod, 0) for pod, count in after.items())
