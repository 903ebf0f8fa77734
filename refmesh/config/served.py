"""Reads a kind in the first of its versions that the API server serves."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from refmesh.kubeclient import Kube, NotServed

__all__ = ["Versioned", "first_served", "listed", "version_of"]

_Read = TypeVar("_Read")


class Versioned(Protocol):
    """A kind, by the versions that it can be read in, the newest first."""

    @property
    def api_versions(self) -> tuple[str, ...]:
        """Group and version of each."""
        ...

    @property
    def plural(self) -> str:
        """Its name in paths."""
        ...


async def first_served(versions: Sequence[str], read: Callable[[str], Awaitable[_Read]]) -> _Read:
    """What `read` gives for the first version that it does not raise `NotServed` for; raised where there is none."""
    *newer, oldest = versions
    for version in newer:
        with contextlib.suppress(NotServed):
            return await read(version)
    return await read(oldest)


async def listed(kube: Kube, kind: Versioned, namespace: str | None = None) -> list[dict[str, Any]]:
    """Every object of a kind. Raises `NotServed` where the API server serves none of its versions."""
    return await first_served(kind.api_versions, lambda version: kube.list(version, kind.plural, namespace))


def version_of(kind: Versioned, obj: Mapping[str, Any]) -> str:
    """The version that an object was read in, and is to be written in."""
    return str(obj.get("apiVersion") or kind.api_versions[0])
