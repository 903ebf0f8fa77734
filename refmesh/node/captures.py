"""Captures the pods of a node that wait for it: finds each one's network and has a process go there.

Edge-triggered by what the API server says; while somebody waits it looks through /proc, often at first and then less.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import Mapping
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
"""The most of a processor that looking through /proc may take."""
_ENTER_SECONDS = 20.0
_AT_ONCE = 4

_CAPTURES = Counter("refmesh_node_captures_total", "Captures of pods' networks by outcome", ["result"])


@dataclass
class _Waiting:
    pod: Wanted
    since: float
    network: Network | None = None
    """The one that is captured."""
    busy: bool = False
    """Whether a process is on its way there."""
    told: str = ""


class Captures:
    """The pods that wait, by UID. `put` and `drop` say what is known of them; `run` does the work."""

    def __init__(self) -> None:
        self._waiting: dict[str, _Waiting] = {}
        self._news = asyncio.Event()
        self._at_once = asyncio.Semaphore(_AT_ONCE)

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
        if not self._waiting:
            return None
        youngest = time.monotonic() - max(one.since for one in self._waiting.values())
        least, most = _PACE_SECONDS
        return max(min(max(least, youngest * _SLOWER), most), used / _SHARE)

    async def _round(self, group: asyncio.TaskGroup) -> float:
        """Look once for those who wait, and begin to capture who is found; the seconds of a processor that it took."""
        for one in self._waiting.values():
            if one.network is not None and not one.network.alive():
                one.network.close()  # the sandbox is made anew: another network
                one.network, one.since = None, time.monotonic()
        uids = {uid for uid, one in self._waiting.items() if one.network is None and not one.busy}
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
        async with self._at_once:
            problem = await _enter(network, one.pod.settings)
        one.busy = False
        if problem:
            _CAPTURES.labels("failed").inc()
            if problem != one.told:
                one.told = problem
                log.warning("%s cannot be captured: %s", one.pod.name, problem)
        else:
            _CAPTURES.labels("captured").inc()
            log.info("%s captured after %.2f s", one.pod.name, time.monotonic() - one.since)
        if problem or self._waiting.get(one.pod.uid) is not one:
            network.close()
        else:
            one.network = network


def _look(uids: set[str]) -> tuple[dict[str, Network], float]:
    begun = time.thread_time()
    return networks(uids), time.thread_time() - begun


async def _enter(network: Network, settings: Mapping[str, str]) -> str:
    """Have a process put the rules in force in a network; the problem, if there is one."""
    # Of the pod's own words only the settings, which `capture` reads as data.
    environment = {key: os.environ[key] for key in ("PATH", "PYTHONPATH", "LANG") if key in os.environ} | dict(settings)
    command = (sys.executable, "-m", "refmesh.node.enter", str(network.namespace))
    try:
        child = await asyncio.create_subprocess_exec(
            *command,
            env=environment,
            pass_fds=(network.namespace,),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except (OSError, ValueError) as error:
        return str(error)
    try:
        async with asyncio.timeout(_ENTER_SECONDS):
            _, said = await child.communicate()
    except TimeoutError:
        child.kill()
        await child.wait()
        return f"the rules were not in force within {_ENTER_SECONDS:.0f} s"
    return " ".join(said.decode(errors="replace").split()) or "no reason given" if child.returncode else ""
