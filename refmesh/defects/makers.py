"""What several defects are made of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from refmesh.api.client_tls import ClientTls
from refmesh.config.model import key_of

__all__ = ["changes_late", "in_plaintext"]


def in_plaintext(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Take clusters for such that want no TLS: what takes plaintext, too, is sent in plaintext."""

    def cluster_specs(*args: Any) -> Any:
        for spec, labels in sound(*args):
            yield replace(spec, policy=replace(spec.policy, tls=ClientTls("DISABLE"))), labels

    return cluster_specs


def changes_late(
    sound: Callable[..., Awaitable[None]],
    tables: Mapping[str, str],
    seconds: float,
    *,
    meanwhile: Callable[[Any], Any] | None = None,
) -> Callable[..., Awaitable[None]]:
    """Take in new objects at once, and changes after some seconds; until then what `meanwhile` makes of them.

    `sound` is the watcher's `_follow`; `tables` names the kinds, and where the store keeps each.
    """

    async def follow(watcher: Any, source: Any) -> None:
        store = watcher._store  # noqa: SLF001 - the seam
        put = store.put

        def late(kind: str, obj: Any) -> bool:
            def known() -> bool:
                return key_of(obj) in getattr(store.now(tables[kind]), tables[kind])

            def then() -> None:
                if known():  # it was not deleted meanwhile
                    watcher._note(source, changed=put(kind, obj))  # noqa: SLF001

            if kind != source.name or not known():
                return bool(put(kind, obj))
            asyncio.get_running_loop().call_later(seconds, then)
            return meanwhile is not None and bool(put(kind, meanwhile(obj)))

        if source.name in tables:
            store.put = late
        await sound(watcher, source)

    return follow
