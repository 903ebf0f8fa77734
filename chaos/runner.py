"""Conducts one experiment: steady state, undo written, fault, proof that it landed, hold, undo, recovery, history.

Nothing is judged here.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from chaos.experiment import Setup
from chaos.guard import afterwards, allow
from chaos.log import Entry, NotTakenBack, remove
from chaos.measures import steady
from chaos.model import Fault, History, Marks, Sample
from chaos.scene import Scene
from chaos.wal import append
from fixtures.kube import Kube, NotEventually, eventually
from load.remote import Job
from load.spec import LoadSpec
from reports.errors import EnvironmentProblem

__all__ = ["conduct", "injected", "uninterrupted"]

POLL_SECONDS = 0.2
"""Between two looks at the load's records."""
UNDO_SECONDS = 20.0
"""For the undo, which is tried again and again: it does no harm twice, and the API server may be away for a moment."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C and its like back until the block has ended: an undo must not be cut in half by an impatient user."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []

    def hold(number: int, _: FrameType | None) -> None:
        held.append(number)

    heeded = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, hold) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if held:  # also where the block has failed: the user wants the end of it all
            raise KeyboardInterrupt


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
        return steady(self.samples, time.time(), span, self.job.spec.rate)

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
    allow(kube, *setup.fault.rights())
    longest = settings.steady_timeout + settings.landed_timeout + settings.recover_timeout + 30
    spec = LoadSpec(
        setup.url,
        setup.rate or settings.rate,
        longest,
        users=setup.users or settings.users,
        timeout=setup.timeout,
        record="requests",
    )
    served = scene.served()
    recorder = Recorder(scene.driver.start(spec))
    landed, landed_at, recovered = "", None, None
    try:
        report("steady state")
        _until_steady(recorder, settings.steady_span, settings.steady_timeout)
        started = time.time() - settings.steady_span
        _hold_until(started + (setup.before or settings.before))
        report(f"injecting {setup.fault.name}")
        injected_at = time.time()
        with injected(kube, setup.fault):
            landed, landed_at = _landed(kube, setup, settings.landed_timeout)
            if landed:
                report(f"holding: {landed}")
                _hold_until(max(injected_at + (setup.during or settings.during), time.time() + setup.hold))
            undone = time.time()
        report("recovering")
        recovered = _recovery(recorder, setup, undone, settings.steady_span, settings.recover_timeout)
        _hold_until(time.time() + settings.after)
        ended = time.time()
    except BaseException:
        with suppress(EnvironmentProblem):  # the error under way matters more
            recorder.finish()
        raise
    recorder.finish()
    return History(
        samples=tuple(sorted((s for s in recorder.samples if started <= s.intended < ended), key=lambda s: s.intended)),
        attempts=tuple(a for a in scene.outsider.attempts() if started <= a.at <= ended),
        marks=Marks(started, injected_at, landed_at, undone, recovered, ended),
        landed=landed,
        pulse=recorder.pulse,
        arrivals=_arrivals(served, scene.served(), recorder.samples),
        sent=len(recorder.samples),
        facts=setup.facts,
    )


def _until_steady(recorder: Recorder, span: float, timeout: float) -> None:
    eventually(
        lambda: recorder.steady(span),
        timeout=timeout,
        interval=POLL_SECONDS,
        what=f"traffic to {recorder.job.spec.url} is steady before the fault",
    )


def _landed(kube: Kube, setup: Setup, timeout: float) -> tuple[str, float | None]:
    """What shows the fault and since when; ("", None) where nothing did in time."""
    try:
        shown = eventually(
            lambda: setup.fault.landed(kube),
            timeout=setup.landed_timeout or timeout,
            interval=0.1,
            what=f"{setup.fault.name} has landed",
        )
    except NotEventually:
        return "", None
    return shown, time.time()


def _recovery(recorder: Recorder, setup: Setup, undone: float, span: float, timeout: float) -> float | None:
    """When traffic was steady and all that must hold beside it held; None where that did not come about.

    Steady is what lasts for a span, so it began a span ago; what must hold beside it may have begun later than that.
    """
    holds: list[float] = []

    def again() -> bool:
        asked = time.time()
        try:
            held = setup.recovered()
        except Exception:
            holds.clear()
            raise
        if not held:
            holds.clear()
            return False
        if not holds:
            holds.append(asked)
        return time.time() - undone >= span and recorder.steady(span)

    try:
        eventually(again, timeout=timeout, interval=POLL_SECONDS, what="traffic is steady after the undo")
    except NotEventually:
        return None
    return max(undone, holds[0], time.time() - span)


def _hold_until(instant: float) -> None:
    """Let time pass: the length of a phase is part of the method, there is nothing to wait for."""
    time.sleep(max(0.0, instant - time.time()))


def _arrivals(before: dict[str, int], after: dict[str, int], samples: list[Sample]) -> int | None:
    """Requests that reached the echo servers; of a pod that is gone only its answers are known."""
    if not before or not after:
        return None
    gone = sum(s.pod in before and s.pod not in after for s in samples)
    return gone + sum(count - before.get(pod, 0) for pod, count in after.items())
