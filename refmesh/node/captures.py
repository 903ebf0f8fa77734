"""Captures the pods of a node that wait for it: finds each one's network and has a process go there.

Edge-triggered by what the API server says; while somebody waits it looks through /proc, often at first and then less.
Whoever could not be captured is tried again later and later, and one at a time, so that it costs nobody else anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import Counter

from refmesh.node.processes import Network, networks
from refmesh.node.wanted import Wanted

__all__ = ["Captures"]

log = logging.getLogger(__name__)

_PACE_SECONDS = (0.03, 1.0)
_SLOWER = 0.05
"""Of the time that somebody has waited for already, so much is slept."""
_SHARE = 0.2
"""The most of a processor that looking through /proc may take; and so much again, that further attempts may."""
_ENTER_SECONDS = 20.0
_AT_ONCE = 4
_AGAIN_SECONDS = (0.25, 60.0)
"""After an attempt that failed, the next comes so much later, twice as late each time, up to the second."""
_SETTLED_SECONDS = (5.0, 60.0)
"""The same after a capture: where the pod waits on, its network may have got addresses of IPv6 since."""

_CAPTURES = Counter("refmesh_node_captures_total", "Captures of pods' networks by outcome", ["result"])


@dataclass
class _Waiting:
    pod: Wanted
    since: float
    network: Network | None = None
    """The one that is captured."""
    busy: bool = False
    """Whether a process is on its way there."""
    not_before: float = 0.0
    """When to look for its network again."""
    failures: int = 0
    captures: int = 0
    told: str = ""

    @property
    def first(self) -> bool:
        """Whether nothing was tried yet."""
        return not self.failures and not self.captures

    def later(self) -> None:
        """Put the next attempt off, after one that is counted already."""
        number, (least, most) = (self.failures, _AGAIN_SECONDS) if self.failures else (self.captures, _SETTLED_SECONDS)
        self.not_before = time.monotonic() + min(least * 2 ** min(number - 1, 16), most)


class Captures:
    """The pods that wait, by UID. `put` and `drop` say what is known of them; `run` does the work."""

    def __init__(self) -> None:
        self._waiting: dict[str, _Waiting] = {}
        self._news = asyncio.Event()
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._again = asyncio.Lock()

    def put(self, pod: Wanted) -> None:
        """Take note of a pod that waits; of one that is known already, nothing happens."""
        if pod.uid not in self._waiting:
            self._waiting[pod.uid] = _Waiting(pod, time.monotonic())
            self._news.set()

    def drop(self, uid: str) -> None:
        """Forget a pod: it waits no more, or is gone."""
        if (found := self._waiting.pop(uid, None)) is not None and found.network is not None:
            found.network.close()

    def known(self) -> set[str]:
        """The pods that wait."""
        return set(self._waiting)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._news.clear()
                used = await self._round(group)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._pause(used)):
                        await self._news.wait()

    def _pause(self, used: float) -> float | None:
        """Seconds until the next look, after one that used so much of a processor; None for when there is news."""
        now, (least, most) = time.monotonic(), _PACE_SECONDS
        pauses, since = list[float](), list[float]()
        for one in self._waiting.values():
            # Also of those that are captured, whose sandbox may be made anew, and of those that soon are.
            if one.busy or one.network is not None or one.not_before <= now:
                since.append(one.since)
            else:
                pauses.append(one.not_before - now)
        if since:
            pauses.append(min(max(least, (now - max(since)) * _SLOWER), most))
        return max(min(pauses), used / _SHARE, least) if pauses else None

    async def _round(self, group: asyncio.TaskGroup) -> float:
        """Look once for those who wait, and begin to capture who is found; the seconds of a processor that it took."""
        now = time.monotonic()
        for one in self._waiting.values():
            if one.network is None:
                continue
            if not one.network.alive():  # the sandbox is made anew: another network
                one.since = one.not_before = now
            if one.not_before <= now:
                one.network.close()
                one.network = None
        due = (one for one in self._waiting.values() if one.network is None and not one.busy)
        uids = {one.pod.uid for one in due if one.not_before <= now}
        if not uids:
            return 0.0
        try:
            found, used = await asyncio.to_thread(_look, uids)
        except OSError as error:
            log.warning("/proc cannot be read: %s", error)
            return 0.0
        for uid, network in found.items():
            waiting = self._waiting.get(uid)
            if waiting is None:  # forgotten meanwhile
                network.close()
            else:
                waiting.busy = True
                group.create_task(self._capture(waiting, network))
        return used

    async def _capture(self, one: _Waiting, network: Network) -> None:
        problem = await self._attempt(one, network)
        one.busy = False
        if problem is None:
            network.close()
            return
        if problem:
            one.failures += 1
            _CAPTURES.labels("failed").inc()
            if problem != one.told:
                one.told = problem
                log.warning("%s cannot be captured: %s", one.pod.name, problem)
        else:
            one.failures, one.captures = 0, one.captures + 1
            _CAPTURES.labels("captured").inc()
            if one.captures == 1:
                log.info("%s captured after %.2f s", one.pod.name, time.monotonic() - one.since)
        one.later()
        if problem or not self._is_known(one):
            network.close()
        else:
            one.network = network

    async def _attempt(self, one: _Waiting, network: Network) -> str | None:
        """Try once, and tell the problem, if there is one; None where the pod was gone before its turn came."""
        if one.first:
            async with self._at_once:
                return await _enter(network, one.pod.settings) if self._is_known(one) else None
        async with self._again:
            if not self._is_known(one):
                return None
            begun = time.monotonic()
            problem = await _enter(network, one.pod.settings)
            # It ran in one thread: no more of a processor than this.
            await asyncio.sleep((time.monotonic() - begun) * (1 / _SHARE - 1))
            return problem

    def _is_known(self, one: _Waiting) -> bool:
        return self._waiting.get(one.pod.uid) is one


def _look(uids: set[str]) -> tuple[dict[str, Network], float]:
    begun = time.thread_time()
    return networks(uids), time.thread_time() - begun


async def _enter(network: Network, settings: Mapping[str, str]) -> str:
    """Have a process put the rules in force in a network; the problem, if there is one."""
    # Of the pod's own words only the settings, which `capture` reads as data.
    environment = {key: os.environ[key] for key in ("PATH", "PYTHONPATH", "LANG") if key in os.environ} | dict(settings)
    command = (sys.executable, "-m", "refmesh.node.enter", str(network.namespace))
    return await _run(command, environment, network.namespace, _ENTER_SECONDS)


async def _run(command: Sequence[str], environment: Mapping[str, str], file: int, seconds: float) -> str:
    """Run a process that inherits one open file; the problem, if there is one. Nothing of it is left afterwards."""
    try:
        child = await asyncio.create_subprocess_exec(
            *command,
            env=environment,
            pass_fds=(file,),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # with the programs that it starts it is one group, which ends as one
        )
    except (OSError, ValueError) as error:
        return str(error)
    try:
        async with asyncio.timeout(seconds):
            _, said = await child.communicate()
    except TimeoutError:
        _end(child.pid)
        await child.wait()
        return f"the rules were not in force within {seconds:.0f} s"
    except asyncio.CancelledError:
        _end(child.pid)
        raise
    return " ".join(said.decode(errors="replace").split()) or "no reason given" if child.returncode else ""


def _end(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
