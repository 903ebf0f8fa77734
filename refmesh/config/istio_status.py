"""Writes the statuses of Istio's kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from refmesh.config.conditions import now
from refmesh.config.model import Key
from refmesh.config.standing import Standing, wanted_istio_status
from refmesh.config.status_work import StatusWork, Where
from refmesh.kubeclient import Kube

__all__ = ["IstioStatusWriter", "Judge"]

_RETRY_SECONDS = 5.0
_PAUSE_SECONDS = 0.25


class Judge(Protocol):
    """Says what became of objects."""

    def of(self, kind: str, key: Key) -> Standing | None:
        """What became of one; None where it is not known."""
        ...


class IstioStatusWriter(StatusWork):
    """Judges and writes. `objects`: what there is, by kind and key, a new object after each change of one."""

    def __init__(
        self, kube: Kube, objects: Callable[[], Mapping[Where, Any]], leads: Callable[[], bool] = lambda: True
    ) -> None:
        super().__init__(
            "write statuses of Istio's kinds",
            kube,
            objects,
            leads,
            retry_seconds=_RETRY_SECONDS,
            pause_seconds=_PAUSE_SECONDS,
        )

    def offer(self, inputs: tuple[Any, ...], judge: Callable[[], Judge]) -> None:
        """A new state of the cluster. `inputs`: all that its judgements depend on, compared by identity."""
        self._offer(inputs, lambda: partial(_look, judge()))


def _look(judge: Judge, where: Where, raw: Any) -> tuple[int, dict[str, Any] | None] | None:
    standing = judge.of(*where)
    return (standing.generation, wanted_istio_status(standing, raw, now())) if standing is not None else None
