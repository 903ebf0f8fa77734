"""Writes statuses of objects: after each change of what they are judged by, and only those that say otherwise."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Any

from refmesh.api.kinds import BY_NAME
from refmesh.config.leader_work import LeaderWork
from refmesh.config.model import Key
from refmesh.config.patching import patch_status
from refmesh.kubeclient import LOST, Conflict, Kube, KubeError

__all__ = ["Look", "StatusWork", "Where"]

log = logging.getLogger(__name__)

Where = tuple[str, Key]
"""Kind and key of an object."""
Look = Callable[[Where, Any], tuple[int, dict[str, Any] | None] | None]
"""Judges an object as the API server sent it: the generation that is judged, and the status that it should have (None:
the one that it has); None where nothing is known of it."""

_SHARE = 4
"""So many times as long as judging took is waited at least before everything is judged again."""
_AT_ONCE = 20
"""So many objects are judged before others get a turn."""
_FINAL = {400, 404, 413, 422}
"""What the API server says of a status that it will not take, or of an object that is gone: not to be asked again."""
_NOBODY = {401, 429, 503}
"""What it says where no write goes through now. Any other refusal may be one object's, of a webhook say."""
_MOST_REFUSALS = 32
"""After so many a round ends. What was refused the most is tried last, so that nothing waits behind it for good."""


class StatusWork(LeaderWork):
    """Judges and writes. `objects`: what there is, by kind and key, a new object after each change of one.

    `pause_seconds` is waited at least after a round in which anything was judged.
    """

    def __init__(
        self,
        name: str,
        kube: Kube,
        objects: Callable[[], Mapping[Where, Any]],
        leads: Callable[[], bool],
        *,
        retry_seconds: float,
        pause_seconds: float,
    ) -> None:
        super().__init__(name, leads, retry_seconds)
        self._kube, self._objects, self._pause_seconds = kube, objects, pause_seconds
        self._offered: tuple[tuple[Any, ...], Callable[[], Look]] | None = None
        self._judged: tuple[Any, ...] = ()
        self._look: Look | None = None
        self._settled: dict[Where, Any] = {}
        """Objects that need no look before something changes, as they were when they were looked at."""
        self._refusals: dict[Where, int] = {}
        """How often the status of an object was refused, of those that are to be tried again."""

    def _offer(self, inputs: tuple[Any, ...], look: Callable[[], Look]) -> None:
        """A new state of the cluster. `inputs`: all that judgements depend on, compared by identity."""
        self._offered = (inputs, look)
        self.wake()

    def _follow(self) -> None:
        self._judged, self._settled, self._refusals = (), {}, {}

    async def _work(self) -> bool:
        if self._offered is None:
            return True
        (inputs, look), clock = self._offered, time.perf_counter
        spent = -clock()
        if self._look is None or not _same(inputs, self._judged):
            self._look, self._judged, self._settled = look(), inputs, {}
        objects = dict(self._objects())
        self._settled = {where: raw for where, raw in self._settled.items() if where in objects}
        changed = [(where, raw) for where, raw in objects.items() if self._settled.get(where) is not raw]
        self._refusals = {where: number for where, number in self._refusals.items() if where in objects}
        changed.sort(key=lambda one: self._refusals.get(one[0], 0))
        spent += clock()
        complete, refused = True, 0
        for index, (where, raw) in enumerate(changed, 1):
            if index % _AT_ONCE == 0:
                await asyncio.sleep(0)
            spent -= clock()
            judged = self._look(where, raw)
            spent += clock()
            if judged is None or judged[0] != int(raw["metadata"].get("generation") or 0):
                continue  # newer than what was judged: the next snapshot has it
            status = judged[1]
            outcome = await self._write(where, raw, status) if status is not None else _Outcome.SETTLED
            if outcome is _Outcome.SETTLED:
                self._settled[where] = raw
                self._refusals.pop(where, None)
                continue
            complete = False
            if outcome is _Outcome.REFUSED:
                self._refusals[where] = self._refusals.get(where, 0) + 1
                refused += 1
            if outcome is _Outcome.NOTHING_GOES or refused == _MOST_REFUSALS:
                break
        if changed:
            await asyncio.sleep(max(self._pause_seconds, _SHARE * spent))
        return complete

    async def _write(self, where: Where, raw: Any, status: dict[str, Any]) -> _Outcome:
        kind, key = where
        if not self._leads():
            return _Outcome.NOTHING_GOES
        try:
            await patch_status(self._kube, BY_NAME[kind], key, raw, status)
        except Conflict:
            return _Outcome.AGAIN  # the object as it is now comes by the watch
        except LOST as error:
            log.info("status of %s %s/%s not written: %s", kind, *key, error)
            if not isinstance(error, KubeError) or error.status in _NOBODY:
                return _Outcome.NOTHING_GOES
            return _Outcome.SETTLED if error.status in _FINAL else _Outcome.REFUSED
        return _Outcome.SETTLED


class _Outcome(Enum):
    """What became of a write: nothing is left to do, it is to be done again (after a refusal), or none goes through."""

    SETTLED = auto()
    AGAIN = auto()
    REFUSED = auto()
    NOTHING_GOES = auto()


def _same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Whether nothing changed: tables by identity, what is no table by value."""
    return len(one) == len(other) and all(
        a is b or (isinstance(a, tuple) and a == b) for a, b in zip(one, other, strict=True)
    )
