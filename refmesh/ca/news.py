"""Tells agents that trust has changed, and hears from them which trust their proxies use: on the discovery port.

The question is held back until there is an answer. Whose it is says the client's certificate: it must be that of the
pod in the question, as for a discovery stream.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc

from refmesh.ca import wire
from refmesh.ca.hints import METHOD, SERVICE, Hint, Question

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from refmesh.ca.authority import Authority

__all__ = ["HELD_SECONDS", "News"]

HELD_SECONDS = 55.0
"""How long a question is held back."""
_ENROLMENTS_PER_SECOND = 100.0
"""What one replica signs without keeping anybody waiting, by measurement a third of what it can."""


class News:
    """Answers agents. `admit` gives the pod of a node id as `namespace/name`, and ends calls of anybody else.

    `proxies` gives the number of those connected: the more there are, the longer they spread.
    """

    def __init__(
        self, authority: Authority, admit: Callable[[str, Any], Awaitable[str]], proxies: Callable[[], int]
    ) -> None:
        self._authority, self._admit, self._proxies = authority, admit, proxies
        self._held: dict[str, asyncio.Task[int]] = {}
        """The question of each pod."""

    def handler(self) -> Any:
        """The gRPC handler."""
        method = grpc.unary_unary_rpc_method_handler(self._await)
        return grpc.method_handlers_generic_handler(SERVICE, {METHOD.rpartition("/")[2]: method})

    async def _await(self, request: bytes, context: Any) -> bytes:
        try:
            question = Question.decode(request)
        except wire.Malformed:
            question = Question("", 0)  # nobody's
        pod = await self._admit(question.node, context)
        self._authority.ledger.confirm(pod, question.known)
        if (older := self._held.get(pod)) is not None:
            older.cancel()  # answered now: a pod has one question
        held = self._held[pod] = asyncio.create_task(self._authority.changed(question.known, HELD_SECONDS))
        try:
            await asyncio.wait([held])
        finally:
            held.cancel()
            if self._held.get(pod) is held:
                del self._held[pod]
        return Hint(self._authority.trust.generation, int(1000 * self._proxies() / _ENROLMENTS_PER_SECOND)).encode()
