"""What a proxy rejected and goes on without: nobody sends it again, so that it is remembered until something is new."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from refmesh.discovery.resource import ResourceType

__all__ = ["Rejections"]

_ONE_BY_ONE = (ResourceType.CLUSTER, ResourceType.LISTENER)
"""Of these Envoy takes what is good of a push, and names the others. Of the rest it stops at the first that is bad
(`WatchMap::onConfigUpdate`), in an order of its own: which of them it took nobody knows."""
_WHOLE_MESSAGE = 4096
"""Envoy cuts off what is longer (`truncateGrpcStatusMessage`)."""


class Rejections:
    """The resources of one type that a proxy rejected and has acknowledged in no other version since, and why."""

    __slots__ = ("_one_by_one", "_reasons")

    def __init__(self, kind: ResourceType) -> None:
        self._one_by_one = kind in _ONE_BY_ONE
        self._reasons: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._reasons)

    @property
    def first(self) -> str:
        """Why the oldest of them was rejected; empty where there is none."""
        return next(iter(self._reasons.values()), "")

    def forget(self, names: Iterable[str]) -> None:
        """These were acknowledged, or are gone."""
        if self._reasons:
            for name in names:
                self._reasons.pop(name, None)

    def add(self, names: Sequence[str], reason: str, message: str) -> None:
        """A push of these was rejected; `message` is what the proxy said, of which `reason` is as much as is shown."""
        self.forget(names)
        self._reasons |= dict.fromkeys(_named(names, message) if self._one_by_one else names, reason)


def _named(names: Sequence[str], message: str) -> Sequence[str]:
    """Those that a rejection is about; all where it does not say."""
    if len(message) > _WHOLE_MESSAGE:
        return names
    words = {word.strip("'\"()[],:;") for word in message.split()}
    return [name for name in names if name in words] or names
